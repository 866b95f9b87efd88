"""The configuration: what a chip is, what training redraws, at which strengths to measure."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, field_validator, model_validator

from ..deviations._kinds import label
from ..draws._generator import DEFAULT_GENERATOR, DRAWS_VERSION, Generator
from ..draws._keys import MAX_SEED
from ..hardware._hardware import leaves_label
from ..hardware._leaf_draw import Gradient
from ..hardware._mismatch import Recipe
from ._hardware_section import HardwareField
from ._schedule import ConstantSchedule, Schedule
from ._section import Count, NonNegative, Section, Seed


class RedrawSection(Section):
    """Parts of the hardware that training draws, and how strongly."""

    parts: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    scale: NonNegative = 1.0
    schedule: Schedule = ConstantSchedule()
    gradient: Gradient = "through"


class DynamicSection(RedrawSection):
    """Parts that are drawn afresh at every training step. Without `parts`: all that `frozen` does not name."""


def _checked_chip(chip: Any) -> Any:
    if chip == "fresh" or (isinstance(chip, int) and not isinstance(chip, bool) and 0 <= chip <= MAX_SEED):
        return chip
    raise ValueError("allowed are 'fresh' (a new chip at every step) and a chip number, an integer >= 0")


class FrozenSection(RedrawSection):
    """Parts that are fixed on a chip: training meets one chip, or a fresh one at every step. Without `parts`: all that
    `dynamic` does not name."""

    chip: Annotated[int | Literal["fresh"], PlainValidator(_checked_chip)]
    seed: Seed | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.chip != "fresh" and "schedule" in self.model_fields_set:
            raise ValueError(f"chip {self.chip} is one chip and stays as it is: a schedule has no effect")
        return self


class TrainingSection(Section):
    """What training redraws. Empty, `training: {}`, it is training without mismatch, on nominal values."""

    dynamic: DynamicSection | None = None
    frozen: FrozenSection | None = None


class RobustnessSection(Section):
    """Evaluation on virtual chips during training; all parts of the hardware deviate on them."""

    scales: Annotated[tuple[NonNegative, ...], Field(min_length=1)] = (0.0, 0.5, 1.0, 1.5, 2.0)
    chips: Count = 100
    seed: Seed | None = None
    every_steps: Count = 500
    target: float | dict[str, float] | None = None
    higher_is_better: bool | dict[str, bool] | None = None

    @field_validator("scales")
    @classmethod
    def _distinct(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(scales)) < len(scales):
            raise ValueError("each scale may stand there once")
        return scales


class TensorboardSection(Section):
    """Where and how often to log; `prefix` stands before every tag, for a directory shared with another writer."""

    logdir: Path = Path("runs/limpet")
    flush_steps: Count = 100
    prefix: str = ""


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

    seed: Seed = 0
    generator: Generator = DEFAULT_GENERATOR
    hardware: HardwareField
    training: TrainingSection | None = None
    robustness: RobustnessSection = RobustnessSection()
    tensorboard: TensorboardSection = TensorboardSection()
    train: Any = None

    @model_validator(mode="after")
    def _resolve(self) -> Self:
        training = self.training
        if training is None:
            return self
        for name, section in (("dynamic", training.dynamic), ("frozen", training.frozen)):
            unknown = [part for part in (section and section.parts) or () if part not in self.hardware.parts]
            if unknown:
                raise ValueError(
                    f"training.{name}.parts: there is no part {', '.join(map(repr, unknown))}; the parts are "
                    f"{', '.join(self.hardware.parts)}"
                )
        both = training.dynamic is not None and training.frozen is not None
        if both and training.dynamic.parts is None and training.frozen.parts is None:  # pyright: ignore[reportOptionalMemberAccess]
            raise ValueError(
                f"training: dynamic and frozen would both redraw all parts: give one of them parts, some of "
                f"{', '.join(self.hardware.parts)}"
            )
        if both and (twice := set(self.dynamic_parts) & set(self.frozen_parts)):
            raise ValueError(f"training: {', '.join(sorted(twice))} stands in the parts of dynamic and of frozen")
        for name, section, parts in (
            ("dynamic", training.dynamic, self.dynamic_parts),
            ("frozen", training.frozen, self.frozen_parts),
        ):
            if section is not None and not parts:
                raise ValueError(f"training.{name}: the other section names all parts, so that none is left for it")
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
        scales = ", ".join(f"{scale:g}" for scale in robustness.scales)
        lines = {"seed": f"{self.seed} (generator {self.generator}, draws version {DRAWS_VERSION})"}
        for name, part in self.hardware.parts.items():
            lines[f"hardware.{name}"] = f"{label(part.deviation)}; on {leaves_label(part.leaves)}"
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
            f"{robustness.chips} chips of seed {self.chip_seed} at scale {scales}, every {robustness.every_steps} steps"
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
