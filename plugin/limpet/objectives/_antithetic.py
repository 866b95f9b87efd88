"""Pairs of opposite chips: the mean loss, of less variance."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition
from ._evaluation import Loss, checked_draws, loss_of, over_draws
from ._step_chips import Injector, StepChips


def antithetic(
    loss_fn: Loss, mismatch: Recipe | Injector, *, pairs: int = 1, condition: Condition | ArrayLike = UNCHANGED
) -> Callable[..., jax.Array]:
    """The mean loss over pairs of a chip and its mirror image, in which every deviation has the opposite sign.

    What is linear in the deviations cancels within a pair, in the loss and in its gradient, so that two chips tell what
    takes several independent ones. Their mean is that of independent chips where deviations are symmetric, as a
    Gaussian's are.

    Args:
        loss_fn: the loss, `loss_fn(tree, *args)`, giving a scalar, or a tuple that begins with it.
        mismatch: a recipe; or a `MismatchCallback` or an `Injection`, which then name draws by step.
        pairs: the number of pairs, each of which meets the whole batch.
        condition: the condition of a recipe's chips: a `limpet.Condition`, or a number, the scale; may be traced.

    Returns:
        `f(params, key, *args)`, a scalar; with a callback `f(params, step, *args)`. Pair k has the key of draw k of
        `limpet.with_mismatch`.

    Raises:
        LimpetError: an argument is none of these.

    Reference: J. M. Hammersley and K. W. Morton, "A new Monte Carlo technique: antithetic variates", Mathematical
    Proceedings of the Cambridge Philosophical Society 52:449-475 (1956).

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.5))
        >>> loss = antithetic(lambda params: params["w"].sum(), mismatch)  # linear: nothing is left of the noise
        >>> print(f"{loss({'w': jnp.ones(4)}, jax.random.key(0)):.3f}")
        4.000
    """
    chips, pairs = StepChips(mismatch, condition), checked_draws(pairs, name="pairs")

    def loss(chips: StepChips, params: Any, name: Any, *args: Any) -> jax.Array:
        def tree_of(tree: Any, place: jax.Array) -> Any:
            return chips.tree(tree, name, place // 2, mirrored=place % 2 == 1)

        return over_draws(
            chips, lambda tree: loss_of(loss_fn(tree, *args)), tree_of, params, jnp.arange(2 * pairs)
        ).mean()

    return chips.objective(loss)
