"""The loss, and how far the worst mismatch of a given size moves the outputs."""

from collections.abc import Callable
from typing import Any

import jax
from jax.typing import ArrayLike

from ..draws._strength import possible_strength
from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition
from ._attack import random_start, sign_ascent
from ._evaluation import Loss, checked_draws, copies_of, loss_and_outputs
from ._kl_divergence import kl_divergence
from ._step_chips import Injector, StepChips

Divergence = Callable[[jax.Array, jax.Array], jax.Array]
"""`divergence(reference, outputs)`: how far outputs are from others, a scalar."""


def adversarial(
    loss_fn: Loss,
    mismatch: Recipe | Injector,
    *,
    zeta: ArrayLike = 0.1,
    weight: ArrayLike = 0.1,
    steps: int = 10,
    initial_std: ArrayLike = 1e-3,
    noise: bool = True,
    divergence: Divergence = kl_divergence,
    projected: bool = True,
    condition: Condition | ArrayLike = UNCHANGED,
) -> Callable[..., jax.Array]:
    """The loss on a chip, plus `weight` times the divergence of the outputs under the worst mismatch of size `zeta`.

    The weights that deviate on the hardware are moved from w, by sign ascent of the divergence, to some w* in the box
    |w* - w| <= zeta |w|: w* starts at w + initial_std |w| n, n standard normal, and each of N steps adds
    (zeta / N) |w| sign(gradient). Then L(chip) + weight divergence(f(w), f(w*)) is what is differentiated, through w*
    with the diagonal 1 + sign(w) (w* - w) / |w|. Neither the reference f(w) nor w* meets a drawn chip.

    A step takes some N + 2 times as long as a plain one, and compiles in some twice its time, however many N are.

    Args:
        loss_fn: the loss, `loss_fn(tree, *args)`, giving a tuple (loss, outputs).
        mismatch: a recipe, which also says which weights are attacked; or a `MismatchCallback` or an `Injection`, which
            then name draws by step, and attack what deviates on their hardware.
        zeta: the relative size of the box; may be traced.
        weight: the weight of the divergence; may be traced.
        steps: the number N of steps.
        initial_std: the relative spread of the random start, without which the first gradient is 0; may be traced.
        noise: whether the loss is that on a drawn chip (forward noise, as the publication recommends with weight 0.1);
            False for the loss without mismatch (weight 0.25).
        divergence: the divergence of outputs; `limpet.objectives.kl_divergence` of logits, shape (batch, classes), if
            nothing else is said.
        projected: whether w* is kept in the box; False lets the random start add to it, as Rockpool does.
        condition: the condition of a recipe's chips: a `limpet.Condition`, or a number, the scale; may be traced.

    Returns:
        `f(params, key, *args)`, a scalar; with a callback `f(params, step, *args)`.

    Raises:
        StrengthError: zeta, weight or initial_std is known, and no finite number >= 0.
        LimpetError: another argument is none of these; when called: the loss gives no outputs that can be compared (for
            the divergence of logits: no axis of classes), or these have no gradient, or no parameter deviates on the
            hardware.

    Reference: J. Büchel, F. Faber and D. R. Muir, "Network insensitivity to parameter noise via parameter attack during
    training", ICLR 2022.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))
        >>> def loss(params, x):
        ...     logits = x @ params["w"]
        ...     return -jax.nn.log_softmax(logits)[:, 0].mean(), logits
        >>> params, x = {"w": jnp.eye(3)}, jnp.ones((5, 3))
        >>> attacked = adversarial(loss, mismatch, zeta=0.2, weight=1.0, noise=False)
        >>> bool(attacked(params, jax.random.key(0), x) > loss(params, x)[0])
        True
    """
    chips, steps = StepChips(mismatch, condition), checked_draws(steps, name="steps")
    zeta, weight = possible_strength(zeta, "zeta"), possible_strength(weight, "weight")
    initial_std = possible_strength(initial_std, "initial_std")

    def loss(chips: StepChips, params: Any, name: Any, *args: Any) -> jax.Array:
        def evaluated(tree: Any) -> tuple[jax.Array, jax.Array]:
            return loss_and_outputs(loss_fn(tree, *args), "adversarial", divergence is kl_divergence)

        weights, copy = chips.deviating(params), copies_of(params)
        natural, reference = evaluated(copy({}) if noise else params)
        if noise:
            natural, _ = chips.computing(lambda params: evaluated(chips.tree(params, name)))(params)
        target = jax.lax.stop_gradient(reference)

        def apart(weights: dict[str, jax.Array]) -> jax.Array:
            return divergence(target, evaluated(copy(weights))[1])

        start = random_start(chips.key(name, "attack"), weights, initial_std)
        attacked = sign_ascent(apart, weights, start, zeta, steps, projected)
        return natural + weight * divergence(reference, evaluated(copy(attacked))[1])

    return chips.objective(loss)
