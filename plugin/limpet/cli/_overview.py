"""A configuration as a person reads it: what each section resolves to."""

from typing import Any

from ..config._config import Config, FrozenConfig, MismatchConfig, describe_rules
from ..config._schedule import CosineSchedule, LinearSchedule, PiecewiseSchedule, Schedule
from ..draws._generator import DRAWS_VERSION

_DYNAPSE = {
    "dynamic": "dynapse: the weights of a Rockpool network",
    "frozen": "dynapse: bias currents, capacitances and transistor constants of a Rockpool network",
    "robustness": "dynapse: weights, bias currents, capacitances and transistor constants of a Rockpool network",
}


def overview(config: Config) -> dict[str, list[tuple[str, str]]]:
    """Label and text of each line, by section."""
    return {
        "seed": [("number", f"{config.seed}"), ("generator", f"{config.generator}, draws version {DRAWS_VERSION}")],
        "dynamic": _mismatch("dynamic", config.dynamic),
        "frozen": _mismatch("frozen", config.frozen),
        "robustness": _robustness(config),
        "tensorboard": [
            ("logdir", str(config.tensorboard.logdir)),
            ("written", f"every {config.tensorboard.flush_steps} steps"),
        ],
        "train": [("keys", _train(config.train))],
    }


def _mismatch(name: str, section: MismatchConfig | None) -> list[tuple[str, str]]:
    if section is None:
        return [("drawn", "never")]
    strength = f"{section.distribution}, sigma {section.sigma:.4g}"
    if section.percent_deviation is not None:
        strength += f" = percent_deviation {section.percent_deviation:g} / sigma_rule {section.sigma_rule or 3:g}"
    lines = [("drawn", "afresh at every step"), ("strength", strength)]
    fixed = isinstance(section, FrozenConfig) and section.chip != "fresh"
    if isinstance(section, FrozenConfig):
        chip = f"once: chip {section.chip} of seed {section.seed}" if fixed else "a fresh chip at every step"
        lines[0] = ("drawn", chip)
    if not fixed:
        lines += [("schedule", _schedule(section.schedule, section.sigma)), ("gradient", section.gradient)]
    return [*lines, ("falls on", _targets(name, section.targets))]


def _schedule(schedule: Schedule, sigma: float) -> str:
    match schedule:
        case LinearSchedule(start=start, end=end, steps=steps, begin=begin):
            until = f"until step {begin}" if begin else "at step 0"
            return f"linear: sigma {sigma * start:.4g} {until}, {sigma * end:.4g} from step {begin + steps}"
        case CosineSchedule(start=start, end=end, steps=steps):
            return f"cosine: sigma {sigma * start:.4g} at step 0, {sigma * end:.4g} from step {steps}"
        case PiecewiseSchedule(boundaries=boundaries, factors=factors):
            parts = [
                f"{sigma * factor:.4g} from step {step}" for step, factor in zip(boundaries, factors[1:], strict=True)
            ]
            return f"piecewise: sigma {sigma * factors[0]:.4g} from step 0, {', '.join(parts)}"
        case _:
            return f"constant: sigma {sigma * schedule.factor:.4g} at every step"


def _targets(name: str, targets: Any) -> str:
    return _DYNAPSE[name] if isinstance(targets, str) else describe_rules(targets)


def _robustness(config: Config) -> list[tuple[str, str]]:
    robustness = config.robustness
    seed = config.seed if robustness.seed is None else robustness.seed
    better = robustness.higher_is_better
    lines = [
        ("chips", f"{robustness.chips} of seed {seed}, every {robustness.every_steps} steps"),
        ("sigma", ", ".join(f"{sigma:g}" for sigma in robustness.sigmas)),
        ("yield at", "no target" if robustness.target is None else _by_metric(robustness.target)),
        ("better is", _by_metric(better) if isinstance(better, dict) else "higher" if better else "lower"),
    ]
    everything = "all that deviates in training"
    falls_on = everything if robustness.targets is None else _targets("robustness", robustness.targets)
    return [*lines, ("falls on", falls_on)]


def _by_metric(value: Any) -> str:
    """A number, or one for each metric."""
    if not isinstance(value, dict):
        return f"{value:g}"
    words = {True: "higher", False: "lower"}
    return ", ".join(f"{name} {words[v] if isinstance(v, bool) else f'{v:g}'}" for name, v in value.items())


def _train(train: Any) -> str:
    if train is None:
        return "none"
    return f"{', '.join(map(str, train)) if isinstance(train, dict) else train} (your own loop's)"
