"""The configuration: what a chip is, what training redraws, at which strengths to measure."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import model_validator

from limpet import DRAWS_VERSION, Condition, Injection, LimpetError, LogUniform, MeasuredChip, Recipe, freeze
from limpet.typing import Generator

from ._hardware_field import HardwareField
from ._objective_section import MeanObjective
from ._run_sections import RobustnessSection, TensorboardSection
from ._section import Section, Seed, problem, refused
from ._training_section import RedrawSection, TrainingSection, time_words


class Config(Section):
    """A whole configuration; see `load_config`.

    Attributes:
        seed: the number that names every draw, an integer from 0 to 2**32 - 1.
        generator: the generator of every draw, "fast" or "threefry2x32".
        hardware: what a chip is: named parts; or a preset, by its name or as {preset: NAME, leaves: ..., its
            parameters}. In a program also a `limpet.Hardware` or a recipe.
        training: what training redraws; {} for nothing. Where it is not said, a `MismatchCallback` refuses the
            configuration.
        robustness: evaluation on virtual chips.
        tensorboard: logging.
        train: whatever the user's own loop reads; Limpet does not. Narrow its type in a subclass to have it checked.
    """

    _moved: ClassVar[Mapping[str, str]] = {
        "dynamic": "what deviates now stands under 'hardware', what is redrawn under 'training.dynamic'",
        "frozen": "what deviates now stands under 'hardware', what is redrawn under 'training.frozen'",
    }

    seed: Seed = 0
    generator: Generator = "fast"
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
            raise refused(*problems)
        return self

    @model_validator(mode="after")
    def _over_time(self) -> Self:
        timed = {name for name, part in self.hardware.parts.items() if part.deviation.timed}
        times, training, problems = self.robustness.times, self.training, []
        if times is not None and not timed:
            message = "no deviation of the hardware changes with time, so that curves would be flat; give scales"
            problems.append(problem(("robustness", "times"), message, list(times)))
        for name, parts in (("dynamic", self.dynamic_parts), ("frozen", self.frozen_parts)):
            time = getattr(training and getattr(training, name), "time", None)
            if time is not None and not timed & set(parts):
                message = "no deviation of the parts that are drawn changes with time; leave it out"
                problems.append(problem(("training", name, "time"), message, time))
        if problems:
            raise refused(*problems)
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

    def injection(self, model: Any) -> Injection:
        """What training draws on a model: the parts of `training.dynamic` and those of `training.frozen`.

        Raises:
            PrototypeError: hardware and model do not fit.
        """
        training = self.training
        drawn = Injection(model, self.hardware, parts=(), seed=self.seed, generator=self.generator)
        for name, parts, seed in (
            ("dynamic", self.dynamic_parts, self.seed),
            ("frozen", self.frozen_parts, self.frozen_seed),
        ):
            if parts:
                section: Any = getattr(training, name)
                chip = getattr(section, "chip", "fresh")
                drawn |= Injection(
                    model,
                    self.hardware,
                    parts=parts,
                    scale=section.scale,
                    schedule=section.schedule.to_optax(),
                    time=section.time,
                    gradient=section.gradient,
                    seed=seed,
                    chip=None if chip == "fresh" else chip,
                    generator=self.generator,
                    name=name,
                )
        return drawn

    def freeze(
        self,
        model: Any,
        chip: int | MeasuredChip | None = None,
        *,
        seed: int | None = None,
        condition: Condition | float | None = None,
    ) -> Any:
        """The virtual chip that training meets: the model with the parts of `training.frozen` as that chip has them.

        Args:
            model: the model, with nominal values; see `limpet.freeze`.
            chip: the number of another chip, or a measured one; None for the chip that `training.frozen` names.
            seed: the seed of the chip; None for the configuration's.
            condition: the condition under which the chip is looked at; None for the scale and time that
                `training.frozen` says.

        Raises:
            LimpetError: the configuration has no `training.frozen`, or that names no chip.
            PrototypeError: hardware and model do not fit.
        """
        if isinstance(chip, MeasuredChip):
            return freeze(model, self.hardware, chip=chip, seed=seed, condition=condition)
        frozen = self.training and self.training.frozen
        if not frozen:
            raise LimpetError("training.frozen: the configuration has none, so there is no chip to freeze")
        if chip is None and frozen.chip == "fresh":
            raise LimpetError(
                "training.frozen.chip = 'fresh': the callback draws a fresh chip at every step, so there is none to "
                "freeze; name one by chip="
            )
        if condition is None and isinstance(frozen.time, LogUniform):
            raise LimpetError(
                "training.frozen.time: each step draws a time, so that there is none to freeze; give "
                "condition=limpet.Condition(time=...)"
            )
        return freeze(
            model,
            self.hardware.on(model, only=self.frozen_parts),
            chip=frozen.chip if chip is None else chip,
            seed=self.frozen_seed if seed is None else seed,
            generator=self.generator,
            condition=Condition(frozen.scale, frozen.time) if condition is None else condition,
        )

    def describe(self) -> str:
        """What was resolved, a line for each section."""
        robustness, training = self.robustness, self.training
        lines = {"seed": f"{self.seed} (generator {self.generator}, draws version {DRAWS_VERSION})"}
        for name, part in self.hardware.parts.items():
            lines[f"hardware.{name}"] = f"{part.label()}; on {part.leaves_label()}"
        lines["training"] = "not said" if training is None else "without mismatch"
        if training is not None and training.dynamic is not None:
            del lines["training"]
            lines["training.dynamic"] = f"{', '.join(self.dynamic_parts)} at every step; {_redraw(training.dynamic)}"
        if training is not None and training.frozen is not None:
            lines.pop("training", None)
            chip = self.training_chip
            which = "a fresh chip at every step" if chip is None else f"chip {chip[1]} of seed {chip[0]}"
            lines["training.frozen"] = f"{', '.join(self.frozen_parts)} of {which}; {_redraw(training.frozen)}"
        if training is not None and training.objective != MeanObjective():
            lines["training.objective"] = training.objective.label()
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
    time = "" if section.time is None else f"; time {time_words(section.time)}"
    return f"scale {section.scale:g}; schedule {kind} ({details}){time}; gradient {section.gradient}"
