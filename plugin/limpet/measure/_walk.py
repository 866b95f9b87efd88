"""Subset simulation in the space of the draws: walks to the chips that miss a target.

Design. A chip is a set of independent normal numbers n (uniform ones are Phi(n)), however many devices there are. The
chips that miss a target are a region of that space, of small probability p. Regions are nested around it,
F_1, F_2, ..., each of which holds about a tenth of the one before, so that p = P(F_1) P(F_2 | F_1) ...

- The first level: N independent chips. The bound of F_1 is the metric of the worst tenth of them.
- Each further level: N / 10 of the chips within the bound walk nine steps each. A step proposes
  sqrt(1 - b^2) n + b m, m those of a fresh chip, which leaves the normal distribution as it is in any dimension
  (preconditioned Crank-Nicolson); it is taken if the chip that comes out is within the bound, else the walk stays. So
  all N chips of the level, those at which walks begin included, are distributed as chips within the bound are.
- b is moved after every step so that some 44% of steps are taken.
- Whoever misses the target is within every bound. So levels may go along a margin of the user's, of which nothing is
  asked but that chips about to fail have a small one.
- Ties: a bound is a value that was seen, the one that leaves most nearly a tenth. Of more than N / 10 chips within it
  some are taken by chance; of fewer, each walks several times.
- A chip is named by where its walk began and by the steps that were taken (`limpet.WalkedChip`). Its random key holds
  the keys of all of them with their weights (`draws/_walk.py`), so that recipe, products and metric see a chip like any
  other, and nothing but names is carried from step to step: memory does not grow with the network.
- One program of the Monte Carlo engine evaluates everything: the names of a round's chips are its operands.
"""

import math
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from .._errors import MetricError
from ..draws._generator import MAX_SEED
from ..results._robustness_curve import slack_of
from ..results._tail_yield import TailLevel
from ._metric import UNNAMED
from ._walked_chips import MARGIN, Advance, Evaluation, WalkedChips

SHARE = 0.1
"""The share of a level's chips from which the next one begins."""
STEPS = 9
"""So many steps each of them walks, so that all levels have as many chips: 1 / SHARE - 1."""
ACCEPTED = 0.44
"""The share of steps that are to be taken: with it walks forget fastest, in the one dimension towards the target."""
GAIN = 2.0
"""By how much the logit of a step's length moves, for each unit of acceptance above that."""
FIRST_LENGTH = 0.6


