"""How probable it is that a chip misses a target, as `limpet.tail_yield` found it. NumPy and SciPy only."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .._errors import LimpetError, MetricError
from ..draws._generator import DEFAULT_GENERATOR, DRAWS_VERSION, Generator
from ..draws._walked_chip import WalkedChip
from ._condition import UNCHANGED, Condition
from ._json_file import load_json, save_json
from ._yield import Yield, checked_confidence, yield_of


class TailLevel(NamedTuple):
    """One level of a `TailYield`.

    Attributes:
        bound: the metric, or the margin, that chips of the next level do not exceed (do not fall below, where less is
            better); NaN for the last level, after which only chips are left that miss the target.
        share: the share of this level's chips that go on to the next, or miss the target.
        variance: the relative variance of that share, judging by how much chips of one walk resemble one another.
        step: the mean length of the steps to this level's chips, NaN for the first level, which are independent.
        accepted: the share of steps that were taken; NaN likewise.
        plain: how many of the independent chips are as bad; see `TailYield.check`.
    """

    bound: float
    share: float
    variance: float
    step: float = math.nan
    accepted: float = math.nan
    plain: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class TailYield:
    """The probability that a chip misses a target; prints as a table of the levels by which it was found.

    Attributes:
        metric: the name of the metric.
        target: the value that a chip is to reach.
        higher_is_better: True for an accuracy, False for a loss.
        levels: the levels, the first of independent chips, each of the next among the worst of the one before.
        walkers: the number of chips of a level.
        ancestors: the number of chips that miss the target, for each chip of the first level from which any descends.
            (Where none misses it: the number of all chips of the last level.)
        evaluations: how many chips were evaluated, the independent ones of the check left out.
        chips: the chips of the last level that miss the target, each once, the worst first. `limpet.freeze` and
            `limpet.on_chip` rebuild them.
        values: the metric of these chips, of the same shape.
        margin: the name of the margin along which levels go; empty where it is the metric.
        check: the number of independent chips that were drawn beside.
        seed: the number that names the walk.
        generator: the generator of random numbers.
        draws_version: the value of `limpet.DRAWS_VERSION` when the chips were drawn.
        fingerprint: a hash of the hardware.
        hardware: the hardware in words.
        condition: the condition under which chips were looked at.
    """

    metric: str
    target: float
    higher_is_better: bool
    levels: tuple[TailLevel, ...]
    walkers: int
    ancestors: NDArray[np.int64]
    evaluations: int
    chips: tuple[WalkedChip, ...]
    values: NDArray[np.float64]
    margin: str = ""
    check: int = 0
    seed: int = 0
    generator: Generator = DEFAULT_GENERATOR
    draws_version: int = DRAWS_VERSION
    fingerprint: str = ""
    hardware: str = ""
    condition: Condition = UNCHANGED

    @property
    def failure(self) -> float:
        """The probability that a chip misses the target: the product of the levels' shares. 0 where no chip did."""
        return math.prod(level.share for level in self.levels)

    @property
    def reached(self) -> bool:
        """Whether chips that miss the target were found; if not, `failure` is 0, and only `interval` has a meaning."""
        return self.levels[-1].share > 0

    @property
    def relative_error(self) -> float:
        """The standard error of `failure`, as a fraction of it; infinite where no chip misses the target.

        Chips that descend from one chip of the first level are alike. With the shares a_i of the ancestors in the chips
        that miss the target, and N chips of a level, the relative variance is estimated by sum a_i^2 - 1 / N: H. P.
        Chan and T. L. Lai (2013), "A general theory of particle filters in hidden Markov models and some applications",
        Ann. Statist. 41:2877. Where the autocorrelation along walks says more, it is that: the sum of the levels'
        `variance`, S.-K. Au and J. L. Beck (2001).
        """
        return math.sqrt(self._variance) if self.reached else math.inf

    @property
    def effective_ancestors(self) -> float:
        """How many chips of the first level all chips descend from that miss the target, 1 / sum a_i^2.

        With few of them the interval is wide, and its own width is little known: take more chips.
        """
        shares = self.ancestors / max(self.ancestors.sum(), 1)
        return float(1 / (shares**2).sum())

    @property
    def plain_chips(self) -> float:
        """How many independent chips tell as much: (1 - p) / p over the relative variance; NaN where no chip failed."""
        if not self.reached:
            return math.nan
        return (1 - self.failure) / self.failure / self._variance if self._variance else math.inf

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Where the probability of failure lies, lower and upper end.

        It is log-normal: the logarithm is off by Student's t times sqrt(ln(1 + relative variance)), with a degree of
        freedom for each effective ancestor, because of few of them the variance is little known. Where the first level
        suffices, its chips are independent, and the interval is Clopper and Pearson's. Where no chip misses the target,
        it goes from 0 to what would have been seen with the odds that the confidence leaves.

        Raises:
            MetricError: `confidence` is no number between 0 and 1.
        """
        confidence = checked_confidence(confidence)
        if len(self.levels) == 1:
            failing = round(self.levels[0].share * self.walkers)
            found = yield_of(failing, self.walkers, confidence, "exact")
            return found.low, found.high
        before = math.prod(level.share for level in self.levels[:-1])
        if self.reached:
            factor = self._factor(confidence, self._variance)
            return self.failure / factor, min(self.failure * factor, 1.0)
        most = 1 - ((1 - confidence) / 2) ** (1 / self.effective_ancestors)
        return 0.0, min(before * self._factor(confidence, self._by_ancestry) * most, 1.0)

    def yield_at(self, confidence: float = 0.95) -> Yield:
        """The fraction of chips that reach the target, with its interval."""
        low, high = self.interval(confidence)
        return Yield(1 - self.failure, 1 - high, 1 - low, confidence)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python values, for JSON; `TailYield.from_dict` takes it back."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        chips = [{"first": chip.first, "steps": [list(step) for step in chip.steps]} for chip in self.chips]
        levels = [{name: _or_none(value) for name, value in level._asdict().items()} for level in self.levels]
        return plain | {
            "levels": levels,
            "chips": chips,
            "ancestors": self.ancestors.tolist(),
            "values": list(map(_or_none, self.values.tolist())),
            "condition": list(self.condition),
        }

    @classmethod
    def from_dict(cls, described: Any) -> Self:
        """The result that `to_dict` described.

        Raises:
            MetricError: it is none.
        """
        try:
            of_walk = {"seed": described["seed"], "generator": described["generator"]}
            chips = [
                WalkedChip(first=chip["first"], steps=tuple(map(tuple, chip["steps"])), **of_walk)
                for chip in described["chips"]
            ]
            made = {
                "levels": tuple(map(_level, described["levels"])),
                "chips": tuple(chips),
                "ancestors": np.array(described["ancestors"], np.int64),
                "values": np.array(described["values"], np.float64),
                "condition": Condition(*described["condition"]),
            }
            return cls(**{**described, **made})
        except (KeyError, TypeError, ValueError, LimpetError) as error:
            raise MetricError(f"it describes no tail ({type(error).__name__}: {error})") from None

    def save(self, path: str | Path) -> None:
        """Write it as JSON, in which every chip stands with its name. A file that is there is replaced when it is done.

        Raises:
            LimpetError: the name does not end in .json.
        """
        save_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MetricError: the file is missing, or holds no tail.
        """
        return load_json(path, cls.from_dict, "tail")

    @property
    def _by_ancestry(self) -> float:
        return max(1 / self.effective_ancestors - 1 / self.walkers, 0.0)

    @property
    def _variance(self) -> float:
        return max(self._by_ancestry, sum(level.variance for level in self.levels))

    def _factor(self, confidence: float, variance: float) -> float:
        from scipy import stats

        reach = float(stats.t.ppf((1 + confidence) / 2, self.effective_ancestors))
        return math.exp(reach * math.sqrt(math.log1p(variance)))

    def __str__(self) -> str:
        low, high = self.interval()
        side = "below" if self.higher_is_better else "above"
        found = f"{self.failure:.2g} of all chips ({low:.2g} to {high:.2g})" if self.reached else f"below {high:.2g}"
        along = self.margin or self.metric
        head = [along, "chips so bad", "probability", "step", "accepted", *(["of independent"] if self.check else [])]
        rows, reached = [], 1.0
        for level in self.levels:
            reached *= level.share
            bound = "target" if math.isnan(level.bound) else f"{level.bound:.4g}"
            steps = ["", ""] if math.isnan(level.step) else [f"{level.step:.2f}", f"{level.accepted:.0%}"]
            checked = [f"{level.plain / self.check:.2g} ({level.plain})"] if self.check else []
            rows.append([bound, f"{level.share:.3g}", f"{reached:.2g}", *steps, *checked])
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        lines = [
            f"{self.metric} {side} {self.target:g}: {found}",
            *("  ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)),
        ]
        much = f", which tell as much as {self.plain_chips:.2g} independent ones" if self.reached else ""
        lines.append(
            f"{self.evaluations} chips of seed {self.seed} evaluated{much}; those that "
            f"{'fail' if self.reached else 'are worst'} descend from {self.effective_ancestors:.0f}"
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"TailYield({self.metric!r}, target {self.target:g}, failure {self.failure:.3g})"


def _level(described: dict[str, Any]) -> TailLevel:
    numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in described.items()}
    return TailLevel(**numbers)


def _or_none(value: float) -> float | None:
    """A number, or None for what is none, as JSON has it."""
    return value if math.isfinite(value) else None
