"""What calibrating chips gave: a metric before and after, and what each chip was given. NumPy and SciPy only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._checked import number
from .._errors import MetricError
from ._chip_metrics import ChipMetrics
from ._comparison import Comparison, compare
from ._npz_file import arrays_of, write_arrays
from ._robustness_curve import RobustnessCurve
from ._yield_difference import YieldDifference, yield_difference

Measured = TypeVar("Measured", RobustnessCurve, ChipMetrics)
"""What a metric on chips is: a curve for virtual chips, a table for measured ones."""

_GIVEN = "given/"


@dataclass(frozen=True, eq=False)
class Calibration(Generic[Measured]):
    """A metric of one network on chips before and after each was calibrated, and what each was given: `print` it.

    Attributes:
        before: the metric before, a `RobustnessCurve` on virtual chips or a `ChipMetrics` on measured ones.
        after: the metric after, on the same chips.
        given: the values that each chip was given in place of the network's own, by leaf path, shape (strengths, chips,
            *shape of the leaf), measured chips having one strength. A gain at the output of a leaf stands under the
            leaf's path with `/gain` behind it, shape (strengths, chips, outputs).
        steps: the number of steps that each chip was fitted for.
        samples: the number of different examples that calibration had, the same for every chip; steps go over them
            again.
        origin: hashes of all that it follows from (network, data, functions), by which `resume=` of `limpet.calibrate`
            tells whether it can go on; empty where they are not known.

    Examples:
        >>> before = RobustnessCurve("accuracy", [0.7], [[0.90, 0.80, 0.70]])
        >>> after = RobustnessCurve("accuracy", [0.7], [[0.97, 0.96, 0.95]])
        >>> calibration = Calibration(before, after, {"out/bias": np.zeros((1, 3, 10))}, steps=200, samples=640)
        >>> print(calibration)
        accuracy on 3 virtual chips of seed 0 (higher is better), calibrated on 640 examples for 200 steps
        before calibration
        sigma      mean  5th percentile     worst  no number
          0.7       0.8            0.71       0.7          0
        after calibration
        sigma      mean  5th percentile     worst  no number
          0.7      0.96           0.951      0.95          0
        >>> calibration.chip(2)["out/bias"].shape
        (10,)
    """

    before: Measured
    after: Measured
    given: Mapping[str, NDArray[Any]]
    steps: int
    samples: int
    origin: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Copies, so that it stays what it is when an array that was handed over is filled anew.
        object.__setattr__(self, "given", {path: np.array(values) for path, values in self.given.items()})

    def chip(self, chip: int | str, sigma: float | str | None = None) -> dict[str, NDArray[Any]]:
        """What one chip was given, by leaf path: what one loads onto it.

        Args:
            chip: the number of a virtual chip, or the name of a measured one.
            sigma: the strength, of a calibration at several; or what the curve's axis says.

        Raises:
            MetricError: there is no such chip or strength, or the strength is missing.
        """
        if isinstance(self.before, ChipMetrics):
            if chip not in self.before.chips or sigma is not None:
                raise MetricError(
                    f"chip {chip!r} at {sigma}: measured chips have no strength, and names: "
                    f"{', '.join(self.before.chips)}"
                )
            row, column = 0, self.before.chips.index(str(chip))
        else:
            numbers = self.before.chip_numbers
            if chip not in numbers:
                raise MetricError(f"chip {chip!r} was not calibrated; those from {numbers[0]} to {numbers[-1]} were")
            if sigma is None and len(self.before.sigmas) > 1:
                places = ", ".join(map(self.before.place, self.before.sigmas))
                raise MetricError(f"chip {chip} was calibrated at {self.before.axis} {places}: say which, by sigma=")
            row = 0 if sigma is None else self.before.row(sigma)
            column = int(np.flatnonzero(numbers == chip)[0])
        return {path: values[row, column] for path, values in self.given.items()}

    def save_chip(self, path: str | Path, chip: int | str, sigma: float | None = None) -> None:
        """Write what one chip was given as .npz, whose keys are leaf paths: `limpet.load_parameters` reads it.

        Args:
            path: the name of the file.
            chip: the number of a virtual chip, or the name of a measured one.
            sigma: the strength, of a calibration at several; see `chip`.
        """
        write_arrays(path, self.chip(chip, sigma))

    def comparison(self: "Calibration[RobustnessCurve]", confidence: float = 0.95) -> Comparison:
        """What calibration changes, chip by chip; see `limpet.compare`."""
        return compare(self.before, self.after, confidence)

    def yields(self: "Calibration[RobustnessCurve]", target: float, confidence: float = 0.95) -> list[YieldDifference]:
        """The yield before and after at each strength, with the interval of the difference; see `yield_difference`."""
        return yield_difference(self.before, self.after, target, confidence)

    def save(self, path: str | Path) -> None:
        """Write everything as .npz (no pickle)."""
        described: dict[str, Any] = {"steps": self.steps, "samples": self.samples, "origin": dict(self.origin)}
        arrays = {f"{_GIVEN}{name}": values for name, values in self.given.items()}
        arrays |= {"before": self.before.values, "after": self.after.values}
        if isinstance(self.before, ChipMetrics):
            described |= {"metric": self.before.metric, "higher_is_better": self.before.higher_is_better}
            described |= {"chips": list(self.before.chips), "nominal": self.before.nominal}
        else:
            description = self.before.to_dict()
            del description["values"]
            described["curve"] = description
        write_arrays(path, arrays | {"described": np.array(json.dumps(described))})

    @classmethod
    def load(cls, path: str | Path) -> "Calibration[Any]":
        """Read what `save` wrote.

        Raises:
            MetricError: the file is missing, damaged, or holds no calibration.
        """
        try:
            return _read(arrays_of(path))
        except (ValueError, TypeError, RecursionError) as error:
            raise MetricError(f"{path}: holds no calibration ({error})") from None

    def __str__(self) -> str:
        before, after = str(self.before).splitlines(), str(self.after).splitlines()
        first = f"{before[0]}, calibrated on {self.samples} examples for {self.steps} steps"
        return "\n".join([first, "before calibration", *before[1:], "after calibration", *after[1:]])


def _read(arrays: Mapping[str, NDArray[Any]]) -> Calibration[Any]:
    if missing := [name for name in ("before", "after", "described") if name not in arrays]:
        raise MetricError(f"it has no {missing[0]}")
    for name, values in arrays.items():
        if name != "described" and values.dtype.kind not in "fiu":
            raise MetricError(f"its {name} are of type {values.dtype}; needed are real numbers")
    described = json.loads(str(arrays["described"]))
    steps, samples = (described.get(name) if isinstance(described, dict) else None for name in ("steps", "samples"))
    if not (isinstance(steps, int) and isinstance(samples, int) and min(steps, samples) >= 0):
        raise MetricError("its description does not say for how many steps, on how many samples")
    origin = described.get("origin", {})
    if not isinstance(origin, dict) or not all(isinstance(text, str) for text in origin.values()):
        raise MetricError("its description says of which network and data it is in a way that is none")
    before, after = (_measured(described, arrays[name]) for name in ("before", "after"))
    given = {name.removeprefix(_GIVEN): values for name, values in arrays.items() if name.startswith(_GIVEN)}
    held = (1, len(before.chips)) if isinstance(before, ChipMetrics) else before.values.shape
    if strays := [name for name, values in given.items() if values.shape[:2] != held]:
        raise MetricError(f"'{strays[0][:80]}' is not of its {held[1]} chips")
    if arrays["after"].shape != arrays["before"].shape:
        raise MetricError("it holds other chips after than before")
    return Calibration[Any](before, after, given, steps, samples, origin)


def _measured(described: Mapping[str, Any], values: NDArray[Any]) -> RobustnessCurve | ChipMetrics:
    if "curve" in described:
        return RobustnessCurve.from_dict({**described["curve"], "values": values})
    match described:
        case {
            "metric": str() as metric,
            "chips": list() as chips,
            "nominal": nominal,
            "higher_is_better": bool() as up,
        }:
            if all(isinstance(chip, str) for chip in chips) and values.shape == (len(chips),):
                return ChipMetrics(metric, tuple(chips), values, number("nominal", nominal, error=MetricError), up)
    raise MetricError("its description does not say which metric of which chips it is")