class Walk:
    """The walks of all chips of a level, level by level.

    Args:
        evaluation: the program that evaluates chips.
        target: the value that a chip is to reach.
        better: whether more of the metric is better.
        advance: a function that counts chips that are done, for a progress bar.

    Attributes:
        chips: the chips of the level that was reached.
        evaluated: how many chips were evaluated; the number of the next fresh one.
    """

    def __init__(self, evaluation: Evaluation, target: float, better: bool, advance: Advance) -> None:
        self._evaluation, self._better, self._advance = evaluation, better, advance
        self._goal = target if better else -target
        self._slack: float | None = None
        self._choice = np.random.default_rng(evaluation.measurement.chips.seed)
        self._logit = math.log(FIRST_LENGTH / (1 - FIRST_LENGTH))
        self.evaluated = 0
        self.chips = self.independent(evaluation.width)

    def levels(self, failure: float, most: int) -> list[TailLevel]:
        """Walk until a tenth of the chips miss the target, or levels have become rarer than a probability of failure.

        Args:
            failure: that probability.
            most: the number of levels behind the first at most.
        """
        found: list[TailLevel] = []
        bound, length, accepted, reached, places = math.inf, math.nan, math.nan, 1.0, 1
        while True:
            ends = reached < rare(failure) or len(found) == most
            bound = -math.inf if ends else self._bound(bound)
            inside = self.chips.within(bound)
            # Walks are the columns: places along a walk follow one another.
            variance = share_variance(inside.reshape(places, -1))
            found.append(TailLevel(self.shown(bound), float(inside.mean()), variance, length, accepted))
            if bound == -math.inf:
                return found
            reached *= found[-1].share
            length, accepted = self._step_up(inside, bound)
            places = 1 + STEPS

    def independent(self, count: int) -> WalkedChips:
        """Chips at which no walk has begun yet."""
        numbers = np.zeros((count, self._evaluation.parts), np.uint32)
        lengths = np.zeros(numbers.shape)
        numbers[:, 0], lengths[:, 0] = self._fresh(count), 1
        return self._evaluate(numbers, lengths, np.ones(count, np.int64), np.arange(count))

    def shown(self, bound: float) -> float:
        """A bound as the metric, or the margin, has it; NaN for the target."""
        if bound == -math.inf:
            return math.nan
        return bound if self._better or MARGIN in self._evaluation.prepared.names else -bound

    def bound_of(self, level: TailLevel) -> float:
        """The bound of a level, as scores have it."""
        return -math.inf if math.isnan(level.bound) else self.shown(level.bound)

    def _bound(self, before: float) -> float:
        """The bound of the next level: the score below the last bound that leaves most nearly a tenth of the chips.

        It is -inf for the target itself, where that leaves more or nearly a tenth, or where no chip is worse.
        """
        chips = self.chips
        failing, passing = chips.fails.mean(), np.sort(chips.scores[~chips.fails])
        scores = np.unique(passing[(passing < before) & np.isfinite(passing)])
        shares = failing + np.searchsorted(passing, scores, side="right") / len(chips.fails)
        scores, distances = scores[shares < 1], np.abs(np.log(shares[shares < 1] / SHARE))
        if failing >= SHARE or not len(scores) or (failing and -math.log(failing / SHARE) <= distances.min()):
            return -math.inf
        return float(scores[distances.argmin()])

    def _step_up(self, inside: NDArray[np.bool_], bound: float) -> tuple[float, float]:
        """Walk from chips within a bound to a whole level of them: the mean length, and the share of steps taken."""
        begin = np.resize(self._choice.permutation(np.flatnonzero(inside)), self._evaluation.width // (1 + STEPS))
        chips: WalkedChips = jax.tree.map(lambda rows: rows[begin], self.chips)
        visited, lengths, taken = [chips], [], []
        for _ in range(STEPS):
            length = round(1 / (1 + math.exp(-self._logit)), 4)
            proposed = self._proposed(chips, length)
            accepted = proposed.within(bound)
            chips = jax.tree.map(lambda new, old, taken=accepted: _chosen(taken, new, old), proposed, chips)
            visited.append(chips)
            lengths.append(length)
            taken.append(float(accepted.mean()))
            self._logit += GAIN * (taken[-1] - ACCEPTED)
        self.chips = jax.tree.map(lambda *rows: np.concatenate(rows), *visited)
        return float(np.mean(lengths)), float(np.mean(taken))

    def _proposed(self, chips: WalkedChips, length: float) -> WalkedChips:
        rows = np.arange(len(chips.depth))
        numbers, lengths = chips.numbers.copy(), chips.lengths.copy()
        numbers[rows, chips.depth], lengths[rows, chips.depth] = self._fresh(len(rows)), length
        return self._evaluate(numbers, lengths, chips.depth + 1, chips.roots)

    def _evaluate(self, numbers: Any, lengths: Any, depth: Any, roots: Any) -> WalkedChips:
        found = self._evaluation(numbers, lengths, self._advance)
        values = found[UNNAMED]
        goodness = _numbers_only(values if self._better else -values)
        if self._slack is None:  # once: whether values are whole numbers must not change from level to level
            self._slack = float(slack_of(goodness, np.array([self._goal]))[0])
        scores = _numbers_only(found[MARGIN]) if MARGIN in found else goodness
        return WalkedChips(numbers, lengths, depth, roots, values, scores, goodness < self._goal - self._slack)

    def _fresh(self, count: int) -> NDArray[np.uint32]:
        """The numbers of the next fresh chips."""
        if self.evaluated + count > MAX_SEED:
            raise MetricError(f"chips: more than {MAX_SEED} would be evaluated, and could not be numbered")
        self.evaluated += count
        return np.arange(self.evaluated - count, self.evaluated, dtype=np.uint32)


def rare(failure: float) -> float:
    """Levels of less probability than this are as rare as matters. (Shares are only nearly a tenth each.)"""
    return 2 * failure


def share_variance(inside: NDArray[np.bool_]) -> float:
    """The relative variance of the share p of N chips that are inside: (1 - p) / (p N) of independent chips.

    Along walks it is (1 + 2 sum_k (1 - k / places) r_k) times as much, with the autocorrelation r_k: Au and Beck
    (2001).

    Args:
        inside: shape (places along a walk, walks).
    """
    share, places = inside.mean(), len(inside)
    if not 0 < share < 1:
        return 0.0
    held = inside.astype(np.float64)
    products = [(held[:-lag] * held[lag:]).mean() - share**2 for lag in range(1, places)]
    correlated = sum(2 * (1 - lag / places) * product for lag, product in enumerate(products, 1))
    return float((1 - share) / (share * inside.size) * (1 + max(correlated / (share * (1 - share)), 0.0)))


def _chosen(taken: NDArray[np.bool_], new: NDArray[Any], old: NDArray[Any]) -> NDArray[Any]:
    return np.where(taken.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _numbers_only(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same values, -inf for what is no number."""
    return np.where(np.isfinite(values), values, -np.inf)
