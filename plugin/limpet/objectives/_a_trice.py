"""Adversarial training with noise whose upper tail is cut off."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax.typing import ArrayLike

from .._errors import LimpetError
from ..deviations._deviation import Deviation
from ..deviations._right_censored_gaussian import RightCensoredGaussian
from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition
from ._adversarial import adversarial
from ._evaluation import Loss
from ._step_chips import Injector


@dataclass(frozen=True)
class _OtherDeviation:
    """What draws by step, by another deviation than its hardware's."""

    injector: Any
    deviation: Deviation

    @property
    def hardware_paths(self) -> tuple[str, ...]:
        return self.injector.hardware_paths

    def step_key(self, step: ArrayLike) -> jax.Array:
        return self.injector.step_key(step)

    def inject(self, params: Any, step: ArrayLike, draw: ArrayLike | None = None, **conditions: Any) -> Any:
        return self.injector.inject(params, step, draw, deviation=self.deviation, **conditions)


def a_trice(
    loss_fn: Loss,
    mismatch: Recipe | Injector,
    *,
    spread: float = 0.3,
    bound: float = 1.0,
    zeta: ArrayLike = 0.1,
    weight: ArrayLike = 0.1,
    steps: int = 3,
    initial_std: ArrayLike = 1e-3,
    condition: Condition | ArrayLike = UNCHANGED,
) -> Callable[..., jax.Array]:
    """`adversarial`, with right-censored Gaussian noise on what deviates in place of the hardware's own deviation.

    Args:
        loss_fn: the loss, `loss_fn(tree, *args)`, giving a tuple (loss, logits).
        mismatch: a recipe. Only its choice of leaves is used; its deviation is ignored. Or a `MismatchCallback` or an
            `Injection`, of which the leaves that training draws afresh are used, at their strength.
        spread: the spread of the noise, see `limpet.RightCensoredGaussian`.
        bound: the bound of the noise, see `limpet.RightCensoredGaussian`.
        zeta: the relative size of the attack's box, see `adversarial`; may be traced.
        weight: the weight of the divergence; may be traced.
        steps: the number of steps of the attack.
        initial_std: the relative spread of the attack's random start; may be traced.
        condition: the condition of the noise; a number is a factor on it, which may be traced.

    Returns:
        `f(params, key, *args)`, a scalar; with a callback `f(params, step, *args)`.

    Raises:
        LimpetError: an argument is none of these; when called: training draws nothing afresh.

    Reference: Z. Yan et al., "Improving the robustness of neural networks to device variations by adversarial training
    with right-censored Gaussian noise" (A-TRICE), arXiv:2312.06137 (2023).

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))
        >>> def loss(params, x):
        ...     logits = x @ params["w"]
        ...     return -jax.nn.log_softmax(logits)[:, 0].mean(), logits
        >>> params, x = {"w": jnp.eye(3)}, jnp.ones((5, 3))
        >>> bool(a_trice(loss, mismatch)(params, jax.random.key(0), x) > 0)
        True
    """
    noise = RightCensoredGaussian(spread, bound)
    if isinstance(mismatch, Recipe):
        censored: Recipe | Injector = mismatch.with_deviation(noise)
    elif hasattr(mismatch, "step_key"):
        censored = _OtherDeviation(mismatch, noise)
    else:
        raise LimpetError(
            f"mismatch = {mismatch!r}: a_trice draws noise of its own: give a recipe, hardware.on(model), a "
            f"MismatchCallback or an Injection"
        )
    return adversarial(
        loss_fn, censored, zeta=zeta, weight=weight, steps=steps, initial_std=initial_std, condition=condition
    )
