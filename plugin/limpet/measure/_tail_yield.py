"""Failures too rare for a hundred chips: subset simulation in the space of the draws.

Design. A chip is a set of independent normal numbers n (uniform ones are Phi(n)), however many devices there are. The
chips that miss a target are a region of that space, of small probability p. Regions are nested around it,
F_1, F_2, ..., each of which holds about a tenth of the one before, so that p = P(F_1) P(F_2 | F_1) ...

- The first level: N independent chips. The bound of F_1 is the metric of the worst tenth of them.
- Each further level: the chips within the bound are N / 10 seeds, and each walks nine steps. A step proposes
  sqrt(1 - b^2) n + b m, m those of a fresh chip, which leaves the normal distribution as it is in any dimension
  (preconditioned Crank-Nicolson); it is taken if the chip that comes out is within the bound, else the walk stays. So
  all N chips of the level, seeds included, are distributed as chips are, given that they are within the bound.
- b is moved after every step so that some 44% of steps are taken.
- Whoever misses the target is within every bound. So levels may go along a margin of the user's, of which nothing is
  asked but that chips about to fail have a small one.
- Ties: a bound is a value that was seen, at most and as near to a tenth as there is one; how many seeds there are
  follows from it. Of more than N / 10 some are taken by chance, of fewer each walks several times.
- A chip is named by where its walk began and by the steps that were taken (`limpet.WalkedChip`). Its random key holds
  the keys of all of them with their weights (`draws/_walk.py`), so that recipe, products and metric see a chip like any
  other, and nothing but names is carried from step to step: memory does not grow with the network.
- One program of the Monte Carlo engine evaluates everything: the names of a round's chips are its operands.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .._checked import number, whole
from .._errors import LimpetError, MetricError, warn_user
from ..draws._generator import MAX_SEED
from ..draws._keys import stream
from ..draws._walk import key_under, weights_of
from ..draws._walked_chip import WalkedChip
from ..hardware._checked_recipe import checked_recipe
from ..hardware._fingerprint import digest, shapes_of, summary
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._paths import listing
from ..results._condition import UNCHANGED, Condition, known_condition
from ..results._direction import checked_direction
from ..results._robustness_curve import slack_of
from ..results._tail_yield import TailLevel, TailYield
from ..results._yield import checked_target
from ._beyond_limits import limits_of
from ._chips import Chips, counted_chips
from ._measurement import Chip, Measurement, gathered, on_device
from ._metric import UNNAMED, ScalarMetric, function_name, of_one_number
from ._monte_carlo import Prepared, ahead
from ._progress import progress_bar
from ._strengths import Strengths

SHARE = 0.1
"""The share of a level's chips that the next one begins with."""
STEPS = 9
"""So many steps each of them walks, so that all levels have as many chips: 1 / SHARE - 1."""
ACCEPTED = 0.44
"""The share of steps that are to be taken: at it walks forget fastest, in one dimension where the region is."""
GAIN = 2.0
"""By how much the logit of a step's length moves, for each unit of acceptance above that."""
FIRST_LENGTH = 0.6
FEWEST = 50
"""The smallest number of chips of a level: below it, five walks or fewer would have to find the region."""
MARGIN = "margin"
THOUSAND = Chips(1000)


