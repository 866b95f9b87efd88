"""The ways of training that are compared: each makes a loss under mismatch of a task and the recipe of its hardware.

Settings are those of the publications, or of Limpet; none was chosen on the chips measured.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from tasks import Task

import limpet
from limpet import objectives

Objective = Callable[[Any, jax.Array, Any, jax.Array], jax.Array]
"""`f(network, key, batch, progress)`: the loss, progress going from 0 to 1 over training."""

Way = Callable[[Task, limpet.Recipe], Objective]


def _of(make: Callable[..., Any], **settings: Any) -> Way:
    """An objective whose loss gives logits as well."""

    def way(task: Task, recipe: limpet.Recipe) -> Objective:
        own = {name: value(task) if callable(value) else value for name, value in settings.items()}
        return lambda network, key, batch, progress: make(task.loss_fn, recipe, **own)(network, key, batch)

    return way


def _noise(**settings: Any) -> Way:
    return lambda task, recipe: (
        lambda network, key, batch, progress: limpet.with_mismatch(task.loss_alone, recipe, **settings)(
            network, key, batch
        )
    )


def _standard(task: Task, recipe: limpet.Recipe) -> Objective:
    return lambda network, key, batch, progress: task.loss_alone(network, batch)


def _ramped(task: Task, recipe: limpet.Recipe) -> Objective:
    """Forward noise whose strength rises from 0 over the first half of training."""
    return lambda network, key, batch, progress: limpet.with_mismatch(
        task.loss_alone, recipe, condition=jnp.minimum(1.0, 2 * progress)
    )(network, key, batch)


WAYS: dict[str, Way] = {
    "standard": _standard,
    "forward noise": _noise(),
    "forward noise, 1.5 sigma": _noise(condition=1.5),
    "forward noise, ramped": _ramped,
    "varied, 0.5 to 1.5 sigma": _of(objectives.varied, low=0.5, high=1.5),
    "a chip for each example": _noise(draws="per_example"),
    "mean of 4": _noise(draws=4),
    "mean of 8": _noise(draws=8),
    "4 antithetic pairs": _of(objectives.antithetic, pairs=4),
    "worst half of 4": _of(objectives.cvar, draws=4, share=0.5),
    "worst half of 8": _of(objectives.cvar, draws=8, share=0.5),
    "worst of 8": _of(objectives.worst_of, draws=8),
    "consistency of 4": _of(objectives.consistency, draws=4),
    "consistency of 8": _of(objectives.consistency, draws=8),
    "adversarial": _of(objectives.adversarial, zeta=0.1, weight=0.1, steps=3),
    "right-censored, adversarial": _of(
        objectives.a_trice, spread=lambda task: task.sigma, bound=1.0, zeta=0.1, weight=0.1, steps=3
    ),
    "weight perturbation": _of(objectives.weight_perturbation, radius=0.02),
    "adaptive SAM": _of(objectives.adaptive_sam, radius=0.05),
}
"""By the name that is in tables and result files."""
