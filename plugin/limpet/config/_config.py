"""The configuration: what a chip is, what training redraws, at which strengths to measure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    Strict,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from .._errors import MetricError
from ..draws._generator import DEFAULT_GENERATOR, DRAWS_VERSION, Generator
from ..draws._keys import MAX_SEED
from ..hardware._leaf_draw import Gradient
from ..hardware._mismatch import Recipe
from ..hardware._part import leaves_label
from ..results._duration import seconds, words
from ._hardware_section import HardwareField
from ._schedule import ConstantSchedule, Schedule
from ._section import Count, Number, Scale, Section, Seed, details_of, problem, require_few

MAX_CHIPS = 1_000_000
"""More chips than anyone waits for; a larger number is a slip."""


class RedrawSection(Section):
    """Parts of the hardware that training draws, and how strongly."""

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
    gradient: Gradient = "through"

    @field_validator("parts")
    @classmethod
    def _once_each(cls, parts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if parts is not None and len(set(parts)) < len(parts):
            raise ValueError("each part may stand there once")
        return parts


class DynamicSection(RedrawSection):
    """Parts that are drawn afresh at every training step. Without `parts`: all that `frozen` does not name."""


def _checked_chip(chip: Any) -> Any:
    if chip == "fresh" or (isinstance(chip, int) and not isinstance(chip, bool) and 0 <= chip <= MAX_SEED):
        return chip
    raise ValueError("allowed are fresh (a new chip at every step) and a chip number, an integer from 0 to 4294967295")


class FrozenSection(RedrawSection):
    """Parts that are fixed on a chip: training meets one chip, or a fresh one at every step. Without `parts`: all that
    `dynamic` does not name."""

    chip: Annotated[int | Literal["fresh"], PlainValidator(_checked_chip)]
    seed: Seed | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.chip != "fresh" and self.schedule != ConstantSchedule():
            raise ValueError(
                f"chip {self.chip} is one chip and stays as it is: give its strength as scale, not a schedule"
            )
        return self


class TrainingSection(Section):
    """What training redraws. Empty, `training: {}`, it is training without mismatch, on nominal values."""

    dynamic: DynamicSection | None = None
    frozen: FrozenSection | None = None


def _for_each_metric(kind: Any, example: str) -> Any:
    """The validator of a value for all metrics, or of a mapping of values by the name of a metric.

    Args:
        kind: the type of a value.
        example: a mapping as the file may write it.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def checked(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return adapter.validate_python(value)
        require_few(value)
        problems, by_metric = [], {}
        for metric, part in value.items():
            try:
                by_metric[metric] = adapter.validate_python(part)
            except ValidationError as error:
                problems += details_of(error, (metric,))
        if not value or not all(isinstance(metric, str) and metric for metric in value):
            problems.append(problem((), f"allowed are values by the name of a metric, such as {example}", value))
        if problems:
            raise ValidationError.from_exception_data("by metric", problems)
        return by_metric

    return PlainValidator(checked)


_Target = Annotated[float, Number, Field(allow_inf_nan=False)]
_Targets = Annotated[float | dict[str, float] | None, _for_each_metric(_Target, "{accuracy: 0.9, loss: 1.2}")]
_Direction = Annotated[bool, Strict()]
_Directions = Annotated[bool | dict[str, bool] | None, _for_each_metric(_Direction, "{accuracy: true, loss: false}")]


def _parsed_time(value: Any) -> float:
    try:
        return seconds(value)
    except MetricError as error:
        raise ValueError(str(error).partition(": ")[2]) from None


_Time = Annotated[float, PlainValidator(_parsed_time)]


class RobustnessSection(Section):
    """Evaluation on virtual chips during training; all parts of the hardware deviate on them.

    They are measured over `scales`; or at scale 1, over `times` since they were programmed, such as [1 s, 1 day].
    """

    _moved: ClassVar[Mapping[str, str]] = {
        "sigmas": "strengths are now 'scales', multiples of what the hardware says",
        "targets": "which leaves deviate now stands under 'hardware', as 'leaves' of each part",
        "chunk": "it is no longer needed",
    }

    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (0.0, 0.5, 1.0, 1.5, 2.0)
    times: Annotated[tuple[_Time, ...], Field(min_length=1)] | None = None
    chips: Annotated[Count, Field(le=MAX_CHIPS)] = 100
    seed: Seed | None = None
    every_steps: Count = 500
    target: _Targets = None
    higher_is_better: _Directions = None

    @field_validator("scales")
    @classmethod
    def _distinct(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(scales)) < len(scales):
            raise ValueError("each scale may stand there once")
        return scales

    @model_validator(mode="after")
    def _one_axis(self) -> Self:
        if self.times is not None and "scales" in self.model_fields_set:
            raise ValueError("give scales or times, not both: times are measured at scale 1")
        return self

    @property
    def over(self) -> dict[str, tuple[float, ...]]:
        """What curves go over: the argument of `limpet.robustness_curve` and its value."""
        return {"scales": self.scales} if self.times is None else {"times": self.times}

    @property
    def over_words(self) -> str:
        """The same in words."""
        if self.times is not None:
            return f"times {', '.join(map(words, self.times))}"
        return f"scale {', '.join(f'{scale:g}' for scale in self.scales)}"


def _checked_logdir(logdir: Any) -> Any:
    if not isinstance(logdir, str | Path) or not str(logdir).strip() or "\0" in str(logdir):
        raise ValueError("the path of a directory is needed, such as runs/experiment")
    return logdir


def _checked_prefix(prefix: str) -> str:
    if prefix and not (prefix.isprintable() and prefix.strip()):
        raise ValueError("allowed is a text that can be read, such as limpet/")
    return prefix


class TensorboardSection(Section):
    """Where and how often to log; `prefix` stands before every tag, for a directory shared with another writer;
    `on_error` says whether a directory that cannot be written, because the disk is full, say, ends training."""

    logdir: Annotated[Path, BeforeValidator(_checked_logdir)] = Path("runs/limpet")
    flush_steps: Count = 100
    prefix: Annotated[str, AfterValidator(_checked_prefix)] = ""
    on_error: Literal["raise", "warn"] = "raise"


class Config(Section):
    """A whole configuration; see `load_config`.

    Attributes:
        seed: of every draw, an integer from 0 to 2**32 - 1.
        generator: of every draw, "fast" or "threefry2x32".
        hardware: what a chip is, a `limpet.Hardware`; given as one, as a recipe, or as named parts.
        training: what training redraws; None where nothing was said, which a `MismatchCallback` does not accept.
        robustness: evaluation on virtual chips.
        tensorboard: logging.
        train: whatever the user's own loop reads; Limpet does not. Narrow its type in a subclass to have it checked.
    """

    _moved: ClassVar[Mapping[str, str]] = {
        "dynamic": "what deviates now stands under 'hardware', what is redrawn under 'training.dynamic'",
        "frozen": "what deviates now stands under 'hardware', what is redrawn under 'training.frozen'",
    }

    seed: Seed = 0
    generator: Generator = DEFAULT_GENERATOR
    hardware: HardwareField
    training: TrainingSection | None = None
    robustness: RobustnessSection = RobustnessSection()
    tensorboard: TensorboardSection = TensorboardSection()
    train: Any = None

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        """Each part of the hardware is redrawn by one section of training at most, and each section redraws some."""
        training = self.training
        if training is None:
            return self
        sections = {
            name: section
            for name, section in (("dynamic", training.dynamic), ("frozen", training.frozen))
            if section is not None
        }
        names = ", ".join(self.hardware.parts)
        problems = [
            problem(
                ("training", name, "parts", index),
                f"there is no such part of the hardware; allowed are {names}",
                part,
            )
            for name, section in sections.items()
            for index, part in enumerate(section.parts or ())
            if part not in self.hardware.parts
        ]
        if len(sections) == 2 and not problems:
            given = [set(section.parts) for section in sections.values() if section.parts is not None]
            if not given:
                message = f"dynamic and frozen would both redraw all parts: give one of them parts, some of {names}"
                problems.append(problem(("training",), message, {"dynamic": {}}))
            elif len(given) == 2 and given[0] & given[1]:
                message = f"{', '.join(sorted(given[0] & given[1]))} stands in the parts of dynamic and of frozen"
                problems.append(problem(("training",), message, {"dynamic": {}}))
            elif given[0] == set(self.hardware.parts):
                name = next(name for name, section in sections.items() if section.parts is None)
                message = "the other section names all parts, so that none is left for this one"
                problems.append(problem(("training", name), message, {"parts": None}))
        if problems:
            raise ValidationError.from_exception_data(type(self).__name__, problems)
        return self

    @model_validator(mode="after")
    def _over_time(self) -> Self:
        times = self.robustness.times
        if times is not None and not any(part.deviation.timed for part in self.hardware.parts.values()):
            message = "no deviation of the hardware changes with time, so that curves would be flat; give scales"
            entry = problem(("robustness", "times"), message, list(times))
            raise ValidationError.from_exception_data(type(self).__name__, [entry])
        return self

    @property
    def dynamic_parts(self) -> tuple[str, ...]:
        """The parts that are drawn afresh at every training step."""
        training = self.training
        if training is None or training.dynamic is None:
            return ()
        return training.dynamic.parts or self._parts_beside(training.frozen)

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """The parts that are fixed on the chip that training meets."""
        training = self.training
        if training is None or training.frozen is None:
            return ()
        return training.frozen.parts or self._parts_beside(training.dynamic)

    @property
    def fresh_chips(self) -> bool:
        """Whether training meets a fresh chip at every step."""
        return self.training is not None and self.training.frozen is not None and self.training.frozen.chip == "fresh"

    @property
    def training_chip(self) -> tuple[int, int] | None:
        """Seed and number of the one chip that training meets; None where it meets none, or fresh ones."""
        frozen = self.training and self.training.frozen
        return None if not frozen or frozen.chip == "fresh" else (self.frozen_seed, frozen.chip)

    @property
    def measured_training_chip(self) -> int | None:
        """The number of the chip that training meets, where it is of the seed whose chips are measured; else None.

        It is left out of the measured ones: a network has seen it.
        """
        if self.training_chip is None or self.training_chip[0] != self.chip_seed:
            return None
        return self.training_chip[1]

    @property
    def frozen_seed(self) -> int:
        """The seed of the chips that training meets."""
        frozen = self.training and self.training.frozen
        return self.seed if not frozen or frozen.seed is None else frozen.seed

    @property
    def chip_seed(self) -> int:
        """The seed of the virtual chips that are measured."""
        return self.seed if self.robustness.seed is None else self.robustness.seed

    def recipe(self, model: Any) -> Recipe:
        """Everything that deviates on a virtual chip of the hardware, on which networks are measured.

        Raises:
            PrototypeError: a part's leaves do not fit the model.
        """
        return self.hardware.on(model)

    def describe(self) -> str:
        """What was resolved, a line for each section."""
        robustness, training = self.robustness, self.training
        lines = {"seed": f"{self.seed} (generator {self.generator}, draws version {DRAWS_VERSION})"}
        for name, part in self.hardware.parts.items():
            lines[f"hardware.{name}"] = f"{part.label()}; on {leaves_label(part.leaves)}"
        lines["training"] = "not said" if training is None else "without mismatch"
        if training is not None and training.dynamic is not None:
            del lines["training"]
            lines["training.dynamic"] = f"{', '.join(self.dynamic_parts)} at every step; {_redraw(training.dynamic)}"
        if training is not None and training.frozen is not None:
            lines.pop("training", None)
            chip = self.training_chip
            which = "a fresh chip at every step" if chip is None else f"chip {chip[1]} of seed {chip[0]}"
            lines["training.frozen"] = f"{', '.join(self.frozen_parts)} of {which}; {_redraw(training.frozen)}"
        lines["robustness"] = (
            f"{robustness.chips} chips of seed {self.chip_seed} at {robustness.over_words}, every "
            f"{robustness.every_steps} steps"
        )
        lines["tensorboard"] = str(self.tensorboard.logdir)
        return "\n".join(f"{name}: {line}" for name, line in lines.items())

    def _parts_beside(self, other: RedrawSection | None) -> tuple[str, ...]:
        taken = (other and other.parts) or ()
        return tuple(part for part in self.hardware.parts if part not in taken)


def _redraw(section: RedrawSection) -> str:
    schedule = section.schedule.model_dump()
    kind = schedule.pop("kind")
    details = ", ".join(f"{name} {value}" for name, value in schedule.items())
    return f"scale {section.scale:g}; schedule {kind} ({details}); gradient {section.gradient}"