def tail_yield(
    metric_fn: ScalarMetric,
    tree: Any,
    mismatch: Recipe | Hardware,
    *,
    target: float,
    failure: float = 1e-4,
    margin_fn: ScalarMetric | None = None,
    condition: Condition | float = UNCHANGED,
    chips: int | Chips = THOUSAND,
    check: int = 0,
    batch: Any = None,
    higher_is_better: bool | None = None,
) -> TailYield:
    """Find how probable it is that a chip misses a target, where plain chips hardly ever show it.

    To see a failure of 1e-5 ten times, a million chips are needed. Subset simulation goes there in levels, each of the
    worst tenth of chips of the one before, and multiplies shares: `p = P(F_1) P(F_2 | F_1) ...`. Chips of a level are
    found by walks: a step takes the normal numbers n of a chip to `sqrt(1 - b^2) n + b m`, with those of a fresh chip m,
    and is undone where the chip is none of the worst. Ten times the number of levels, in place of 1 / p, is what it
    costs. S.-K. Au and J. L. Beck (2001), "Estimation of small failure probabilities in high dimensions by subset
    simulation", Probab. Eng. Mech. 16:263; the steps are those of I. Papaioannou, W. Betz, K. Zwirglmaier and D. Straub
    (2015), "MCMC algorithms for subset simulation", Probab. Eng. Mech. 41:89.

    The levels follow the metric. An accuracy on few examples has few values, and its levels are coarse; a margin that
    is continuous leads farther with fewer chips. It only leads: which chips fail, the metric alone says.

    It finds regions that get worse bit by bit. A failure that nothing announces, and another one behind a barrier that
    no walk crosses, it can miss: draw `check` chips, and compare seeds.

    Args:
        metric_fn: the metric, `metric_fn(tree, batch)`, jittable, giving a scalar.
        tree: the whole tree of nominal values, or a Flax nnx module.
        mismatch: the hardware, or its recipe.
        target: the value that a chip is to reach; a chip whose metric is no number misses it.
        failure: the smallest probability of failure that matters, from 1e-12 to 0.5: levels end where they have become
            rarer. (At that, failures ten times as rare are still seen.)
        margin_fn: a function like the metric along which levels go: the smaller, the nearer to failing. None for the
            metric. For instance the mean of the tenth percentile of classification margins beside an accuracy.
        condition: the condition of the chips: a `limpet.Condition`, or a number, which is the scale.
        chips: the chips of each level, at least 50, rounded up to whole tens: their number, or `limpet.Chips`, which
            names the seed of the walk. The relative error is about `1.2 * log10(1 / p) ** 0.7 / sqrt(chips / 10)`.
        check: the number of independent chips that are measured beside, to compare with the levels that they reach.
        batch: the argument of the metric; a pytree of arrays.
        higher_is_better: True, False or None; see `limpet.robustness_curve`.

    Returns:
        The probability of failure with its interval, and the chips that fail. They differ from virtual chips in that
        all normal numbers are exact, in leaves as well; see `limpet.WalkedChip`.

    Raises:
        MetricError: an argument is none of these, chips are antithetic, the hardware draws nothing, or the metric is
            none; see `limpet.robustness_curve`.
        LimpetError: the hardware has limits whose policy is "error": a walk looks for the very chips that they refuse.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"w": jnp.ones(100)}
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))
        >>> def mean(tree, _):  # of standard deviation 0.01: 0.96 is 4 sigma away, 3.2e-5
        ...     return tree["w"].mean()
        >>> tail = tail_yield(mean, params, mismatch, target=0.96, chips=1000)
        >>> low, high = tail.interval()
        >>> low < 3.17e-5 < high, tail.evaluations
        (True, 4600)
        >>> worst = limpet.freeze(params, mismatch, chip=tail.chips[0])
        >>> bool(worst["w"].mean() < 0.96)
        True
    """
    chips = counted_chips(chips, "tail_yield")
    if chips.antithetic:
        raise MetricError("chips.antithetic: walks have no mirror images; leave it out")
    if chips.most < FEWEST:
        raise MetricError(f"chips = {chips.most}: at least {FEWEST} are needed, of which a tenth walk")
    number("failure", failure, 1e-12, 0.5, error=MetricError)
    check = whole("check", check, error=MetricError)
    target, condition = checked_target(target), known_condition(condition)
    recipe = checked_recipe(mismatch, tree)
    if not recipe.random:
        raise MetricError("mismatch: nothing is drawn, so that all chips are the same and either fail or do not")
    if strict := [path for path, limits in limits_of(recipe).items() if limits.policy == "error"]:
        raise LimpetError(
            f"limits of {listing(strict)} refuse chips beyond them (policy 'error'), which are the very ones that a "
            f"walk looks for: say by policy 'clip' or 'truncate' what becomes of them, or 'report'"
        )
    better = checked_direction(function_name(metric_fn), higher_is_better)
    most = math.ceil(math.log(failure) / math.log(SHARE) - 1e-9)
    walk = _Walk(_Evaluation.of(metric_fn, margin_fn, tree, recipe, condition, chips, 2 * most, batch), target, better)
    with progress_bar("tail", (most + 1) * walk.width, chips.progress) as advance:
        levels = walk.levels(failure, 2 * most, check, advance)
    fails = walk.current.fails
    counted = np.bincount(walk.current.roots[fails] if fails.any() else walk.current.roots)
    named: dict[WalkedChip, float] = {}
    for row in np.flatnonzero(fails):
        named[walk.current.name(row, chips)] = float(walk.current.values[row])
    order = sorted(named, key=lambda chip: _goodness(named[chip], better))
    found = TailYield(
        metric=function_name(metric_fn),
        target=target,
        higher_is_better=better,
        levels=tuple(levels),
        walkers=walk.width,
        ancestors=counted[counted > 0],
        evaluations=walk.fresh - check,
        chips=tuple(order),
        values=np.array([named[chip] for chip in order]),
        margin="" if margin_fn is None else function_name(margin_fn),
        check=check,
        seed=chips.seed,
        generator=chips.generator,
        fingerprint=digest(recipe, shapes_of(tree)),
        hardware=summary(recipe, shapes_of(tree)),
        condition=condition,
    )
    _warn(found, failure)
    return found


