"""Schedules of strength: a factor on sigma over training steps, compiled to optax schedules."""

from typing import Annotated, Literal, Self

import optax
from pydantic import Field, SerializeAsAny, model_validator

from ._section import MAX_COUNT, Count, Number, Scale, Section, by_kind, shown


class ConstantSchedule(Section):
    """The same factor at every step.

    Attributes:
        factor: the factor on the strength at every step.
    """

    kind: Literal["constant"] = "constant"
    factor: Scale = 1.0

    def to_optax(self) -> optax.Schedule:
        """The optax schedule: step to factor."""
        return optax.constant_schedule(self.factor)


class LinearSchedule(Section):
    """A straight line from `start` to `end`; constant before and after.

    Attributes:
        start: the factor up to step `begin`.
        end: the factor from step `begin + steps` on.
        steps: how many steps the line takes.
        begin: the step at which it begins.
    """

    kind: Literal["linear"]
    start: Scale = 0.0
    end: Scale = 1.0
    steps: Count
    begin: Annotated[int, Number, Field(ge=0, le=MAX_COUNT)] = 0

    def to_optax(self) -> optax.Schedule:
        """The optax schedule: step to factor."""
        return optax.linear_schedule(self.start, self.end, self.steps, self.begin)


class CosineSchedule(Section):
    """Half a cosine from `start` to `end`; constant afterwards.

    Attributes:
        start: the factor on the strength at step 0.
        end: the factor from step `steps` on.
        steps: the number of steps from `start` to `end`.
    """

    kind: Literal["cosine"]
    start: Scale = 0.0
    end: Scale = 1.0
    steps: Count

    def to_optax(self) -> optax.Schedule:
        """The optax schedule: step to factor."""
        remaining = optax.cosine_decay_schedule(1.0, self.steps)
        return lambda step: self.end + (self.start - self.end) * remaining(step)


class PiecewiseSchedule(Section):
    """`factors[0]` up to step `boundaries[0]`, then `factors[1]`, and so on.

    Attributes:
        boundaries: steps at which the factor changes, increasing.
        factors: the factors between them, one more than there are boundaries.
    """

    kind: Literal["piecewise"]
    boundaries: Annotated[tuple[Count, ...], Field(min_length=1)]
    factors: Annotated[tuple[Scale, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.factors) != len(self.boundaries) + 1:
            raise ValueError(f"{len(self.factors)} factors: needed is one more than {len(self.boundaries)} boundaries")
        if any(later <= earlier for earlier, later in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"boundaries {shown(list(self.boundaries))} must increase")
        return self

    def to_optax(self) -> optax.Schedule:
        """The optax schedule: step to factor."""
        return optax.join_schedules([optax.constant_schedule(factor) for factor in self.factors], list(self.boundaries))


SCHEDULES: dict[str, type[Section]] = {
    "constant": ConstantSchedule,
    "linear": LinearSchedule,
    "cosine": CosineSchedule,
    "piecewise": PiecewiseSchedule,
}
Schedule = Annotated[
    SerializeAsAny[ConstantSchedule | LinearSchedule | CosineSchedule | PiecewiseSchedule], by_kind(SCHEDULES)
]
