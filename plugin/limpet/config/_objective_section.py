"""The key `training.objective`: the loss that training minimises over the chips that it draws."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import jax
from pydantic import Field
from pydantic import PositiveFloat as Positive

from ..objectives._adversarial import adversarial
from ..objectives._antithetic import antithetic
from ..objectives._consistency import consistency
from ..objectives._cvar import cvar
from ..objectives._distillation import distillation
from ..objectives._evaluation import loss_of
from ..objectives._step_chips import Injector
from ..objectives._varied import varied
from ..objectives._weight_perturbation import adaptive_sam, weight_perturbation
from ..objectives._with_mismatch import with_mismatch
from ..objectives._worst_of import worst_of
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

    def label(self) -> str:
        """The objective in a few words."""
        values = self.model_dump(exclude_defaults=True) | self.model_dump(exclude={"schedule"})
        kind = values.pop("kind")
        return ", ".join([kind, *(f"{name} {value}" for name, value in values.items())])


class MeanObjective(_Objective):
    """The mean loss over `draws` chips; see `limpet.with_mismatch`."""

    kind: Literal["mean"] = "mean"
    draws: Draws | Literal["per_example"] = 1

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        return with_mismatch(lambda tree, *args: loss_of(loss_fn(tree, *args)), chips, draws=self.draws)


class AntitheticObjective(_Objective):
    """See `limpet.objectives.antithetic`."""

    kind: Literal["antithetic"]
    pairs: Draws = 1

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        return antithetic(loss_fn, chips, pairs=self.pairs)


class CvarObjective(_Objective):
    """See `limpet.objectives.cvar`."""

    kind: Literal["cvar"]
    draws: Draws = 8
    share: Share = 0.5

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        return cvar(loss_fn, chips, draws=self.draws, share=self.share)


class WorstObjective(_Objective):
    """See `limpet.objectives.worst_of`."""

    kind: Literal["worst"]
    draws: Draws = 8

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        return worst_of(loss_fn, chips, draws=self.draws)


class VariedObjective(_Objective):
    """See `limpet.objectives.varied`."""

    kind: Literal["varied"]
    low: Scale = 0.0
    high: Scale = 1.0
    draws: Draws = 1

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        return varied(loss_fn, chips, low=self.low, high=self.high, draws=self.draws)


class ConsistencyObjective(_Objective):
    """See `limpet.objectives.consistency`; the schedule is of the weight."""

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
    """See `limpet.objectives.distillation`; the schedule is of the weight, and the teacher is given by the program."""

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
    """See `limpet.objectives.adversarial`; the schedule is of zeta."""

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


class WeightPerturbationObjective(_Objective):
    """See `limpet.objectives.weight_perturbation` and `adaptive_sam`; the schedule is of the radius."""

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
    | WeightPerturbationObjective,
    Field(discriminator="kind"),
]
