"""The exact likelihood of nested components, beside an independent one, and the intervals made of it."""

import numpy as np
import pytest
import simulated_bench as bench

from limpet.bench._components import Groups, Spread
from limpet.bench._kurtosis import kurtosis
from limpet.bench._nested import Effect, Nested

RNG = np.random.default_rng
UNBALANCED = [[16, 3, 20], [8, 8, 8, 8], [30, 2], [16] * 4, [5, 25, 9]]


def spread_of(values, sizes):
    """The components of values about a common mean."""
    chip, core, device = bench.places(sizes)
    groups = Groups.among(chip=chip, core=core, device=device)
    return Spread.of(values, np.ones((len(values), 1)), groups, {})


def reference(values, columns, effects, variances):
    """The restricted log-likelihood by the whole covariance matrix."""
    covariance = variances[-1] * np.eye(len(values))
    for effect, variance in zip(effects, variances, strict=False):
        covariance += variance * np.equal.outer(effect.groups, effect.groups) * np.outer(effect.loading, effect.loading)
    inverse = np.linalg.inv(covariance)
    inside = columns.T @ inverse @ columns
    left = values - columns @ np.linalg.solve(inside, columns.T @ inverse @ values)
    free = len(values) - columns.shape[1]
    determinants = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(inside)[1]
    return -0.5 * (determinants + left @ inverse @ left + free * np.log(2 * np.pi))


def _numbers(labels):
    """Numbers of labels, in no order."""
    return np.unique([hash(label) for label in labels], return_inverse=True)[1]


def design(generator):
    """A random bench: unbalanced, with cells missing, one or two fixed columns, perhaps two effects of a device."""
    rows = [
        (chip, (chip, core), (chip, core, device))
        for chip in range(generator.integers(2, 6))
        for core in range(generator.integers(1, 5))
        for device in range(generator.integers(1, 9))
        for _ in range(generator.integers(1, 4))
    ]
    rows = [rows[place] for place in generator.permutation(len(rows))]
    chip, core, device = (_numbers(level) for level in zip(*rows, strict=True))
    ones = np.ones(len(rows))
    loading = generator.choice([1.0, 0.5, 2.0], len(rows))
    effects = [Effect("device", device, ones), Effect("core", core, loading), Effect("chip", chip, ones)]
    if generator.integers(2):
        effects.insert(1, Effect("slope", device, loading))
    columns = np.stack([ones, generator.normal(size=len(rows))][: generator.integers(1, 3)], axis=1)
    return generator.normal(size=len(rows)) + generator.normal(size=6)[chip], columns, effects


def test_the_likelihood_is_exact_on_random_designs():
    for seed in range(50):
        values, columns, effects = design(RNG(seed))
        variances = RNG(seed).uniform(0, 1, len(effects) + 1)
        variances[seed % len(effects)] *= seed % 3 > 0  # a component at the boundary
        expected = reference(values, columns, effects, variances)
        assert Nested(values, columns, effects).likelihood(variances) == pytest.approx(expected, abs=1e-6)


def test_no_variances_have_a_higher_likelihood_than_those_found():
    """Beside a search by another method from several starts, on random designs."""
    from scipy import optimize

    def cost(logs, nested):
        return -nested.likelihood(np.exp(logs))

    for seed in range(8):
        values, columns, effects = design(RNG(100 + seed))
        nested = Nested(values, columns, effects)
        found = nested.maximum()
        highest = nested.likelihood(found)
        starts = RNG(seed).normal(-1, 1, (2, len(found)))
        bounds = [(-20, 5)] * len(found)
        others = [optimize.minimize(cost, start, (nested,), method="Powell", bounds=bounds) for start in starts]
        assert highest >= -min(other.fun for other in others) - 1e-6


def test_balanced_benches_have_the_variances_of_the_analysis_of_variance():
    for seed in range(14):
        spread = spread_of(bench.nested(RNG(seed), (0.2, 0.1, 0.1), [[16] * 4] * 8), [[16] * 4] * 8)
        values = bench.nested(RNG(seed), (0.2, 0.1, 0.1), [[16] * 4] * 8).reshape(8, 4, 16)
        within = values.var(axis=2, ddof=1).mean()
        of_cores = 16 * values.mean(axis=2).var(axis=1, ddof=1).mean()
        of_chips = 64 * values.mean(axis=(1, 2)).var(ddof=1)
        expected = {"chip": (of_chips - of_cores) / 64, "core": (of_cores - within) / 16, "device": within}
        assert spread.levels == pytest.approx(expected, rel=1e-6)


