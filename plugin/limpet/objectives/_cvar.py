"""The mean over the worst share of chips: the conditional value at risk."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._errors import LimpetError
from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition
from ._evaluation import Loss, checked_draws, loss_of, over_draws
from ._step_chips import Injector, StepChips


def cvar(
    loss_fn: Loss,
    mismatch: Recipe | Injector,
    *,
    draws: int = 8,
    share: float = 0.5,
    condition: Condition | ArrayLike = UNCHANGED,
) -> Callable[..., jax.Array]:
    """The mean loss over the worst of several chips: what the tail of a yield hangs on.

    Of K losses, sorted from the worst, it is (l_1 + ... + l_m + r l_{m+1}) / (share K), where m is the whole part of
    share K and r the rest: the conditional value at risk of the K chips. At share 1 it is their mean; at 1 / K the
    worst. All K chips are evaluated; the gradient flows through the worst ones.

    Args:
        loss_fn: the loss, `loss_fn(tree, *args)`, giving a scalar, or a tuple that begins with it.
        mismatch: a recipe; or a `MismatchCallback` or an `Injection`, which then name draws by step.
        draws: the number K of chips, each of which meets the whole batch.
        share: the share of the chips that count, above 0, at most 1.
        condition: the condition of a recipe's chips: a `limpet.Condition`, or a number, the scale; may be traced.

    Returns:
        `f(params, key, *args)`, a scalar; with a callback `f(params, step, *args)`.

    Raises:
        LimpetError: an argument is none of these.

    Reference: R. T. Rockafellar and S. Uryasev, "Optimization of conditional value-at-risk", Journal of Risk 2:21-41
    (2000).

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.5))
        >>> def loss(params):
        ...     return params["w"].sum()
        >>> params, key = {"w": jnp.ones(4)}, jax.random.key(0)
        >>> worst, mean = (cvar(loss, mismatch, share=share)(params, key) for share in (0.25, 1.0))
        >>> bool(worst > mean)
        True
    """
    chips, draws, share = StepChips(mismatch, condition), checked_draws(draws), _checked_share(share)
    counted = share * draws
    if math.isclose(counted, round(counted)):  # 0.3 of 10 chips are 3, though 0.3 * 10 may be a little less
        counted = round(counted)
    whole = math.floor(counted)

    def loss(chips: StepChips, params: Any, name: Any, *args: Any) -> jax.Array:
        losses = over_draws(
            chips,
            lambda tree: loss_of(loss_fn(tree, *args)),
            lambda tree, draw: chips.tree(tree, name, draw),
            params,
            jnp.arange(draws),
        )
        worst = jnp.sort(losses, descending=True)
        rest = worst[whole] * (counted - whole) if counted > whole else 0.0
        return (worst[:whole].sum() + rest) / counted

    return chips.objective(loss)


def _checked_share(share: Any) -> float:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise LimpetError(f"share = {share!r}: allowed is a number above 0, at most 1")
    return float(share)
