"""A configuration as a person reads it: what each section resolves to."""

from typing import TYPE_CHECKING, Any

from limpet import DRAWS_VERSION
from limpet.deviations import sigma_of

from ._objective_section import MeanObjective
from ._schedule import CosineSchedule, LinearSchedule, PiecewiseSchedule
from ._training_section import RedrawSection, time_words

if TYPE_CHECKING:
    from ._config import Config

Lines = list[tuple[str, str]]
"""Label and text of each line of a section."""


def overview(config: "Config") -> dict[str, Lines]:
    """Label and text of each line, by section."""
    written = f"every {config.tensorboard.flush_steps} steps"
    if config.tensorboard.prefix:
        written += f", tags begin with {config.tensorboard.prefix}"
    if config.tensorboard.on_error == "warn":
        written += ", training goes on if that fails"
    return {
        "seed": [("number", f"{config.seed}"), ("generator", f"{config.generator}, draws version {DRAWS_VERSION}")],
        "hardware": [
            (name, f"{part.label()}, on {part.leaves_label()}") for name, part in config.hardware.parts.items()
        ],
        "training": _training(config),
        "robustness": _robustness(config),
        "tensorboard": [("logdir", str(config.tensorboard.logdir)), ("written", written)],
        "train": [("keys", _train(config.train))],
    }


def left_out_chip(config: "Config") -> int | None:
    """The number of the chip that training meets, where it would be among the measured ones; it is left out of them."""
    chip = config.measured_training_chip
    return None if chip is None or chip >= config.robustness.chips else chip


def _training(config: "Config") -> Lines:
    training = config.training
    if training is None:
        return [("redraws", "not said; a callback needs training: {dynamic: {}}, or {} for training without mismatch")]
    lines: Lines = []
    if training.dynamic is not None:
        lines += [("dynamic", f"{', '.join(config.dynamic_parts)}: afresh at every step")]
        lines += _redraw(config, training.dynamic, config.dynamic_parts)
    if training.frozen is not None:
        chip = config.training_chip
        which = "a fresh chip at every step" if chip is None else f"always chip {chip[1]} of seed {chip[0]}"
        lines += [("frozen", f"{', '.join(config.frozen_parts)}: {which}")]
        lines += _redraw(config, training.frozen, config.frozen_parts)
    if training.objective != MeanObjective():
        lines += [("objective", training.objective.label())]
    if config.nominal_parts:
        lines += [("nominal", f"{', '.join(config.nominal_parts)}: no mismatch while training")]
    return lines


def _redraw(config: "Config", section: RedrawSection, parts: tuple[str, ...]) -> Lines:
    sigmas = {sigma_of(config.hardware.parts[part].deviation) for part in parts}
    sigma = sigmas.pop() if len(sigmas) == 1 else None
    time = [] if section.time is None else [("time", time_words(section.time))]
    return [("strength", _strength(section, sigma)), *time, ("gradient", section.gradient)]


def _strength(section: RedrawSection, sigma: float | None) -> str:
    """The strength over training, as a sigma where the parts share one, else as a scale."""
    what, full = ("scale", section.scale) if sigma is None else ("sigma", section.scale * sigma)
    times = f" (scale {section.scale:g})" if sigma is not None and section.scale != 1 else ""
    match section.schedule:
        case LinearSchedule(start=start, end=end, steps=steps, begin=begin):
            until = f"until step {begin}" if begin else "at step 0"
            return f"linear: {what} {full * start:.4g} {until}, {full * end:.4g} from step {begin + steps}{times}"
        case CosineSchedule(start=start, end=end, steps=steps):
            return f"cosine: {what} {full * start:.4g} at step 0, {full * end:.4g} from step {steps}{times}"
        case PiecewiseSchedule(boundaries=boundaries, factors=factors):
            pieces = [
                f"{full * factor:.4g} from step {step}" for step, factor in zip(boundaries, factors[1:], strict=True)
            ]
            return f"piecewise: {what} {full * factors[0]:.4g} from step 0, {', '.join(pieces)}{times}"
        case schedule:
            return f"constant: {what} {full * schedule.factor:.4g} at every step{times}"


def _robustness(config: "Config") -> Lines:
    robustness, better = config.robustness, config.robustness.higher_is_better
    sigmas = {sigma_of(part.deviation) for part in config.hardware.parts.values()}
    sigma = sigmas.pop() if len(sigmas) == 1 else None
    chips = f"{robustness.chips} of seed {config.chip_seed}, every {robustness.every_steps} steps"
    if (chip := left_out_chip(config)) is not None:
        chips += f"; chip {chip}, which training meets, is left out"
    lines = [
        ("chips", chips),
        ("parts", f"all: {', '.join(config.hardware.parts)}"),
        tuple(robustness.over_words.split(" ", 1)),
    ]
    if sigma is not None and robustness.times is None:
        lines += [("sigma", ", ".join(f"{scale * sigma:.4g}" for scale in robustness.scales))]
    return [
        *lines,
        ("yield at", "no target" if robustness.target is None else _by_metric(robustness.target)),
        ("better is", "higher (a loss needs higher_is_better: false)" if better is None else _by_metric(better)),
    ]


def _by_metric(value: Any) -> str:
    """A number or a direction, or one for each metric."""
    words = {True: "higher", False: "lower"}

    def written(value: Any) -> str:
        return words[value] if isinstance(value, bool) else f"{value:g}"

    if not isinstance(value, dict):
        return written(value)
    return ", ".join(f"{name} {written(part)}" for name, part in value.items())


def _train(train: Any) -> str:
    if train is None:
        return "none"
    if isinstance(train, dict):
        keys = ", ".join(map(str, train)) or "none"
    else:
        keys = ", ".join(type(train).model_fields) if hasattr(type(train), "model_fields") else str(train)
    return f"{keys} (read by your own loop)"
