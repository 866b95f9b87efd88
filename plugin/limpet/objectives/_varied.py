"""Chips of varying strength."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._checked import number
from .._jax import is_traced
from ..draws._strength import possible_strength
from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition
from ._evaluation import Loss, checked_draws, loss_of, over_draws
from ._step_chips import Injector, StepChips


def varied(
    loss_fn: Loss,
    mismatch: Recipe | Injector,
    *,
    low: ArrayLike = 0.0,
    high: ArrayLike = 1.0,
    draws: int = 1,
    condition: Condition | ArrayLike = UNCHANGED,
) -> Callable[..., jax.Array]:
    """The mean loss over chips, each of which deviates by a strength of its own, drawn between `low` and `high`.

    A network that was trained at one sigma is good at that one. Here the factor on every deviation of a chip is uniform
    from low to high, anew at every step. (Where strength is to rise over training, give a schedule.)

    Args:
        loss_fn: the loss, `loss_fn(tree, *args)`, giving a scalar, or a tuple that begins with it.
        mismatch: a recipe; or a `MismatchCallback` or an `Injection`, which then name draws by step.
        low: the smallest factor, >= 0; may be traced.
        high: the largest factor, no smaller than `low`; may be traced.
        draws: the number of chips, each of which meets the whole batch.
        condition: the condition of a recipe's chips: a `limpet.Condition`, or a number, the scale; may be traced.

    Returns:
        `f(params, key, *args)`, a scalar; with a callback `f(params, step, *args)`.

    Raises:
        StrengthError: low or high is known, and no finite number >= 0, or low is above high.
        LimpetError: another argument is none of these.

    Reference: variance-aware noisy training (VANT), arXiv:2503.16183 (2025).

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.5))
        >>> loss = varied(lambda params: params["w"].std(), mismatch, low=0.5, high=1.5)
        >>> params = {"w": jnp.ones(10_000)}
        >>> spreads = [float(loss(params, jax.random.key(step))) for step in range(20)]
        >>> 0.24 < min(spreads) < max(spreads) < 0.76
        True
    """
    chips, draws = StepChips(mismatch, condition), checked_draws(draws)
    low, high = possible_strength(low, "low"), possible_strength(high, "high")
    if not is_traced(low) and not is_traced(high):
        number("low", low, 0, number("high", high))

    def loss(chips: StepChips, params: Any, name: Any, *args: Any) -> jax.Array:
        key = chips.key(name, "strength")

        def tree_of(tree: Any, draw: ArrayLike | None) -> Any:
            between = jax.random.uniform(jax.random.fold_in(key, 0 if draw is None else draw))
            return chips.tree(tree, name, draw, factor=low + (jnp.asarray(high) - low) * between)

        def evaluate(tree: Any) -> jax.Array:
            return loss_of(loss_fn(tree, *args))

        if draws == 1:
            return chips.computing(lambda params: evaluate(tree_of(params, None)))(params)
        return over_draws(chips, evaluate, tree_of, params, jnp.arange(draws)).mean()

    return chips.objective(loss)
