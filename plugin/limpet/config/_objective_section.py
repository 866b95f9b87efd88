"""The key `training.objective`: the loss that training minimises over the chips that it draws."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import jax
from pydantic import Field
from pydantic import PositiveFloat as Positive

from limpet import Deviation, RightCensoredGaussian
from limpet.objectives import (
    a_trice,
    adaptive_sam,
    adversarial,
    antithetic,
    consistency,
    cvar,
    distillation,
    loss_of,
    varied,
    weight_perturbation,
    with_mismatch,
    worst_of,
)
from limpet.typing import Injector

from ._schedule import ConstantSchedule, Schedule
from ._section import Number, Scale, Section

Objective = Callable[..., jax.Array]
"""`f(params, step, *args)`: a loss under mismatch."""

Draws = Annotated[int, Number, Field(ge=1, le=10_000)]
SeveralDraws = Annotated[int, Number, Field(ge=2, le=10_000)]
Share = Annotated[float, Number, Field(gt=0, le=1)]


class _Objective(Section):
    """Base of the objectives. What has a strength has a schedule of it, a factor by step.

    Each has `of(loss_fn, chips, teacher)`: the objective, of a loss and what draws by step.
    """

    needs_teacher: ClassVar[bool] = False

    @property
    def deviation(self) -> Deviation | None:
        """By which fresh draws deviate in place of the hardware's own; None for these."""
        return None

    def label(self) -> str:
        """The objective in a few words."""
        values = self.model_dump(exclude_defaults=True) | self.model_dump(exclude={"schedule"})
        kind = values.pop("kind")
        return ", ".join([kind, *(f"{name} {value}" for name, value in values.items())])


class MeanObjective(_Objective):
    """The mean loss over several chips; see `limpet.with_mismatch`.

    Attributes:
        draws: how many chips each step draws; "per_example" for a chip of its own for each example.
    """

    kind: Literal["mean"] = "mean"
    draws: Draws | Literal["per_example"] = 1

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        return with_mismatch(lambda tree, *args: loss_of(loss_fn(tree, *args)), chips, draws=self.draws)


class AntitheticObjective(_Objective):
    """The mean over pairs of opposite chips; see `limpet.objectives.antithetic`.

    Attributes:
        pairs: how many pairs each step draws.
    """

    kind: Literal["antithetic"]
    pairs: Draws = 1

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        return antithetic(loss_fn, chips, pairs=self.pairs)


class CvarObjective(_Objective):
    """The mean over the worst of several chips; see `limpet.objectives.cvar`.

    Attributes:
        draws: how many chips each step draws.
        share: which share of them, the worst, counts.
    """

    kind: Literal["cvar"]
    draws: Draws = 8
    share: Share = 0.5

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        return cvar(loss_fn, chips, draws=self.draws, share=self.share)


class WorstObjective(_Objective):
    """The worst of several chips; see `limpet.objectives.worst_of`.

    Attributes:
        draws: how many chips each step draws.
    """

    kind: Literal["worst"]
    draws: Draws = 8

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        return worst_of(loss_fn, chips, draws=self.draws)


class VariedObjective(_Objective):
    """Chips of various strengths; see `limpet.objectives.varied`.

    Attributes:
        low: the smallest strength, a factor on that of `dynamic` and `frozen`.
        high: the largest strength.
        draws: how many chips each step draws, each with a strength of its own.
    """

    kind: Literal["varied"]
    low: Scale = 0.0
    high: Scale = 1.0
    draws: Draws = 1

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        return varied(loss_fn, chips, low=self.low, high=self.high, draws=self.draws)


class ConsistencyObjective(_Objective):
    """The mean, and the divergence of outputs from their mean; see `limpet.objectives.consistency`.

    Attributes:
        draws: how many chips each step draws.
        weight: of the divergence, beside the loss.
        schedule: a factor on the weight over training steps.
    """

    kind: Literal["consistency"]
    draws: SeveralDraws = 8
    weight: Scale = 1.0
    schedule: Schedule = ConstantSchedule()

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        factor = self.schedule.to_optax()
        return lambda params, step, *args: consistency(
            loss_fn, chips, draws=self.draws, weight=self.weight * factor(step)
        )(params, step, *args)


