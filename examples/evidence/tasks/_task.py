"""What a task is: data, a network, what deviates on its chip, and what is fitted to each chip."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax

import limpet

Batch = tuple[jax.Array, jax.Array]
"""Examples and labels, along a leading axis of like length."""

Calibrate = Callable[..., limpet.Calibration[limpet.RobustnessCurve]]
"""`calibrate(tree, recipe, batches=..., batch=..., **settings)`, with the settings of chips."""


USUAL = (
    "standard",
    "forward noise",
    "forward noise, 1.5 sigma",
    "forward noise, ramped",
    "mean of 8",
    "worst half of 8",
    "consistency of 8",
    "adversarial",
    "right-censored, adversarial",
    "weight perturbation",
)
"""The ways of training that a task is trained by if nothing else is said."""

FEWER = tuple(way for way in USUAL if way not in ("forward noise, ramped", "right-censored, adversarial"))

COSTLY = (
    "standard",
    "forward noise",
    "forward noise, 1.5 sigma",
    "worst half of 4",
    "consistency of 4",
    "adversarial",
    "weight perturbation",
)
"""Those where a step takes milliseconds."""

ALL = (
    *USUAL,
    "varied, 0.5 to 1.5 sigma",
    "a chip for each example",
    "4 antithetic pairs",
    "worst of 8",
    "adaptive SAM",
)


def _same(params: Any, kept: Any) -> Any:
    return params


def _unchanged(network: Any, kept: Any) -> Any:
    return kept


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task, with the settings of its runs.

    A network is two trees, so that networks of every library fit: `params` is what the optimizer moves, `kept` what
    it does not: batch statistics, which a forward pass writes, or what else is on the chip.

    Attributes:
        title: what it is, for pictures.
        training_set: examples to train on while settings are chosen.
        validation_set: what settings are chosen on; what is measured on `test_set` was trained on these as well.
        test_set: never looked at before the last measurement.
        initialised: from a seed to `params` and `kept`.
        joined: from both to the network that losses take.
        kept_of: from a network that has seen a batch in training, and `kept` before that, to `kept`.
        loss_fn: of (network, batch): the loss and the logits, in training mode.
        accuracy: of (network, batch), as it is deployed.
        model: what hardware is laid over.
        relative: from sigma to the hardware whose values are off by that share.
        sigma: of the hardware, if nothing else is said.
        seconds: of each training, compilation left out.
        steps: of each training, where steps are given and not seconds.
        seeds: of initial weights and draws.
        rate: Adam's, at the beginning; a cosine takes it to 0.
        batch: examples a step.
        target: the accuracy at which a chip counts as good.
        ways: those that are run if none is named.
        calibrations: what can be set on each chip, by name; the first one's figures are in the picture.
        direction: from gradients to what the rate is multiplied with.
    """

    title: str
    training_set: Batch
    validation_set: Batch
    test_set: Batch
    initialised: Callable[[int], tuple[Any, Any]]
    loss_fn: Callable[[Any, Batch], tuple[jax.Array, jax.Array]]
    accuracy: Callable[[Any, Batch], jax.Array]
    model: Any
    relative: Callable[[float], limpet.Hardware]
    sigma: float
    seconds: float
    ways: tuple[str, ...]
    rate: float = 1e-3
    batch: int = 64
    steps: int = 4000
    seeds: int = 5
    target: float = 0.95
    joined: Callable[[Any, Any], Any] = _same
    kept_of: Callable[[Any, Any], Any] = _unchanged
    calibrations: dict[str, Calibrate] = field(default_factory=dict)
    direction: optax.GradientTransformation = field(default_factory=optax.scale_by_adam)

    def loss_alone(self, network: Any, batch: Batch) -> jax.Array:
        return self.loss_fn(network, batch)[0]

    def shown(self, split: str) -> tuple[Batch, Batch]:
        """What is trained on and what is measured on: with the test set, validation examples are for training."""
        if split == "validation":
            return self.training_set, self.validation_set
        both = zip(self.training_set, self.validation_set, strict=True)
        images, labels = (jnp.concatenate(parts) for parts in both)
        return (images, labels), self.test_set

    def hardware(self, described: str) -> limpet.Hardware:
        """The hardware of `relative`, `relative:0.5`, `additive:0.15` (of a tensor's largest) or a preset's name."""
        kind, _, size = described.partition(":")
        if kind == "relative":
            return self.relative(float(size) if size else self.sigma)
        if kind == "additive":
            return limpet.Hardware(crossbar=limpet.Part("*/kernel", limpet.Additive(float(size))))
        return limpet.preset(described)


def split_of(examples: tuple[Any, Any], *, test: int, validation: int) -> dict[str, Any]:
    """The three sets of a task: the last examples are the test set, those before them the validation set."""
    first, second = len(examples[1]) - test - validation, len(examples[1]) - test
    parts = {"training_set": slice(first), "validation_set": slice(first, second), "test_set": slice(second, None)}
    return {name: (jnp.asarray(examples[0][part]), jnp.asarray(examples[1][part])) for name, part in parts.items()}


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def batches_of(examples: Batch, size: int, count: int) -> list[Batch]:
    """The first examples in batches: what each chip is shown when it is calibrated."""
    whole = min(count, len(examples[1]) // size)
    return [
        (examples[0][first : first + size], examples[1][first : first + size])
        for first in range(0, whole * size, size)
    ]  # fmt: skip


def by_gradients(
    loss_fn: Callable[[Any, Batch], Any], accuracy: Callable[[Any, Batch], jax.Array], **settings: Any
) -> Calibrate:
    """`limpet.calibrate`, of a task's loss as it is deployed."""

    def calibrate(
        tree: Any, recipe: limpet.Recipe, batches: list[Batch], **chips: Any
    ) -> limpet.Calibration[limpet.RobustnessCurve]:
        fit = limpet.GradientFit(loss_fn, batches, **settings)
        return limpet.calibrate(fit, tree, recipe, metric_fn=accuracy, **chips)

    return calibrate
