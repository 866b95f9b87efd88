"""The section `training`: what is redrawn, when, and how strongly."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler
from pydantic.functional_serializers import PlainSerializer, model_serializer
from pydantic.functional_validators import PlainValidator, field_validator, model_validator

from limpet import LogUniform
from limpet.checks import MAX_SEED
from limpet.results import seconds, words
from limpet.typing import Gradient

from ._objective_section import MeanObjective, ObjectiveField
from ._schedule import ConstantSchedule, Schedule
from ._section import Scale, Section, Seed, problem, refuse, taken


def _checked_time(time: Any) -> Any:
    if isinstance(time, Mapping) and time.keys() != {"low", "high"}:
        raise ValueError("allowed are seconds, a text such as 1 day, and {low: 25 s, high: 1 year}")
    if isinstance(time, Mapping):
        return taken(lambda: LogUniform(**time), time)
    return time if time is None or isinstance(time, LogUniform) else taken(lambda: seconds(time))


def _plain_time(time: Any) -> Any:
    return {"low": time.low, "high": time.high} if isinstance(time, LogUniform) else time


def time_words(time: float | LogUniform) -> str:
    """The time at which training meets the hardware, in words."""
    if isinstance(time, LogUniform):
        return f"{words(float(time.low))} to {words(float(time.high))}, drawn log-uniformly at every step"
    return words(time)


Time = Annotated[float | LogUniform | None, PlainValidator(_checked_time), PlainSerializer(_plain_time)]


class RedrawSection(Section):
    """Parts of the hardware that training draws, and how strongly.

    Attributes:
        parts: names of parts of the hardware; if left out, all that the other section does not name.
        scale: factor on the deviation of each part: 1 is the chip as it is, 2 trains for one that is twice as bad.
        schedule: a further factor, which changes over training steps.
        time: the time since programming at which training meets the hardware: seconds, a text such as 1 day, or
            {low: 25 s, high: 1 year}, of which each step draws one, every decade as likely; if left out, what the
            deviations say themselves.
        gradient: the way in which the gradient passes through the deviation: "through" is exact, "through_value" takes
            the leaf's largest value as a constant, "straight_through" passes it on as if nothing deviated.
    """

    _moved: ClassVar[Mapping[str, str]] = {
        "targets": "which leaves deviate now stands under 'hardware'; name parts of it by 'parts'",
        "distribution": "it is now 'deviation', of each part of 'hardware'",
        **dict.fromkeys(
            ("sigma", "percent_deviation", "sigma_rule"), "the strength stands under 'hardware'; 'scale' multiplies it"
        ),
    }

    parts: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    scale: Scale = 1.0
    schedule: Schedule = ConstantSchedule()
    time: Time = None
    gradient: Gradient = "through"

    @field_validator("parts")
    @classmethod
    def _once_each(cls, parts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if parts is not None and len(set(parts)) < len(parts):
            raise ValueError("each part may stand there once")
        return parts


class DynamicSection(RedrawSection):
    """Parts that are drawn afresh at every training step.

    Attributes:
        parts: names of parts of the hardware; if left out, all that `frozen` does not name.
        scale: factor on the deviation of each part: 1 is the chip as it is, 2 trains for one that is twice as bad.
        schedule: a further factor, which changes over training steps.
        time: the time since programming at which training meets the hardware: seconds, a text such as 1 day, or
            {low: 25 s, high: 1 year}, of which each step draws one, every decade as likely; if left out, what the
            deviations say themselves.
        gradient: the way in which the gradient passes through the deviation: "through" is exact, "through_value" takes
            the leaf's largest value as a constant, "straight_through" passes it on as if nothing deviated.
    """


def _checked_chip(chip: Any) -> Any:
    if chip == "fresh" or (isinstance(chip, int) and not isinstance(chip, bool) and 0 <= chip <= MAX_SEED):
        return chip
    raise ValueError("allowed are fresh (a new chip at every step) and a chip number, an integer from 0 to 4294967295")


class FrozenSection(RedrawSection):
    """Parts that are fixed on a chip: training meets one chip, or a fresh one at every step.

    Attributes:
        parts: names of parts of the hardware; if left out, all that `dynamic` does not name.
        chip: the number of the one chip that training meets, or "fresh" for another chip at every step.
        seed: the number that names these chips; if left out, the configuration's seed.
        scale: factor on the deviation of each part.
        schedule: a further factor, which changes over training steps; with `chip: fresh` alone.
        time: the time since programming, as in `training.dynamic`.
        gradient: the way in which the gradient passes through, as in `training.dynamic`.
    """

    chip: Annotated[int | Literal["fresh"], PlainValidator(_checked_chip)]
    seed: Seed | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.chip != "fresh" and self.schedule != ConstantSchedule():
            raise ValueError(f"chip {self.chip} is one chip and stays as it is: give a scale, not a schedule")
        return self


class TrainingSection(Section):
    """What training redraws, and the loss over the chips that it draws, which `MismatchCallback.loss` makes.

    Empty, `training: {}`, it is training without mismatch, on nominal values.

    Attributes:
        dynamic: parts that are drawn afresh at every training step.
        frozen: parts that are fixed on a chip, one chip or a fresh one at every step.
        objective: what `MismatchCallback.loss` makes of a loss.
    """

    dynamic: DynamicSection | None = None
    frozen: FrozenSection | None = None
    objective: ObjectiveField = MeanObjective()

    @field_validator("dynamic", "frozen", mode="before")
    @classmethod
    def _said(cls, section: Any) -> Any:
        """Refuse a section that holds nothing: it would be read as none, and training be without mismatch."""
        if section is None:
            raise ValueError("nothing stands behind it; give {} to draw all parts, or leave it out to draw none")
        return section

    @property
    def sections(self) -> dict[str, RedrawSection]:
        """The sections that are given, by name."""
        return {name: section for name, section in (("dynamic", self.dynamic), ("frozen", self.frozen)) if section}

    @model_serializer(mode="wrap")
    def _as_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without sections that were not given, so that what is written can be read."""
        return {name: value for name, value in handler(self).items() if value is not None}

    @model_validator(mode="after")
    def _drawn(self) -> Self:
        drawn = self.dynamic is not None or (self.frozen is not None and self.frozen.chip == "fresh")
        alone = self.objective == MeanObjective() or self.objective.kind in ("weight-perturbation", "adaptive-sam")
        noisy = getattr(self.objective, "noise", True)
        message = ""
        if not drawn and not alone and noisy:
            message = (
                "it is over chips that training draws, and none is drawn: give training.dynamic, or training.frozen "
                "with chip: fresh (of adversarial, noise: false does without)"
            )
        elif not noisy and (self.dynamic is not None or self.frozen is not None):
            message = "noise: false meets none of the chips that training draws: leave out dynamic and frozen, or noise"
        if message:
            refuse(problem(("objective",), message, self.objective.kind))
        return self
