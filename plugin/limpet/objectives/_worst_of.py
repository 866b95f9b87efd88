"""The worst of several chips."""

from collections.abc import Callable

import jax
from jax.typing import ArrayLike

from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition
from ._cvar import cvar
from ._evaluation import Loss, checked_draws
from ._step_chips import Injector


def worst_of(
    loss_fn: Loss, mismatch: Recipe | Injector, *, draws: int = 8, condition: Condition | ArrayLike = UNCHANGED
) -> Callable[..., jax.Array]:
    """The largest loss over several chips, each of which meets the whole batch; the gradient is that of the worst one.

    Args:
        loss_fn: the loss, `loss_fn(tree, *args)`, giving a scalar, or a tuple that begins with it.
        mismatch: a recipe; or a `MismatchCallback` or an `Injection`, which then name draws by step.
        draws: the number of chips.
        condition: the condition of a recipe's chips: a `limpet.Condition`, or a number, the scale; may be traced.

    Returns:
        `f(params, key, *args)`, a scalar; with a callback `f(params, step, *args)`.

    Raises:
        LimpetError: an argument is none of these.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.5))
        >>> loss = worst_of(lambda params: (params["w"] - 1) ** 2, mismatch, draws=4)
        >>> bool(loss({"w": jnp.float32(1)}, jax.random.key(0)) > 0)
        True
    """
    draws = checked_draws(draws)
    return cvar(loss_fn, mismatch, draws=draws, share=1 / draws, condition=condition)
