"""The configuration: what a chip is, what training redraws, at which strengths to measure."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import model_validator

from limpet import Condition, Injection, LimpetError, LogUniform, MeasuredChip, Recipe, freeze
from limpet.typing import Generator

from ._hardware_field import HardwareField
from ._overview import overview
from ._run_sections import RobustnessSection, TensorboardSection
from ._section import Section, Seed, problem, refuse
from ._training_section import FrozenSection, RedrawSection, TrainingSection


class Config(Section):
    """A whole configuration; see `load_config`.

    Attributes:
        seed: the number that names every draw, an integer from 0 to 2**32 - 1.
        generator: the generator of every draw, "fast" or "threefry2x32".
        hardware: what a chip is: named parts; or a preset, by its name or as {preset: NAME, leaves: ..., its
            parameters}. In a program also a `limpet.Hardware` or a recipe.
        training: what training redraws; {} for nothing. Where it is not said, a `MismatchCallback` refuses the
            configuration.
        robustness: the virtual chips, strengths and steps at which networks are measured.
        tensorboard: the directory in which a run is logged, and how often.
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
    def _check(self) -> Self:
        """Each part of the hardware is redrawn by one section of training at most, and each section redraws some."""
        parts, sections = self.hardware.parts, self._sections
        names = ", ".join(parts)
        problems = [
            problem(("training", name, "parts", place), f"no such part of the hardware; allowed are {names}", part)
            for name, section in sections.items()
            for place, part in enumerate(section.parts or ())
            if part not in parts
        ]
        given = {name: set(section.parts) for name, section in sections.items() if section.parts is not None}
        if len(sections) == 2 and not problems:
            twice = set.intersection(*given.values()) if len(given) == 2 else set()
            message = f"{', '.join(sorted(twice))} stands in the parts of dynamic and of frozen" if twice else ""
            if not given:
                message = f"dynamic and frozen would both redraw all parts: give one of them parts, some of {names}"
            if message:
                problems.append(problem(("training",), message, {"dynamic": {}}))
            elif set.union(*given.values()) == parts.keys() and len(given) == 1:
                (name,) = sections.keys() - given.keys()
                message = "the other section names all parts, so that none is left for this one"
                problems.append(problem(("training", name), message, {"parts": None}))
        timed = {name for name, part in parts.items() if part.deviation.timed}
        if self.robustness.times is not None and not timed:
            message = "no deviation of the hardware changes with time, so that curves would be flat; give scales"
            problems.append(problem(("robustness", "times"), message, list(self.robustness.times)))
        for name, section in sections.items():
            if section.time is not None and not timed & set(self._parts(name)):
                message = "no deviation of the parts that are drawn changes with time; leave it out"
                problems.append(problem(("training", name, "time"), message, section.time))
        refuse(*problems)
        return self

    @property
    def _sections(self) -> Mapping[str, RedrawSection]:
        return {} if self.training is None else self.training.sections

    @property
    def _frozen(self) -> FrozenSection | None:
        return None if self.training is None else self.training.frozen

    def _parts(self, name: str) -> tuple[str, ...]:
        """The parts that a section of training redraws."""
        if name not in self._sections:
            return ()
        taken = [part for section in self._sections.values() for part in section.parts or ()]
        return self._sections[name].parts or tuple(part for part in self.hardware.parts if part not in taken)

    @property
    def dynamic_parts(self) -> tuple[str, ...]:
        """The parts that are drawn afresh at every training step."""
        return self._parts("dynamic")

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """The parts that are fixed on the chip that training meets."""
        return self._parts("frozen")

    @property
    def nominal_parts(self) -> tuple[str, ...]:
        """The parts that training does not draw."""
        return tuple(part for part in self.hardware.parts if part not in (*self.dynamic_parts, *self.frozen_parts))

    @property
    def fresh_chips(self) -> bool:
        """Whether training meets a fresh chip at every step."""
        return self._frozen is not None and self._frozen.chip == "fresh"

    @property
    def training_chip(self) -> tuple[int, int] | None:
        """Seed and number of the one chip that training meets; None where it meets none, or fresh ones."""
        frozen = self._frozen
        return None if frozen is None or frozen.chip == "fresh" else (self.frozen_seed, frozen.chip)

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
        return self.seed if self._frozen is None or self._frozen.seed is None else self._frozen.seed

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
        drawn = Injection(model, self.hardware, parts=(), seed=self.seed, generator=self.generator)
        for name, section in self._sections.items():
            drawn |= Injection(
                model,
                self.hardware,
                parts=self._parts(name),
                scale=section.scale,
                schedule=section.schedule.to_optax(),
                time=section.time,
                gradient=section.gradient,
                seed=self.frozen_seed if name == "frozen" else self.seed,
                chip=self.training_chip[1] if name == "frozen" and self.training_chip else None,
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
        frozen = self._frozen
        if frozen is None:
            raise LimpetError("training.frozen: the configuration has none, so there is no chip to freeze")
        number = frozen.chip if chip is None else chip
        if number == "fresh":
            raise LimpetError("training.frozen.chip = 'fresh': every step draws another; name one to freeze by chip=")
        time: Any = frozen.time
        if condition is None and isinstance(time, LogUniform):
            raise LimpetError(
                "training.frozen.time: each step draws another; give condition=limpet.Condition(time=...)"
            )
        return freeze(
            model,
            self.hardware.on(model, only=self.frozen_parts),
            chip=number,
            seed=self.frozen_seed if seed is None else seed,
            generator=self.generator,
            condition=Condition(frozen.scale, time) if condition is None else condition,
        )

    def describe(self) -> str:
        """What was resolved, line by line, as `limpet check` shows it."""
        sections = overview(self)
        return "\n".join(f"{name}.{label}: {text}" for name, lines in sections.items() for label, text in lines)
