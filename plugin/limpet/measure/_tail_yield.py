"""The probability that a chip misses a target, however small."""

import math
from typing import Any

import numpy as np

from .._checked import number, whole
from .._errors import MetricError, warn_user
from ..hardware._checked_recipe import checked_recipe
from ..hardware._fingerprint import digest, shapes_of, summary
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition, known_condition
from ..results._direction import checked_direction
from ..results._tail_yield import TailYield
from ..results._yield import checked_target
from ._beyond_limits import require_every_chip
from ._chips import Chips, counted_chips
from ._metric import ScalarMetric, function_name
from ._progress import progress_bar
from ._walk import SHARE, STEPS, Walk, rare
from ._walked_chips import MARGIN, Evaluation

FEWEST = 50
"""The smallest number of chips of a level: with fewer, less than five walks would have to find the region."""
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

    To see a failure of 1e-5 ten times takes a million chips. Subset simulation goes there in levels, each of the worst
    tenth of the chips of the one before, and multiplies shares: `p = P(F_1) P(F_2 | F_1) ...`. Chips of a level are
    found by walks: a step takes the normal numbers n of a chip to `sqrt(1 - b^2) n + b m`, with those of a fresh chip
    m, and is undone where that chip is none of the worst. The cost grows with log(1 / p) in place of 1 / p. S.-K. Au
    and J. L. Beck (2001), "Estimation of small failure probabilities in high dimensions by subset simulation", Probab.
    Eng. Mech. 16:263; the steps are those of I. Papaioannou, W. Betz, K. Zwirglmaier and D. Straub (2015), "MCMC
    algorithms for subset simulation", Probab. Eng. Mech. 41:89.

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
            as rare. (Failures ten times as rare are still seen among the chips of the last level.)
        margin_fn: a function like the metric along which levels go: the smaller, the nearer to failing. None for the
            metric. Beside an accuracy it may be how clear the least clear example is that must be right.
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
    require_every_chip(recipe, "which are the very ones that a walk looks for")
    better = checked_direction(function_name(metric_fn), higher_is_better)
    most = 2 * math.ceil(math.log(failure) / math.log(SHARE) - 1e-9)
    width, parts = -(-chips.most // 10) * 10, 1 + STEPS * most
    evaluation = Evaluation.of(metric_fn, margin_fn, tree, recipe, condition, chips, width, parts, batch)
    with progress_bar("tail", (most // 2 + 1) * width + check, chips.progress) as advance:
        walk = Walk(evaluation, target, better, advance)
        levels = walk.levels(failure, most)
        evaluated = walk.evaluated
        if check:
            plain = walk.independent(check)
            levels = [level._replace(plain=int(plain.within(walk.bound_of(level)).sum())) for level in levels]
    last = walk.chips
    counted = np.bincount(last.roots[last.fails] if last.fails.any() else last.roots)
    named = {last.name(row, chips): last.values[row] for row in np.flatnonzero(last.fails).tolist()}
    failing = sorted(named, key=lambda chip: _badness(named[chip], better), reverse=True)
    found = TailYield(
        metric=function_name(metric_fn),
        target=target,
        higher_is_better=better,
        levels=tuple(levels),
        walkers=width,
        ancestors=counted[counted > 0],
        evaluations=evaluated,
        chips=tuple(failing),
        values=np.array([named[chip] for chip in failing]),
        margin="" if margin_fn is None else function_name(margin_fn, MARGIN),
        check=check,
        seed=chips.seed,
        generator=chips.generator,
        fingerprint=digest(recipe, shapes_of(tree)),
        hardware=summary(recipe, shapes_of(tree)),
        condition=condition,
    )
    _warn(found, failure)
    return found


def _badness(value: float, better: bool) -> float:
    return (-value if better else value) if math.isfinite(value) else math.inf


def _warn(found: TailYield, failure: float) -> None:
    walked = found.levels[1:]
    if walked and min(level.accepted for level in walked) < 0.1:
        warn_user("tail_yield: fewer than a tenth of the steps of a level were taken, so that its chips are hardly new")
    if not found.reached and math.prod(level.share for level in found.levels[:-1]) >= rare(failure):
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
