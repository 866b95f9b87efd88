"""Chips that learn from the network without mismatch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._errors import StrengthError
from .._jax import is_traced
from ..draws._strength import possible_strength
from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition
from ._evaluation import Loss, checked_draws, copies_of, loss_and_outputs, over_draws
from ._kl_divergence import kl_divergence
from ._step_chips import Injector, StepChips


def distillation(
    loss_fn: Loss,
    mismatch: Recipe | Injector,
    teacher: Any,
    *,
    draws: int = 1,
    weight: ArrayLike = 0.5,
    temperature: ArrayLike = 2.0,
    condition: Condition | ArrayLike = UNCHANGED,
) -> Callable[..., jax.Array]:
    """A network on chips learns the labels and the outputs of a clean teacher, which was trained without mismatch.

    It is (1 - w) L + w T^2 KL(softmax(t / T) || softmax(s / T)), the mean over chips: L the loss, s the outputs on a
    chip, t those of the teacher, which has no mismatch and no gradient, w the weight and T the temperature.

    Args:
        loss_fn: the loss, `loss_fn(tree, *args)`, giving a tuple (loss, logits), logits of shape (batch, classes). It
            is called with the teacher as well.
        mismatch: a recipe; or a `MismatchCallback` or an `Injection`, which then name draws by step.
        teacher: the teacher's parameters, in the form that `loss_fn` takes (a tree, or an nnx module, which is copied).
        draws: the number of chips, each of which meets the whole batch.
        weight: the weight w, from 0 to 1; may be traced.
        temperature: the temperature T, above 0; may be traced.
        condition: the condition of a recipe's chips: a `limpet.Condition`, or a number, the scale; may be traced.

    Returns:
        `f(params, key, *args)`, a scalar; with a callback `f(params, step, *args)`.

    Raises:
        StrengthError: weight or temperature is known, and none of these.
        LimpetError: another argument is none of these; when called: the loss gives no logits, or these
            have no gradient.

    Reference: C. Zhou et al., "Noisy machines: understanding noisy neural networks and enhancing robustness to analog
    hardware errors using distillation", arXiv:2001.04974 (2020); G. Hinton, O. Vinyals and J. Dean, "Distilling the
    knowledge in a neural network", arXiv:1503.02531 (2015).

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.5))
        >>> def loss(params, x):
        ...     logits = x @ params["w"]
        ...     return -jax.nn.log_softmax(logits)[:, 0].mean(), logits
        >>> teacher, x = {"w": 2 * jnp.eye(3)}, jnp.ones((5, 3))
        >>> learn = distillation(loss, mismatch, teacher, weight=1.0, condition=0.0)
        >>> float(learn(teacher, jax.random.key(0), x))  # nothing is left to learn
        0.0
    """
    chips, draws = StepChips(mismatch, condition), checked_draws(draws)
    weight, temperature = possible_strength(weight, "weight", most=1), possible_strength(temperature, "temperature")
    if not is_traced(temperature) and not temperature:
        raise StrengthError(f"temperature = {temperature!r}: allowed is a number above 0")

    def loss(chips: StepChips, params: Any, name: Any, *args: Any) -> jax.Array:
        _, taught = loss_and_outputs(loss_fn(copies_of(teacher)({}), *args), "distillation")
        taught = jax.lax.stop_gradient(taught)

        def learned(tree: Any) -> jax.Array:
            task, outputs = loss_and_outputs(loss_fn(tree, *args), "distillation")
            apart = kl_divergence(taught / temperature, outputs / temperature)
            return (1 - jnp.asarray(weight)) * task + weight * jnp.square(temperature) * apart

        if draws == 1:
            return chips.computing(lambda params: learned(chips.tree(params, name)))(params)
        return over_draws(
            chips, learned, lambda tree, draw: chips.tree(tree, name, draw), params, jnp.arange(draws)
        ).mean()

    return chips.objective(loss)