class _Chips(NamedTuple):
    """Some walked chips, row by row.

    Attributes:
        numbers: the number of the chip at which each began, then those of the fresh chips of its steps; shape (chips,
            parts), 0 where there is none.
        lengths: the lengths of these steps behind a 1 for the beginning, of the same shape.
        depth: how many of them there are, shape (chips,).
        roots: from which chip of the first level each descends.
        values: the metric of each.
        scores: the margin, such that less is nearer to failing.
        fails: whether each misses the target.
    """

    numbers: NDArray[np.uint32]
    lengths: NDArray[np.float64]
    depth: NDArray[np.int64]
    roots: NDArray[np.int64]
    values: NDArray[np.float64]
    scores: NDArray[np.float64]
    fails: NDArray[np.bool_]

    def rows(self, which: Any) -> "_Chips":
        return _Chips(*(array[which] for array in self))

    def name(self, row: int, chips: Chips) -> WalkedChip:
        """The name of one of them."""
        taken = slice(1, int(self.depth[row]))
        steps = zip(self.numbers[row, taken].tolist(), self.lengths[row, taken].tolist(), strict=True)
        return WalkedChip(chips.seed, int(self.numbers[row, 0]), tuple(steps), chips.generator)

    def within(self, bound: float) -> NDArray[np.bool_]:
        """Which are as bad as a bound, or fail."""
        return self.fails | (self.scores <= bound)


class _Names(NamedTuple):
    """The operands of a round: the data of the walk's key, and the parts of each chip."""

    stream: jax.Array
    numbers: Any
    weights: Any


