"""The key `training.objective`: the loss that training minimises over the chips that it draws.

Each kind stands for a function of `limpet.objectives`. The keys of a kind are the arguments of its function, with their
defaults; where one is a strength, a schedule multiplies it by step.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

import jax
from pydantic import Field, PlainValidator, PositiveFloat, SerializeAsAny, create_model, model_validator

from limpet import Deviation, RightCensoredGaussian, objectives
from limpet.typing import Injector

from ._schedule import ConstantSchedule, Schedule
from ._section import Number, Scale, Section, by_kind, problem, refuse

Objective = Callable[..., jax.Array]
"""`f(params, step, *args)`: a loss under mismatch."""

Draws = Annotated[int, Number, Field(ge=1, le=10_000)]
SeveralDraws = Annotated[int, Number, Field(ge=2, le=10_000)]
Share = Annotated[float, Number, Field(gt=0, le=1)]
Positive = Annotated[PositiveFloat, Number]


class ObjectiveSection(Section):
    """Base of the objectives."""

    function: ClassVar[Callable[..., Objective]]
    scheduled: ClassVar[str] = ""
    """The argument that the schedule multiplies."""

    kind: Any = ""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        values = dict(self)
        if "low" in values and values["low"] > values["high"]:
            refuse(problem(("low",), f"allowed is a number up to high, which is {values['high']:g}", values["low"]))
        return self

    @property
    def needs_teacher(self) -> bool:
        """Whether the objective compares the network with another one, which the program gives."""
        return "teacher" in inspect.signature(self.function).parameters

    @property
    def deviation(self) -> Deviation | None:
        """The deviation of fresh draws, in place of the hardware's own; None for those."""
        return RightCensoredGaussian(**self.model_dump(include={"spread", "bound"})) if self.kind == "a-trice" else None

    def label(self) -> str:
        """The objective in a few words."""
        values = self.model_dump(exclude_defaults=True) | self.model_dump(exclude={"schedule"})
        kind = values.pop("kind")
        return ", ".join([kind, *(f"{name} {value}" for name, value in values.items())])

    def of(self, loss_fn: Callable[..., Any], chips: Injector, teacher: Any = None) -> Objective:
        """The objective.

        Args:
            loss_fn: the loss of one tree on one batch, `loss_fn(tree, *args)`.
            chips: the injection, which draws the chips of a step by its number.
            teacher: the teacher's parameters, for an objective that needs them.
        """
        values = self.model_dump(exclude={"kind", "schedule"})
        function = type(self).function
        if self.needs_teacher:
            values["teacher"] = teacher
        if not self.scheduled:
            return function(loss_fn, chips, **values)
        schedule: Any = dict(self)["schedule"]
        factor = schedule.to_optax()

        def objective(params: Any, step: Any, *args: Any, **named: Any) -> jax.Array:
            strength = {self.scheduled: values[self.scheduled] * factor(step)}
            return function(loss_fn, chips, **{**values, **strength})(params, step, *args, **named)

        return objective


def mean(loss_fn: Callable[..., Any], mismatch: Injector, *, draws: int | Literal["per_example"] = 1) -> Objective:
    """The mean loss over several chips; see `limpet.with_mismatch`.

    Args:
        loss_fn: the loss of one tree on one batch, `loss_fn(tree, *args)`.
        mismatch: the injection, which draws the chips of a step by its number.
        draws: the number of chips that each step draws; "per_example" for a chip of its own for each example.
    """
    return objectives.with_mismatch(lambda tree, *args: objectives.loss_of(loss_fn(tree, *args)), mismatch, draws=draws)


def _checked_draws(draws: Any) -> Any:
    if draws == "per_example" or (type(draws) is int and 1 <= draws <= 10_000):
        return draws
    raise ValueError("allowed are per_example and an integer from 1 to 10000")


_TYPES: dict[str, Any] = {
    **dict.fromkeys(("draws", "pairs", "steps"), Draws),
    **dict.fromkeys(("low", "high", "weight", "zeta", "initial_std", "spread", "radius"), Scale),
    **dict.fromkeys(("temperature", "bound"), Positive),
    "share": Share,
    "noise": bool,
}
"""The type of an argument, by its name."""


def _section(
    kind: str, function: Callable[..., Objective], scheduled: str = "", **types: Any
) -> type[ObjectiveSection]:
    """The section of one kind.

    Args:
        kind: the name by which a configuration calls it.
        function: the function that makes the objective of a loss and an injection.
        scheduled: the argument that a schedule multiplies, if any.
        **types: types of arguments that differ from those of other kinds.
    """
    keys: dict[str, Any] = {
        name: (types.get(name) or _TYPES[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name in _TYPES
    }
    if scheduled:
        keys["schedule"] = (Schedule, ConstantSchedule())
    name = f"{kind.title().replace('-', '')}Objective"
    default = "mean" if kind == "mean" else ...
    made = create_model(name, __base__=ObjectiveSection, kind=(Literal[kind], default), **keys)  # pyright: ignore[reportCallIssue, reportInvalidTypeForm, reportArgumentType]
    made.function, made.scheduled = staticmethod(function), scheduled  # pyright: ignore[reportAttributeAccessIssue]
    return made


OBJECTIVES: dict[str, type[ObjectiveSection]] = {
    "mean": _section("mean", mean, draws=Annotated[Any, PlainValidator(_checked_draws)]),
    "antithetic": _section("antithetic", objectives.antithetic),
    "cvar": _section("cvar", objectives.cvar),
    "worst": _section("worst", objectives.worst_of),
    "varied": _section("varied", objectives.varied),
    "consistency": _section("consistency", objectives.consistency, "weight", draws=SeveralDraws),
    "distillation": _section("distillation", objectives.distillation, "weight", weight=Share),
    "adversarial": _section("adversarial", objectives.adversarial, "zeta"),
    "a-trice": _section("a-trice", objectives.a_trice, "zeta"),
    "weight-perturbation": _section("weight-perturbation", objectives.weight_perturbation, "radius"),
    "adaptive-sam": _section("adaptive-sam", objectives.adaptive_sam, "radius"),
}
MeanObjective = OBJECTIVES["mean"]
ObjectiveField = Annotated[SerializeAsAny[ObjectiveSection], by_kind(OBJECTIVES)]
