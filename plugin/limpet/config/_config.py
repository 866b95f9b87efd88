"""The configuration: strength, distribution, schedule, targets, as pydantic models that turn into recipes."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import jax
from pydantic import Field, PlainValidator, field_validator, model_validator

from .._errors import PrototypeError
from ..deviations._deviation import DEVIATIONS, Gaussian
from ..draws._generator import DEFAULT_GENERATOR, DRAWS_VERSION, Generator
from ..draws._keys import MAX_SEED
from ..hardware._leaf_draw import Gradient
from ..hardware._mismatch import Mismatch, Recipe
from ..leaves import rockpool as _rockpool
from ..leaves._prototype import prototype, selection
from ._schedule import ConstantSchedule, Schedule
from ._section import Count, NonNegative, Number, Section, Seed


def _as_rules(targets: Any) -> Any:
    """Accept rules as a mapping of glob to bool, a list of globs, or a list of [glob, bool] pairs."""
    if isinstance(targets, str):
        if targets != "dynapse":
            raise ValueError("allowed are 'dynapse' and a list of path globs, such as ['*/kernel']")
        return targets
    if isinstance(targets, dict):
        targets = list(targets.items())
    if not isinstance(targets, list | tuple) or not targets:
        raise ValueError("allowed are 'dynapse', a list of path globs, and a mapping of glob to true or false")
    rules = tuple(
        (rule, True) if isinstance(rule, str) else tuple(rule) if isinstance(rule, list | tuple) else (rule,)
        for rule in targets
    )
    for rule in rules:
        match rule:
            case (str(), bool()):
                continue
        raise ValueError(f"rule {list(rule)!r} is no pair of a path glob and true or false")
    return rules


Targets = Annotated[Literal["dynapse"] | tuple[tuple[str, bool], ...], PlainValidator(_as_rules)]
"""`dynapse` (what Rockpool's prototypes select) or path rules, the last match of which wins."""


class MismatchConfig(Section):
    """One kind of mismatch: its strength, its distribution and what it falls on.

    Strength is given either as `sigma`, or as `percent_deviation` with `sigma_rule`, as Rockpool has it; after
    validation `sigma` holds what was resolved.
    """

    sigma: NonNegative = cast(float, None)
    percent_deviation: NonNegative | None = None
    sigma_rule: Annotated[float, Number, Field(gt=0)] | None = None
    distribution: str = "gaussian"
    gradient: Gradient = "through"
    schedule: Schedule = ConstantSchedule()
    targets: Targets = "dynapse"

    @field_validator("percent_deviation")
    @classmethod
    def _fraction(cls, percent: float | None) -> float | None:
        if percent is not None and percent > 5:
            raise ValueError("it is a fraction, 0.30 means 30%")
        return percent

    @field_validator("distribution")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DEVIATIONS:
            raise ValueError(f"allowed are {', '.join(map(repr, DEVIATIONS))}")
        return name

    @model_validator(mode="after")
    def _resolve(self) -> Self:
        if self.sigma is not None and (self.percent_deviation is not None or self.sigma_rule is not None):
            raise ValueError("give sigma, or percent_deviation with sigma_rule, not both (null takes one back)")
        if self.sigma is None and self.percent_deviation is None:
            raise ValueError("no strength: give sigma, or percent_deviation (with sigma_rule, 3 if left out)")
        if self.percent_deviation is not None:
            deviation = DEVIATIONS[self.distribution].from_percent(self.percent_deviation, self.sigma_rule or 3.0)
            object.__setattr__(self, "sigma", deviation.sigma)
        return self

    def describe(self) -> str:
        """What was resolved, in one line."""
        strength = f"sigma = {self.sigma:.4g}"
        if self.percent_deviation is not None:
            strength += f" (percent_deviation {self.percent_deviation:g} / sigma_rule {self.sigma_rule or 3:g})"
        targets = self.targets if isinstance(self.targets, str) else describe_rules(self.targets)
        schedule = self.schedule.model_dump()
        kind = schedule.pop("kind")
        details = ", ".join(f"{name} {value}" for name, value in schedule.items())
        return f"{self.distribution}, {strength}; schedule {kind} ({details}); gradient {self.gradient}; on {targets}"

    def _recipe(self, key: str, model: Any, dynapse: Any) -> Mismatch:
        deviation = DEVIATIONS[self.distribution](self.sigma)
        return Mismatch(resolve_targets(key, self.targets, model, dynapse), deviation, self.gradient)


class DynamicConfig(MismatchConfig):
    """Mismatch drawn afresh at every training step, on trainable weights."""

    def recipe(self, model: Any) -> Mismatch:
        """The recipe for a network or a tree.

        Raises:
            PrototypeError: the targets select nothing there, or match no leaf.
        """
        return self._recipe("dynamic.targets", model, _rockpool.dynamic_mismatch_prototype)


def _checked_chip(chip: Any) -> Any:
    if chip == "fresh" or (isinstance(chip, int) and not isinstance(chip, bool) and 0 <= chip <= MAX_SEED):
        return chip
    raise ValueError("allowed are 'fresh' (a new chip at every step) and a chip number, an integer >= 0")


class FrozenConfig(MismatchConfig):
    """Mismatch of everything that is fixed once per chip: one chip, or a fresh one at every step."""

    chip: Annotated[int | Literal["fresh"], PlainValidator(_checked_chip)]
    seed: Seed | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        idle = {"schedule", "gradient"} & self.model_fields_set
        if self.chip != "fresh" and idle:
            raise ValueError(
                f"chip {self.chip} is drawn once, before training: {', '.join(sorted(idle))} has no effect"
            )
        return self

    def recipe(self, model: Any) -> Mismatch:
        """The recipe for a network or a tree.

        Raises:
            PrototypeError: the targets select nothing there, or match no leaf.
        """
        return self._recipe("frozen.targets", model, _rockpool.frozen_mismatch_prototype)


class RobustnessConfig(Section):
    """Evaluation on virtual chips during training."""

    sigmas: Annotated[tuple[NonNegative, ...], Field(min_length=1)] = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
    chips: Count = 100
    seed: Seed | None = None
    every_steps: Count = 500
    target: float | dict[str, float] | None = None
    higher_is_better: bool | dict[str, bool] = True
    chunk: Count | None = None
    targets: Targets | None = None

    @field_validator("sigmas")
    @classmethod
    def _distinct(cls, sigmas: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(sigmas)) < len(sigmas):
            raise ValueError("each sigma may stand there once")
        return sigmas


class TensorboardConfig(Section):
    """Where and how often to log."""

    logdir: Path = Path("runs/limpet")
    flush_steps: Count = 100


class Config(Section):
    """A whole configuration; see `load_config`.

    Attributes:
        seed: of every draw, an integer from 0 to 2**32 - 1.
        generator: of every draw, "fast" or "threefry2x32".
        dynamic: mismatch drawn at every step on weights; None for none.
        frozen: mismatch fixed per chip; None for none.
        robustness: evaluation on virtual chips.
        tensorboard: logging.
        train: whatever the user's own loop reads; Limpet does not. Narrow its type in a subclass to have it checked.
    """

    seed: Seed = 0
    generator: Generator = DEFAULT_GENERATOR
    dynamic: DynamicConfig | None = None
    frozen: FrozenConfig | None = None
    robustness: RobustnessConfig = RobustnessConfig()
    tensorboard: TensorboardConfig = TensorboardConfig()
    train: Any = None

    @model_validator(mode="after")
    def _resolve(self) -> Self:
        if self.dynamic is None and self.frozen is None and self.robustness.targets is None:
            raise ValueError("nothing deviates: give dynamic, frozen, or robustness.targets to measure only")
        if self.frozen is not None and self.frozen.seed is None:
            object.__setattr__(self, "frozen", self.frozen.model_copy(update={"seed": self.seed}))
        return self

    @property
    def fresh_chips(self) -> bool:
        """Whether frozen mismatch is redrawn at every step."""
        return self.frozen is not None and self.frozen.chip == "fresh"

    def chip_recipe(self, model: Any) -> Recipe:
        """Everything that deviates on a virtual chip, on which networks are evaluated: weights and frozen values.

        That is what `robustness.targets` says, else what dynamic and frozen mismatch fall on. A plain tree cannot tell
        the nominal values of a chip that was frozen into it, so there a fixed chip stays as it is.

        Raises:
            PrototypeError: the targets do not fit the model.
        """
        if self.robustness.targets is not None:
            return Mismatch(
                resolve_targets("robustness.targets", self.robustness.targets, model, _chip_prototype),
                Gaussian(1.0),
            )
        redrawn = self.frozen if self.fresh_chips or _rockpool.is_module(model) else None
        parts = [section.recipe(model) for section in (self.dynamic, redrawn) if section is not None]
        if not parts:
            raise PrototypeError("a fixed chip of a plain tree leaves nothing to vary: give robustness.targets")
        return parts[0] if len(parts) == 1 else parts[0] | parts[1]

    def describe(self) -> str:
        """What was resolved, a line for each section."""
        robustness = self.robustness
        strengths = ", ".join(f"{sigma:g}" for sigma in robustness.sigmas)
        frozen = "none"
        if self.frozen is not None:
            one_chip = f"chip {self.frozen.chip} of seed {self.frozen.seed}"
            frozen = f"{'a fresh chip at every step' if self.fresh_chips else one_chip}; {self.frozen.describe()}"
        lines = {
            "seed": f"{self.seed} (generator {self.generator}, draws version {DRAWS_VERSION})",
            "dynamic": "none" if self.dynamic is None else self.dynamic.describe(),
            "frozen": frozen,
            "robustness": f"{robustness.chips} chips at sigma {strengths}, every {robustness.every_steps} steps",
            "tensorboard": str(self.tensorboard.logdir),
        }
        return "\n".join(f"{name}: {line}" for name, line in lines.items())


def resolve_targets(key: str, targets: Any, model: Any, dynapse: Any) -> Any:
    """The prototype that a `targets` entry stands for.

    Args:
        key: the configuration key, for error messages.
        targets: "dynapse" or path rules.
        model: a Rockpool module or a tree.
        dynapse: which prototype "dynapse" stands for, a function of the module.
    """
    try:
        if targets != "dynapse":
            return prototype(model, *targets)
        if not _rockpool.is_module(model):
            raise PrototypeError(f"'dynapse' needs a Rockpool network, got {type(model).__name__}; give path globs")
        chosen = dynapse(model)
        selection(chosen)
        return chosen
    except PrototypeError as error:
        raise PrototypeError(f"{key}: {error}") from error


def describe_rules(rules: tuple[tuple[str, bool], ...]) -> str:
    """Path rules in one line; a leading `not` marks those that leave leaves out."""
    return ", ".join(glob if chosen else f"not {glob}" for glob, chosen in rules)


def _chip_prototype(net: Any) -> Any:
    return jax.tree.map(
        lambda dynamic, frozen: dynamic or frozen,
        _rockpool.dynamic_mismatch_prototype(net),
        _rockpool.frozen_mismatch_prototype(net),
    )
