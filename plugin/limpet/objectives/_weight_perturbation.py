"""The loss where one step of ascent has moved the weights: AWP and adaptive SAM."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..draws._strength import possible_strength
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..results._condition import UNCHANGED, Condition
from ._evaluation import Loss, copies_of, loss_of
from ._step_chips import Injector, StepChips

Values = dict[str, jax.Array]


def weight_perturbation(
    loss_fn: Loss,
    mismatch: Recipe | Injector,
    *,
    radius: ArrayLike = 0.05,
    condition: Condition | ArrayLike = UNCHANGED,
) -> Callable[..., jax.Array]:
    """The loss on a chip where the weights have been moved against it, each leaf by a share of its norm (AWP).

    With g the gradient of the loss on this chip by a leaf w, the leaf is moved by v = radius ||w|| g / ||g||, Euclidean
    norms over the leaf, and the loss at w + v on the same chip is what is differentiated, v being a constant. It takes
    some three times as long as a plain step.

    Args:
        loss_fn: the loss, `loss_fn(tree, *args)`, giving a scalar, or a tuple that begins with it.
        mismatch: a recipe, which also says which weights are moved; or a `MismatchCallback` or an `Injection`, which
            then name draws by step, and move what deviates on their hardware.
        radius: the norm of the change relative to a leaf's; may be traced.
        condition: the condition of a recipe's chips: a `limpet.Condition`, or a number, the scale; may be traced. The
            scale 0 is no noise beside the perturbation.

    Returns:
        `f(params, key, *args)`, a scalar; with a callback `f(params, step, *args)`.

    Raises:
        StrengthError: radius is known, and no finite number >= 0.
        LimpetError: another argument is none of these; when called: no parameter deviates on the hardware.

    Reference: D. Wu, S.-T. Xia and Y. Wang, "Adversarial weight perturbation helps robust generalization", NeurIPS
    2020.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))
        >>> def loss(params):
        ...     return (params["w"] ** 2).sum()
        >>> params = {"w": jnp.ones(4)}
        >>> print(f"{weight_perturbation(loss, mismatch, radius=0.1, condition=0.0)(params, jax.random.key(0)):.4f}")
        4.8400
    """

    radius = possible_strength(radius, "radius")

    def moved(weights: Values, slopes: Values) -> Values:
        def change(weight: jax.Array, slope: jax.Array) -> jax.Array:
            length = jnp.asarray(radius) * _norm({"": weight})
            return length.astype(weight.dtype) * _unit({"": slope})[""]

        return {path: change(weight, slopes[path]) for path, weight in weights.items()}

    return _perturbed(loss_fn, StepChips(mismatch, condition), moved)


def adaptive_sam(
    loss_fn: Loss,
    mismatch: Recipe | Injector,
    *,
    radius: ArrayLike = 0.05,
    condition: Condition | ArrayLike = UNCHANGED,
) -> Callable[..., jax.Array]:
    """The loss on a chip where the weights have been moved against it, each in proportion to its size (adaptive SAM).

    With g the gradient of the loss on this chip by all n weights w that deviate, they are moved by
    v = radius sqrt(n) w^2 g / ||w g||, so that v / w has the root mean square `radius`: a relative standard deviation,
    as mismatch is. The loss at w + v on the same chip is what is differentiated, v being a constant.

    Args:
        loss_fn: the loss, `loss_fn(tree, *args)`, giving a scalar, or a tuple that begins with it.
        mismatch: a recipe; or a `MismatchCallback` or an `Injection`, see `weight_perturbation`.
        radius: the root mean square of the relative change; may be traced.
        condition: the condition of a recipe's chips: a `limpet.Condition`, or a number, the scale; may be traced.

    Returns:
        `f(params, key, *args)`, a scalar; with a callback `f(params, step, *args)`.

    Raises:
        LimpetError: see `weight_perturbation`.

    Reference: J. Kwon et al., "ASAM: adaptive sharpness-aware minimization for scale-invariant learning of deep neural
    networks", ICML 2021.

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))
        >>> def loss(params):
        ...     return (params["w"] ** 2).sum()
        >>> params = {"w": jnp.ones(4)}
        >>> print(f"{adaptive_sam(loss, mismatch, radius=0.1, condition=0.0)(params, jax.random.key(0)):.4f}")
        4.8400
    """

    radius = possible_strength(radius, "radius")

    def moved(weights: Values, slopes: Values) -> Values:
        unit = _unit({path: weight * slopes[path] for path, weight in weights.items()})
        length = jnp.asarray(radius) * math.sqrt(sum(weight.size for weight in weights.values()))
        return {path: length.astype(weight.dtype) * weight * unit[path] for path, weight in weights.items()}

    return _perturbed(loss_fn, StepChips(mismatch, condition), moved)


def _perturbed(loss_fn: Loss, chips: StepChips, moved: Callable[[Values, Values], Values]) -> Callable[..., jax.Array]:
    def loss(chips: StepChips, params: Any, name: Any, *args: Any) -> jax.Array:
        weights, copy = chips.deviating(params), copies_of(params)
        constant = jax.lax.stop_gradient(weights)

        def on_chip(params: Any) -> jax.Array:
            return loss_of(loss_fn(chips.tree(params, name), *args))

        slopes = jax.grad(chips.computing(lambda weights: on_chip(copy(weights))))(constant)
        change = jax.lax.stop_gradient(moved(constant, slopes))
        return chips.computing(on_chip)(_shifted(params, change))

    return chips.objective(loss)


def _shifted(params: Any, change: Values) -> Any:
    """Parameters with some values moved, which share state with those given."""
    return adapter_of(params).with_values(
        params, lambda leaves: leaves | {path: leaves[path] + value for path, value in change.items()}
    )


def _norm(values: Values) -> jax.Array:
    """The Euclidean norm over all values, of any magnitude."""
    scaled, largest = _brought_to_1(values)
    return largest * _root_of_squares(scaled)


def _unit(values: Values) -> Values:
    """Values divided by their norm; 0 where all of them are."""
    scaled, _ = _brought_to_1(values)
    norm = _root_of_squares(scaled)
    norm = jnp.where(norm > 0, norm, 1)
    return {path: value / norm.astype(value.dtype) for path, value in scaled.items()}


def _brought_to_1(values: Values) -> tuple[Values, jax.Array]:
    """Values divided by the largest of them, which comes with them: the square of a current of 1e-20 A would be 0."""
    wide = jnp.result_type(float)
    largest = jnp.max(jnp.stack([jnp.abs(value).max(initial=0).astype(wide) for value in values.values()]))
    largest = jnp.where(largest > 0, largest, 1)
    return {path: value / largest.astype(value.dtype) for path, value in values.items()}, largest


def _root_of_squares(values: Values) -> jax.Array:
    wide = jnp.result_type(float)
    return jnp.sqrt(sum((jnp.square(value).sum().astype(wide) for value in values.values()), jnp.zeros((), wide)))