@dataclass(frozen=True)
class _Evaluation:
    """The one program that evaluates walked chips.

    Attributes:
        measurement: the measurement, of which the names of chips are the extra operand.
        prepared: the program.
        batch: the batch, on the device.
        parts: the number of parts that a name may have.
        width: the number of chips of a level.
    """

    measurement: Measurement
    prepared: Prepared
    batch: Any
    parts: int
    width: int

    @classmethod
    def of(
        cls,
        metric_fn: ScalarMetric,
        margin_fn: ScalarMetric | None,
        tree: Any,
        recipe: Recipe,
        condition: Condition,
        chips: Chips,
        levels: int,
        batch: Any,
    ) -> "_Evaluation":
        one, margin = of_one_number(metric_fn, "a tail is of one metric"), margin_fn

        @wraps(metric_fn, assigned=("__name__",), updated=())
        def measured(tree: Any, batch: Any) -> Any:
            if margin is None:
                return one(tree, batch)
            return {UNNAMED: one(tree, batch), MARGIN: of_one_number(margin, "a margin is one number")(tree, batch)}

        def on_chip(metric: Callable[[Any], Any], chip: Chip, tree: Any, case: Condition, names: _Names) -> Any:
            key = key_under(names.stream, names.numbers[chip.number], names.weights[chip.number], chips.generator)
            return metric(recipe(key, tree, case))

        width, parts = -(-chips.most // 10) * 10, 1 + STEPS * levels
        none = np.zeros((width, parts))
        names = _Names(
            jax.random.key_data(stream(chips.seed, "walk", chips.generator)),
            jnp.asarray(none, jnp.uint32),
            jnp.asarray(none, jnp.float32),
        )
        measurement = Measurement(measured, recipe.paths, on_chip, chips, names, recipe=recipe)
        cases = Strengths.of(recipe, None, [float(np.asarray(condition.scale))], None, condition._replace(scale=1.0))
        batch = on_device(batch)
        return cls(measurement, measurement.prepare(tree, batch, cases.cases()), batch, parts, width)

    def __call__(
        self, numbers: NDArray[np.uint32], lengths: NDArray[np.float64], advance: Callable[[int], None]
    ) -> dict[str, NDArray[np.float64]]:
        """What the metric is on some chips, and the margin; see `_Chips`."""
        found: list[dict[str, NDArray[np.float64]]] = []
        for start in range(0, len(numbers), self.width):
            rows = slice(start, start + self.width)
            count = len(numbers[rows])
            beside = ((0, self.width - count), (0, 0))
            names = self.measurement.extra._replace(
                numbers=jnp.asarray(np.pad(numbers[rows], beside)),
                weights=jnp.asarray(np.pad(weights_of(lengths[rows]), beside)),
            )
            prepared = replace(self.measurement, extra=names).of(self.prepared, self.batch)
            values = gathered(ahead(prepared.rounds(0, count)), advance)
            if not values or values[UNNAMED].shape[1] < count:
                raise KeyboardInterrupt
            found.append({name: array[0].astype(np.float64) for name, array in values.items()})
        return {name: np.concatenate([values[name] for values in found]) for name in found[0]}


class _Walk:
    """The walks of all chips, level by level.

    Attributes:
        current: the chips of the level that was reached.
        fresh: the number of the next fresh chip: how many chips were evaluated.
    """

    def __init__(self, evaluation: _Evaluation, target: float, better: bool) -> None:
        self._evaluation, self._target, self._better = evaluation, target, better
        self._choice = np.random.default_rng(evaluation.measurement.chips.seed)
        self._slack: float | None = None
        self._logit = math.log(FIRST_LENGTH / (1 - FIRST_LENGTH))
        self.width, self.fresh = evaluation.width, 0

    def levels(self, failure: float, most: int, check: int, advance: Callable[[int], None]) -> list[TailLevel]:
        """Walk until enough chips miss the target, or levels have become rarer than a probability of failure."""
        self.current = self._independent(self.width, advance)
        found, bounds, reached = [], [], 1.0
        bound, length, accepted, walks = math.inf, math.nan, math.nan, 1
        while True:
            last = reached <= failure * (1 + 1e-9) or len(found) == most
            bound = None if last else self._bound(bound)
            inside = self.current.fails if bound is None else self.current.within(bound)
            variance = _variance(inside.reshape(walks, -1))
            shown = math.nan if bound is None else (bound if self._better or self._evaluation_has_margin else -bound)
            found.append(TailLevel(shown, float(inside.mean()), variance, length, accepted))
            bounds.append(-math.inf if bound is None else bound)
            if bound is None:
                break
            reached *= found[-1].share
            length, accepted = self._step_up(inside, bound, advance)
            walks = 1 + STEPS
        if check:
            plain = self._independent(check, lambda count: None)
            found = [
                level._replace(plain=int(plain.within(bound).sum())) for level, bound in zip(found, bounds, strict=True)
            ]
        return found

    @property
    def _evaluation_has_margin(self) -> bool:
        return MARGIN in self._evaluation.prepared.names

    def _bound(self, before: float) -> float | None:
        """The bound of the next level: the score that leaves most nearly a tenth of the chips, below the last bound.

        None where that is the target itself.
        """
        failing = float(self.current.fails.mean())
        scores = np.unique(self.current.scores[~self.current.fails])
        scores = scores[(scores < before) & np.isfinite(scores)]
        shares = np.array([self.current.within(score).mean() for score in _near(scores, self.current, SHARE)])
        candidates = _near(scores, self.current, SHARE)
        kept = shares < 1
        shares, candidates = shares[kept], candidates[kept]
        if failing >= SHARE or not len(candidates):
            return None
        distance = np.abs(np.log(shares / SHARE))
        if failing > 0 and abs(math.log(failing / SHARE)) <= distance.min():
            return None
        return float(candidates[distance.argmin()])

    def _step_up(self, inside: NDArray[np.bool_], bound: float, advance: Callable[[int], None]) -> tuple[float, float]:
        """Walk from the chips within a bound to a whole level of them: the mean length and how many steps were taken."""
        seeds = self._choice.permutation(np.flatnonzero(inside))
        chips = self.current.rows(np.resize(seeds, self.width // (1 + STEPS)))
        visited, lengths, taken = [chips], [], []
        for _ in range(STEPS):
            length = round(1 / (1 + math.exp(-self._logit)), 4)
            proposed = self._proposed(chips, length, advance)
            accepted = proposed.within(bound)
            chips = _Chips(
                *(
                    np.where(accepted.reshape(-1, *[1] * (new.ndim - 1)), new, old)
                    for new, old in zip(proposed, chips, strict=True)
                )
            )
            visited.append(chips)
            lengths.append(length)
            taken.append(float(accepted.mean()))
            self._logit += GAIN * (taken[-1] - ACCEPTED)
        self.current = _Chips(*(np.concatenate(arrays) for arrays in zip(*visited, strict=True)))
        return float(np.mean(lengths)), float(np.mean(taken))

    def _proposed(self, chips: _Chips, length: float, advance: Callable[[int], None]) -> _Chips:
        rows = np.arange(len(chips.depth))
        numbers, lengths = chips.numbers.copy(), chips.lengths.copy()
        numbers[rows, chips.depth], lengths[rows, chips.depth] = self._fresh(len(rows)), length
        return self._evaluated(numbers, lengths, chips.depth + 1, chips.roots, advance)

    def _independent(self, count: int, advance: Callable[[int], None]) -> _Chips:
        numbers = np.zeros((count, self._evaluation.parts), np.uint32)
        numbers[:, 0] = self._fresh(count)
        lengths = np.zeros(numbers.shape)
        lengths[:, 0] = 1
        return self._evaluated(numbers, lengths, np.ones(count, np.int64), np.arange(count), advance)

    def _evaluated(self, numbers: Any, lengths: Any, depth: Any, roots: Any, advance: Callable[[int], None]) -> _Chips:
        found = self._evaluation(numbers, lengths, advance)
        values = found[UNNAMED]
        goodness = _goodness(values, self._better)
        goal = self._target if self._better else -self._target
        if self._slack is None:  # once: whether values are whole numbers must not change from level to level
            self._slack = float(slack_of(goodness, np.array([goal]))[0])
        margins = found.get(MARGIN, goodness)
        return _Chips(numbers, lengths, depth, roots, values, margins, goodness < goal - self._slack)

    def _fresh(self, count: int) -> NDArray[np.uint32]:
        if self.fresh + count > MAX_SEED:
            raise MetricError(f"chips: more than {MAX_SEED} would be evaluated, and could not be numbered")
        self.fresh += count
        return np.arange(self.fresh - count, self.fresh, dtype=np.uint32)


def _goodness(values: Any, better: bool) -> Any:
    """Values such that more is better, and what is no number is the worst."""
    return np.where(np.isfinite(values), values if better else -values, -np.inf)


def _near(scores: NDArray[np.float64], chips: _Chips, share: float) -> NDArray[np.float64]:
    """Of sorted scores, the largest that leaves at most a share of some chips, and the next larger one."""
    of_all = np.sort(np.where(chips.fails, -np.inf, chips.scores))
    place = np.searchsorted(scores, of_all[max(math.floor(share * len(of_all)) - 1, 0)])
    return scores[max(place - 1, 0) : place + 2]


def _variance(inside: NDArray[np.bool_]) -> float:
    """The relative variance of the share of chips that are inside, of shape (places along a walk, walks).

    It is (1 - p) / (p N) times 1 + 2 sum_k (1 - k / steps) r_k, with the autocorrelation r_k along walks: Au and Beck
    (2001).
    """
    share, places = inside.mean(), len(inside)
    if not 0 < share < 1:
        return 0.0 if share else math.inf
    held = inside.astype(np.float64)
    lags = [(held[:-lag] * held[lag:]).mean() - share**2 for lag in range(1, places)]
    correlated = sum(2 * (1 - lag / places) * product for lag, product in enumerate(lags, 1))
    return float((1 - share) / (share * inside.size) * (1 + max(correlated / (share * (1 - share)), 0.0)))


def _warn(found: TailYield, failure: float) -> None:
    walked = found.levels[1:]
    if walked and min(level.accepted for level in walked) < 0.1:
        warn_user("tail_yield: fewer than a tenth of the steps of a level were taken, so that its chips are hardly new")
    if not found.reached and math.prod(level.share for level in found.levels[:-1]) > failure:
        warn_user(
            f"tail_yield: no chip misses the target, and none worse than those of the last level was found, so that "
            f"levels end before {failure:g}: '{found.margin or found.metric}' may have too few values to lead there; "
            f"give a continuous margin_fn, or more chips"
        )
    elif found.effective_ancestors < 4 and walked:
        warn_user(
            f"tail_yield: chips of the last level descend from {found.effective_ancestors:.1f} of the first, so that "
            f"its interval is little known: take more chips"
        )