class DistillationObjective(_Objective):
    """Labels, and the outputs of a teacher, which the program gives; see `limpet.objectives.distillation`.

    Attributes:
        draws: how many chips each step draws.
        weight: of the teacher's outputs; 1 - weight is that of the labels.
        temperature: by which outputs are divided before they are compared.
        schedule: a factor on the weight over training steps.
    """

    needs_teacher: ClassVar[bool] = True

    kind: Literal["distillation"]
    draws: Draws = 1
    weight: Share = 0.5
    temperature: Annotated[Positive, Number] = 2.0
    schedule: Schedule = ConstantSchedule()

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        factor = self.schedule.to_optax()
        return lambda params, step, *args: distillation(
            loss_fn,
            chips,
            teacher,
            draws=self.draws,
            weight=self.weight * factor(step),
            temperature=self.temperature,
        )(params, step, *args)


class AdversarialObjective(_Objective):
    """The loss, and the divergence under the worst mismatch; see `limpet.objectives.adversarial`.

    Attributes:
        zeta: how far the attack may move a value, relative to it.
        weight: of the divergence, beside the loss.
        steps: of sign ascent.
        initial_std: relative standard deviation of the point where the attack begins.
        noise: whether the loss itself meets the chips that training draws.
        schedule: a factor on zeta over training steps.
    """

    kind: Literal["adversarial"]
    zeta: Scale = 0.1
    weight: Scale = 0.1
    steps: Draws = 10
    initial_std: Scale = 1e-3
    noise: bool = True
    schedule: Schedule = ConstantSchedule()

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        factor = self.schedule.to_optax()
        return lambda params, step, *args: adversarial(
            loss_fn,
            chips,
            zeta=self.zeta * factor(step),
            weight=self.weight,
            steps=self.steps,
            initial_std=self.initial_std,
            noise=self.noise,
        )(params, step, *args)


class ATriceObjective(_Objective):
    """The same with right-censored noise, whatever the hardware's deviation; see `limpet.objectives.a_trice`.

    Attributes:
        spread: of the noise, relative to a value; the section's scale and schedule multiply it.
        bound: where its upper tail is cut off, in spreads.
        zeta: how far the attack may move a value, relative to it.
        weight: of the divergence, beside the loss.
        steps: of sign ascent.
        initial_std: relative standard deviation of the point where the attack begins.
        schedule: a factor on zeta over training steps.
    """

    kind: Literal["a-trice"]
    spread: Scale = 0.3
    bound: Annotated[Positive, Number] = 1.0
    zeta: Scale = 0.1
    weight: Scale = 0.1
    steps: Draws = 3
    initial_std: Scale = 1e-3
    schedule: Schedule = ConstantSchedule()

    @property
    def deviation(self) -> Deviation:
        return RightCensoredGaussian(self.spread, self.bound)

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        factor = self.schedule.to_optax()
        return lambda params, step, *args: a_trice(
            loss_fn,
            chips,
            spread=self.spread,
            bound=self.bound,
            zeta=self.zeta * factor(step),
            weight=self.weight,
            steps=self.steps,
            initial_std=self.initial_std,
        )(params, step, *args)


class WeightPerturbationObjective(_Objective):
    """The loss where weights were moved against it; see `limpet.objectives.weight_perturbation` and `adaptive_sam`.

    Attributes:
        radius: how far, relative to the weights.
        schedule: a factor on the radius over training steps.
    """

    kind: Literal["weight-perturbation", "adaptive-sam"]
    radius: Scale = 0.05
    schedule: Schedule = ConstantSchedule()

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        factor = self.schedule.to_optax()
        perturbed = weight_perturbation if self.kind == "weight-perturbation" else adaptive_sam
        return lambda params, step, *args: perturbed(loss_fn, chips, radius=self.radius * factor(step))(
            params, step, *args
        )


ObjectiveField = Annotated[
    MeanObjective
    | AntitheticObjective
    | CvarObjective
    | WorstObjective
    | VariedObjective
    | ConsistencyObjective
    | DistillationObjective
    | AdversarialObjective
    | ATriceObjective
    | WeightPerturbationObjective,
    Field(discriminator="kind"),
]