def test_variances_that_differ_by_powers_of_ten_are_found():
    """Ring oscillators: chips differ by 6%, and a reading is off by 0.02%."""
    shape, generator = (30, 8, 16, 3), RNG(21)
    spreads = (0.06, 0.004, 0.006, 0.0002)
    values = sum(
        generator.normal(0, spread, shape[: level + 1] + (1,) * (3 - level)) for level, spread in enumerate(spreads)
    )
    labels = [axis.ravel() for axis in np.indices(shape)]
    groups = Groups.among(**dict(zip(("chip", "core", "device", "reading"), labels, strict=True)))
    spread = Spread.of(1 + values.ravel(), np.ones((values.size, 1)), groups, {})
    names, squares, means = ("chip", "core", "device", "reading"), {}, values
    for name in reversed(names):
        squares[name] = means.var(axis=-1, ddof=1).mean()
        means = means.mean(axis=-1)
    below = dict(zip(names, (*names[1:], None), strict=True))
    counts = dict(zip(names, (*shape[1:], 1), strict=True))
    expected = {name: squares[name] - (squares[below[name]] / counts[name] if below[name] else 0) for name in names}
    assert spread.levels == pytest.approx(expected, rel=1e-4)
    assert all(spread.interval(name)[0] <= expected[name] <= spread.interval(name)[1] for name in names)


@pytest.mark.parametrize("sizes", [[[12] * 3] * 4, UNBALANCED, [[5]] * 20])
def test_an_estimate_lies_within_its_interval(sizes):
    for seed in range(3):
        spread = spread_of(bench.nested(RNG(seed), (0.05, 0.01 * seed, 0.1), sizes), sizes)
        for level, variance in spread.levels.items():
            low, high = spread.interval(level)
            assert low <= variance <= high
            assert high > 0


def test_the_interval_of_one_variance_is_that_of_chi_square():
    from scipy import stats

    values = RNG(1).normal(0, 0.1, 5000)
    spread = spread_of(values, [[5000]])
    worth = spread._effective("device", 4999)
    ends = values.var(ddof=1) * worth / stats.chi2.ppf([0.975, 0.025], worth)
    assert spread.interval("device") == pytest.approx(ends, rel=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("sizes", [[[12] * 3] * 4, UNBALANCED])
@pytest.mark.parametrize("spreads", [(0.05, 0.03, 0.1), (0.05, 0.0, 0.1)])
def test_intervals_cover_in_95_of_100_benches(sizes, spreads):
    """Of 60 intervals, fewer than 50 cover in 2e-4 of all seeds."""
    hits, generator = np.zeros(3), RNG(4)
    for _ in range(60):
        spread = spread_of(bench.nested(generator, spreads, sizes), sizes)
        ends = [spread.interval(level) for level in ("chip", "core", "device")]
        hits += [low <= true**2 <= high for (low, high), true in zip(ends, spreads, strict=True)]
    assert (hits >= 50).all()


@pytest.mark.long
def test_intervals_cover_of_heavy_tails_too():
    """Of 250 intervals, fewer than 220 cover, where 94% do, in 2e-4 of all seeds."""
    hits, generator, sizes = 0, RNG(11), [[16] * 2] * 2
    for _ in range(250):
        values = bench.nested(generator, (0, 0, 0.1), sizes, lambda count: generator.standard_t(5, count) * 0.6**0.5)
        low, high = spread_of(values, sizes).interval("device")
        hits += low <= 0.1**2 <= high
    assert hits >= 220


@pytest.mark.parametrize(
    ("law", "expected"), [("normal", 0.0), ("standard_t", 6.0), ("laplace", 3.0), ("uniform", -1.2)]
)
def test_the_kurtosis_of_values_is_told_from_their_deviations_from_means_of_groups(law, expected):
    """Of Student's, the fourth moment of 40,000 values is far off in many samples; of the others it is within 0.4."""
    arguments = {"standard_t": {"df": 5}}.get(law, {})
    values = getattr(RNG(12), law)(size=(2000, 20), **arguments)
    deviations = (values - values.mean(axis=1, keepdims=True)).ravel()
    assert kurtosis(deviations, np.full(40_000, 20)) == pytest.approx(expected, abs=0.5 if expected < 6 else 3)
