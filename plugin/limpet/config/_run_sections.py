"""The sections `robustness` and `tensorboard`: how networks are measured during training, and where that is logged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, Strict, TypeAdapter
from pydantic.functional_validators import (
    AfterValidator,
    BeforeValidator,
    PlainValidator,
    field_validator,
    model_validator,
)

from limpet.files import expanded
from limpet.results import seconds, words

from ._section import Count, Number, Scale, Section, Seed, each, problem, refuse, require_few, taken

MAX_CHIPS = 1_000_000
"""More chips than anyone waits for; a larger number is a slip."""


def _for_each_metric(kind: Any, example: str) -> Any:
    """The validator of a value for all metrics, or of a mapping of values by the name of a metric.

    Args:
        kind: the type of a value, with its bounds, as pydantic takes it.
        example: a mapping as the file may write it.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def checked(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return adapter.validate_python(value)
        require_few(value)
        by_metric, problems = each(value.items(), lambda _, part: adapter.validate_python(part))
        if not value or not all(isinstance(metric, str) and metric for metric in value):
            problems.append(problem((), f"allowed are values by the name of a metric, such as {example}", value))
        refuse(*problems)
        return by_metric

    return PlainValidator(checked)


_Target = Annotated[float, Number, Field(allow_inf_nan=False)]
_Targets = Annotated[float | dict[str, float] | None, _for_each_metric(_Target, "{accuracy: 0.9, loss: 1.2}")]
_Direction = Annotated[bool, Strict()]
_Directions = Annotated[bool | dict[str, bool] | None, _for_each_metric(_Direction, "{accuracy: true, loss: false}")]


def _parsed_time(value: Any) -> float:
    return taken(lambda: seconds(value))


_Time = Annotated[float, PlainValidator(_parsed_time)]


class RobustnessSection(Section):
    """Evaluation on virtual chips during training; all parts of the hardware deviate on them.

    They are measured over `scales`; or at scale 1, over `times` since they were programmed, such as [1 s, 1 day].

    Attributes:
        scales: the strengths to measure at, factors on the hardware's own.
        times: times since programming in place of scales, in seconds or as "1 s", "1 day", "1 year".
        chips: how many virtual chips are measured at each strength.
        seed: the number that names these chips; if left out, the configuration's seed.
        every_steps: a curve is measured whenever a multiple of so many training steps was passed.
        target: what a chip must reach to count towards the yield; a number, or one for each metric by name.
        higher_is_better: whether larger values of a metric are better; true, false, or one for each metric by name.
            Needed where the name of a metric says loss or error.
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
    return taken(lambda: expanded(logdir))


def _checked_prefix(prefix: str) -> str:
    if prefix and not (prefix.isprintable() and prefix.strip()):
        raise ValueError("allowed is a text that can be read, such as limpet/")
    return prefix


class TensorboardSection(Section):
    """Where and how often a run is logged.

    Attributes:
        logdir: the directory of the run's event files; `~` and `$NAME` stand for the home directory and for
            environment variables.
        flush_steps: the number of steps after which the log is written.
        prefix: a text that stands before every tag, for a directory that is shared with another writer.
        on_error: what a log that cannot be written does, because the disk is full, say: "raise" ends training, "warn"
            gives a warning, and training goes on without a log.
    """

    logdir: Annotated[Path, BeforeValidator(_checked_logdir)] = Path("runs/limpet")
    flush_steps: Count = 100
    prefix: Annotated[str, AfterValidator(_checked_prefix)] = ""
    on_error: Literal["raise", "warn"] = "raise"
