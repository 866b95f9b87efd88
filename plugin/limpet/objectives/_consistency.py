"""Chips that agree: the mean loss, and how far the outputs of several chips are from one another."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..draws._strength import possible_strength
from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition
from ._evaluation import Loss, checked_draws, loss_and_outputs, over_draws
from ._kl_divergence import kl_divergence
from ._step_chips import Injector, StepChips


def consistency(
    loss_fn: Loss,
    mismatch: Recipe | Injector,
    *,
    draws: int = 8,
    weight: ArrayLike = 1.0,
    condition: Condition | ArrayLike = UNCHANGED,
) -> Callable[..., jax.Array]:
    """The mean loss over several chips, plus `weight` times the divergence of their outputs from their mean.

    With p_k the class probabilities that chip k gives for an example, and p their mean over the K chips, the divergence
    is the mean over chips and examples of KL(p_k || p): the Jensen-Shannon divergence of the K outputs.

    Args:
        loss_fn: the loss, `loss_fn(tree, *args)`, giving a tuple (loss, logits), logits of shape (batch, classes).
        mismatch: a recipe; or a `MismatchCallback` or an `Injection`, which then name draws by step.
        draws: the number K of chips, at least 2, each of which meets the whole batch.
        weight: the weight of the divergence; may be traced.
        condition: the condition of a recipe's chips: a `limpet.Condition`, or a number, the scale; may be traced.

    Returns:
        `f(params, key, *args)`, a scalar; with a callback `f(params, step, *args)`.

    Raises:
        StrengthError: weight is known, and no finite number >= 0.
        LimpetError: another argument is none of these; when called: the loss gives no logits, or these
            have no gradient.

    Reference: J. Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory
    37:145-151 (1991).

    Examples:
        >>> import limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.5))
        >>> def loss(params, x):
        ...     logits = x @ params["w"]
        ...     return -jax.nn.log_softmax(logits)[:, 0].mean(), logits
        >>> params, x = {"w": jnp.eye(3)}, jnp.ones((5, 3))
        >>> apart = [consistency(loss, mismatch, weight=weight)(params, jax.random.key(0), x) for weight in (0.0, 1.0)]
        >>> bool(apart[1] > apart[0])
        True
    """
    chips, draws = StepChips(mismatch, condition), checked_draws(draws, fewest=2)
    weight = possible_strength(weight, "weight")

    def loss(chips: StepChips, params: Any, name: Any, *args: Any) -> jax.Array:
        losses, outputs = over_draws(
            chips,
            lambda tree: loss_and_outputs(loss_fn(tree, *args), "consistency"),
            lambda tree, draw: chips.tree(tree, name, draw),
            params,
            jnp.arange(draws),
        )
        logarithms = jax.nn.log_softmax(outputs)
        mean = jax.nn.logsumexp(logarithms, axis=0) - jnp.log(jnp.asarray(draws, logarithms.dtype))
        return losses.mean() + weight * kl_divergence(logarithms, jnp.broadcast_to(mean, logarithms.shape))

    return chips.objective(loss)
