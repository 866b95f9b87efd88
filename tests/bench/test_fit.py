"""From simulated benches back to what they were simulated with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import simulated_bench as bench
from scipy import integrate, stats

import limpet
from limpet.bench._shapes import shapes

RNG = np.random.default_rng
LAWS = {
    "gaussian": stats.norm(1, 0.1),
    "log-normal": stats.lognorm(0.25, scale=1.0),
    "student-t": stats.t(3.5, 1, 0.07),
    "uniform": stats.uniform(0.9, 0.2),
    "truncated-gaussian": stats.truncnorm(-1.5, 1.5, 1, 0.1),
}
ONE_CHIP = pytest.mark.filterwarnings("ignore:.*all values are of one chip")


def fitted(factors, sizes=bench.SIZES, **options):
    """The fit of one parameter of a simulated bench."""
    return limpet.fit_measurements(bench.table(factors, sizes), **options).parameters["Itau"]


def several(set_values, measured, *, time=None, chips=1, unit=1e-6):
    """A table of devices, each set to several values: `measured` has the shape (devices, set values[, times])."""
    measured = np.asarray(measured, float)
    index = np.indices(measured.shape).reshape(measured.ndim, -1)
    columns = {
        "chip": index[0] // (len(measured) // chips),
        "device": index[0],
        "nominal": np.asarray(set_values)[index[1]] * unit,
        "measured": measured.ravel() * unit,
    }
    return columns if time is None else columns | {"time": np.asarray(time)[index[2]]}


def on_chip(hardware, tree, seed=0):
    """One draw of a hardware."""
    return hardware.on(tree)(jax.random.key(seed), tree)


@pytest.mark.parametrize("kind", LAWS)
def test_the_law_that_gave_the_values_is_found_and_hardware_reproduces_it(kind):
    law, count = LAWS[kind], len(bench.places()[0])
    found = fitted(law.rvs(count, random_state=RNG(1)))
    assert found.kind == kind
    assert found.p_value > 0.01
    assert found.distance < 1.63 / count**0.5  # false alarms 1%, of a distribution that was not fitted
    tree = {"w": jnp.ones(100_000)}
    values = np.asarray(on_chip(limpet.Hardware(p=limpet.Part("*", found.deviation)), tree)["w"])
    assert values.std() == pytest.approx(law.std(), rel=0.12)


@pytest.mark.parametrize("count", [6, 12, 40, 100])
def test_gaussian_devices_are_called_gaussian(count):
    """By theory another law is taken in 20% of benches at most, 1 of 20 for each of four; here in 3 of 60."""
    kinds = [max(0, *_odds(RNG(seed).normal(1, 0.1, count))) > 3 for seed in range(60)]
    assert sum(kinds) <= 3


def _odds(factors):
    found = shapes(factors)
    return [shape.evidence - found["gaussian"].evidence for shape in found.values()]


@pytest.mark.parametrize("kind", ["gaussian", "uniform", "truncated-gaussian", "student-t"])
def test_evidence_is_the_integral_over_centers_and_widths(kind):
    """Of the truncated Gaussian one place of the cut is compared; Student's integral is Laplace's, within 5%."""
    from limpet.bench import _shapes

    factors = RNG(2).normal(1, 0.1, 14 if kind != "student-t" else 60)
    scale = factors.std()
    law, found = {
        "gaussian": (stats.norm, _shapes._gaussian(factors)),
        "uniform": (stats.uniform(-1, 2), _shapes._uniform(factors)),
        "truncated-gaussian": (stats.truncnorm(-2, 2), _shapes._truncated_gaussian(factors, np.array([2.0]))),
        "student-t": (stats.t(5), _shapes._student_t(factors, np.array([5.0]))),
    }[kind]
    logs = np.linspace(np.log(scale / 4), np.log(scale * 60), 500)
    spread = max(8 / len(factors) ** 0.5, 0.6) if kind != "uniform" else 30
    centers = np.linspace(1 - spread * scale, 1 + spread * scale, 601)
    heights = np.array(
        [law.logpdf((factors[:, None] - centers) / np.exp(log)).sum(axis=0) - len(factors) * log for log in logs]
    )
    top = heights.max()
    inside = integrate.trapezoid(integrate.trapezoid(np.exp(heights - top), centers, axis=1), logs)
    assert found.evidence == pytest.approx(np.log(inside) + top, abs=0.05)


def test_components_are_those_of_the_simulation():
    sizes = [[24] * 6] * 16
    found = fitted(np.exp(bench.nested(RNG(3), (0.1, 0.06, 0.2), sizes)), sizes)
    assert found.kind == "log-normal"
    for component, spread in zip(found.components, (0.1, 0.06, 0.2), strict=True):
        assert component.sigma == pytest.approx(np.sqrt(np.expm1(spread**2)), rel=0.3)
        assert component.low < component.sigma < component.high
    assert not found.off_center


def test_a_level_that_brings_nothing_is_said_to_be_at_the_boundary():
    chip, core, _ = bench.places()
    values = RNG(7).normal(1, 0.1, len(chip))
    for number in range(core.max() + 1):  # all cores have one mean
        values[core == number] += 1 - values[core == number].mean()
    for component in fitted(values).components[:2]:
        assert (component.sigma, component.low) == (0, 0)
        assert str(component).endswith("at the boundary 0")


@ONE_CHIP
@pytest.mark.parametrize(
    ("sizes", "untold"),
    [
        ([[20] * 3], {"chip": "one chip alone"}),
        ([[20]] * 4, {"core": "each chip has one core"}),
        ([[1] * 20] * 4, {"core": "each core has one device"}),
        ([[60]], {"chip": "one chip alone", "core": "one core alone"}),
        ([[1]] * 30, {"chip": "each chip has one device", "core": "each core has one device"}),
    ],
)
def test_levels_that_cannot_be_told_are_said(sizes, untold):
    found = fitted(bench.nested(RNG(8), (0, 0, 0.1), sizes) + 1, sizes)
    notes = {component.level: component.note for component in found.components if not component.told}
    assert notes.keys() == untold.keys()
    assert all(words in notes[level] for level, words in untold.items())
    assert found.component("device").sigma == pytest.approx(0.1, rel=0.35)


def test_one_chip_alone_is_said():
    with pytest.warns(UserWarning, match="all values are of one chip, chip0"):
        fitted(bench.nested(RNG(9), (0, 0, 0.1), [[10]]) + 1, [[10]])


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ([1.1], "has 1 value; needed are 5"),
        ([1.1] * 6, "all values are off by the same factor 1.1"),
        ([-1.0, -1.1, -0.9, -1.0, -1.05], "has the mean -1.01; is a sign the wrong way"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_what_cannot_be_fitted_is_refused(factors, said):
    with pytest.raises(limpet.LimpetError, match=rf"parameter 'Itau' \(rows? 1.*{said}"):
        fitted(factors, [[len(factors)]])


@pytest.mark.filterwarnings("ignore:.*parameter 'Itau'")
@pytest.mark.parametrize("factors", [[1.0] * 40 + [1.1] * 8, [1.0, 1.1] * 24, [1.0] * 47 + [5.0]])
def test_coarse_readings_are_fitted(factors):
    found = fitted(factors, [[6] * 4] * 2)
    assert np.isfinite([*found.evidence.values(), found.p_value, *(c.high for c in found.components)]).all()


def test_what_a_whole_bench_is_off_by_is_in_the_hardware():
    """A bench that is 30% low: its mean is the hardware's."""
    factors = 0.7 * (1 + bench.nested(RNG(10), (0, 0, 0.1)))
    fit = limpet.fit_measurements(bench.table(factors, nominal=2.0))
    found = fit.parameters["Itau"]
    assert found.gain == pytest.approx(0.7, rel=0.02)
    assert found.off_center
    assert found.deviation.sigma == pytest.approx(0.1, rel=0.1)
    tree = {"a": {"Itau": jnp.full(100_000, 2.0)}}
    drawn = on_chip(fit.hardware(levels=()), tree)["a"]["Itau"]
    assert float(drawn.mean()) == pytest.approx(factors.mean() * 2, rel=0.005)
    assert float(drawn.std()) == pytest.approx(0.14, rel=0.1)


@ONE_CHIP
@pytest.mark.parametrize("kind", ["additive", "programming", "gaussian"])
def test_the_spread_at_each_set_value_is_the_hardwares(kind):
    """Devices of 2% of the largest conductance at all levels are not a heavy-tailed relative law."""
    levels = np.array([1.0, 0.7, 0.4, 0.05])
    spread = {"additive": 0 * levels + 0.02, "programming": 0.005 + 0.06 * levels, "gaussian": 0.1 * levels}[kind]
    fit = limpet.fit_measurements(several(levels, levels + spread * RNG(4).normal(size=(400, 4))))
    found = fit.parameters["value"]
    assert found.kind == kind
    assert not found.uneven
    tree = {"a": {"value": jnp.tile(jnp.asarray(levels), (40_000, 1))}}
    values = np.asarray(on_chip(fit.hardware({"value": "a/value"}), tree)["a"]["value"])
    assert values.std(axis=0) == pytest.approx(spread, rel=0.1)


@ONE_CHIP
def test_a_common_offset_is_in_the_hardware():
    levels = np.array([0.4, 0.8, 1.2, 1.6])
    measured = 0.9 * levels + 0.1 + 0.01 * RNG(5).normal(size=(200, 4))
    fit = limpet.fit_measurements(several(levels, measured))
    found = fit.parameters["value"]
    assert (found.kind, found.gain) == ("additive", pytest.approx(0.9, abs=0.01))
    tree = {"a": {"value": jnp.tile(jnp.asarray(levels), (10_000, 1))}}
    values = np.asarray(on_chip(fit.hardware({"value": "a/value"}), tree)["a"]["value"])
    assert values.mean(axis=0) == pytest.approx(0.9 * levels + 0.1, abs=0.005)


@ONE_CHIP
def test_a_relative_spread_about_an_offset_is_told_from_a_heavy_tail():
    """What devices are off by is then no factor about one center, and the law fits all the same."""
    levels = np.array([0.1, 0.4, 0.7, 1.0])
    measured = levels * (1 + 0.05 * RNG(27).normal(size=(300, 4))) + 0.05
    found = limpet.fit_measurements(several(levels, measured)).parameters["value"]
    assert (found.kind, found.offset) == ("gaussian", pytest.approx(0.05, abs=0.003))
    assert not found.doubtful
    assert found.deviation.sigma == pytest.approx(0.05, rel=0.1)


@ONE_CHIP
@pytest.mark.filterwarnings("ignore:.*no law fits")
def test_a_spread_that_no_law_has_is_said():
    levels = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    spread = np.array([0.01, 0.01, 0.08, 0.01, 0.01])  # which no polynomial of degree 2 follows
    with pytest.warns(UserWarning, match="at the set value .* devices spread by .* and the law says"):
        limpet.fit_measurements(several(levels, levels + spread * RNG(6).normal(size=(300, 5))))


def test_devices_keep_what_they_are_off_by_from_one_set_value_to_another():
    """Three rows of a device are no three devices: the device's and the set values' shares are told apart."""
    device, setting = 0.1 * RNG(11).normal(size=(600, 1)), 0.03 * RNG(12).normal(size=(600, 3))
    found = limpet.fit_measurements(several([1, 2, 4], [1, 2, 4] * (1 + device + setting), chips=6)).parameters["value"]
    assert found.component("device").sigma == pytest.approx(0.1, rel=0.1)
    assert found.component("setting").sigma == pytest.approx(0.03, rel=0.1)
    assert found.deviation.sigma == pytest.approx(np.hypot(0.1, 0.03), rel=0.1)


@pytest.mark.filterwarnings("ignore:.*parameter 'value'")
def test_set_values_of_one_device_do_not_count_as_devices():
    """If they did, every fifth table of Gaussian devices would be given another law, or be said to follow none."""
    laws = []
    for seed in range(30):
        device, setting = 0.15 * RNG(seed).normal(size=(150, 1)), 0.02 * RNG(99 + seed).normal(size=(150, 3))
        table = several([1, 2, 4], [1, 2, 4] * (1 + device + setting), chips=3)
        found = limpet.fit_measurements(table).parameters["value"]
        laws.append((found.kind, found.doubtful))
    assert sum(law != ("gaussian", False) for law in laws) <= 3


def test_outliers_are_named_with_what_they_change_and_left_out_on_demand():
    factors = np.exp(bench.nested(RNG(13), (0, 0, 0.15)))
    bad = RNG(14).choice(len(factors), 4, replace=False)
    factors[bad] *= [8, 9, 0.05, 10]
    rows = ", ".join(str(row + 1) for row in sorted(bad))
    with pytest.warns(UserWarning, match=rf"rows {rows}: far off .* without log-normal, sigma 0.1\d*: look") as said:
        fitted(factors)
    assert "(robust=True, --robust)" in str(said[0].message)
    fit = limpet.fit_measurements(bench.table(factors), robust=True)
    found = fit.parameters["Itau"]
    assert f"rows {rows}: far off, and left out" in " ".join(fit.configuration().replace("#", "").split())
    assert found.kind == "log-normal"
    assert found.component("device").sigma == pytest.approx(0.15, rel=0.1)


def test_heavy_tails_and_honest_tables_have_no_outliers():
    """Of 20 tables of 512 values one is said to have some in 5% by design; more than 4 have in 3e-3 of all seeds."""
    heavy = [fitted(1 + 0.05 * RNG(seed).standard_t(4, 512)).outliers for seed in range(5)]
    normal = [fitted(RNG(seed).normal(1, 0.1, 512)).outliers for seed in range(5)]
    assert sum(map(bool, heavy + normal)) <= 2


@pytest.mark.filterwarnings("ignore:.*no law fits")
def test_one_wild_value_leaves_no_candidate_that_the_library_refuses():
    factors = RNG(15).normal(1, 0.1, 400)
    factors[3] = 60
    with pytest.warns(UserWarning, match="row 4: far off"):
        found = fitted(factors, [[25] * 4] * 4)
    assert found.without_outliers.sigma == pytest.approx(0.1, rel=0.15)


@ONE_CHIP
@pytest.mark.filterwarnings("ignore:.*measured is 0")
def test_stuck_devices_are_a_fraction_apart_from_the_rest():
    levels = np.linspace(0.1, 1, 6)
    measured = levels + 0.02 * RNG(16).normal(size=(300, 6))
    measured[:6], measured[6:9], measured[9:12] = 0.0, 1.0, 0.4
    fit = limpet.fit_measurements(several(levels, measured))
    found = fit.parameters["value"]
    assert found.stuck == {"at_zero": 6, "at_largest": 3, "at_random": 3}
    assert found.component("setting").sigma == pytest.approx(0.02, rel=0.1)
    stuck = fit.hardware().parts["value"].deviation.members[-1]
    assert (stuck.at_zero, stuck.at_largest, stuck.at_random) == (0.02, 0.01, 0.01)


@pytest.mark.parametrize("law", ["drift", "relaxation", "none"])
def test_what_devices_do_in_time_is_found(law):
    """Exponents of .05 +- .02, or shifts of -.004 +- .002 of the largest value for each unit of ln(seconds)."""
    times, levels = np.array([20.0, 300.0, 4000.0, 86400.0]), np.array([0.4, 0.7, 1.0])
    rng = RNG(17)
    start = levels[:, None] * (1 + 0.05 * rng.normal(size=(120, 3, 1)))
    exponent, shift = 0.05 + 0.02 * rng.normal(size=(120, 3, 1)), -0.004 + 0.002 * rng.normal(size=(120, 3, 1))
    changed = {
        "drift": start * ((times + 20) / 20) ** -exponent,
        "relaxation": start + shift * np.log(times),
        "none": start + 0 * times,
    }[law]
    measured = changed * (1 + 0.01 * rng.normal(size=changed.shape))
    fit = limpet.fit_measurements(several(levels, measured, time=times, chips=4))
    found = fit.parameters["value"]
    assert found.in_time.law == law
    assert found.component("setting").sigma == pytest.approx(0.05, rel=0.15)
    assert found.component("time").sigma == pytest.approx(0.01, rel=0.15)
    assert found.read_noise is None  # what is off anew at each time may be more than a reading's noise
    later = found.in_time.deviation
    if law == "drift":
        assert later.exponent.coefficients == pytest.approx((0.05,), abs=0.006)  # 3 standard errors
        assert later.spread.coefficients == pytest.approx((0.02,), rel=0.2)
    if law == "relaxation":
        assert later.mean.coefficients == pytest.approx((0, -0.004), abs=0.0006)
        assert later.spread.coefficients == pytest.approx((0, 0.002), rel=0.2)


def test_read_noise_is_that_of_repeated_readings():
    value = 1 + 0.1 * RNG(18).normal(size=(200, 1, 1)) + 0.02 * RNG(19).normal(size=(200, 1, 5))
    device = np.repeat(np.arange(200), 5)
    table = {"chip": device // 50, "device": device, "nominal": np.ones(1000), "measured": value.ravel()}
    found = limpet.fit_measurements(table, readings=True).parameters["value"]
    assert found.component("reading").sigma == pytest.approx(0.02, rel=0.1)
    assert found.component("device").sigma == pytest.approx(0.1, rel=0.15)
    assert found.deviation.sigma == pytest.approx(0.1, rel=0.15)
    assert found.read_noise.spread.coefficients[0] == pytest.approx(0.02, rel=0.1)


def test_what_is_the_same_at_a_place_of_every_chip_is_said():
    """A layout that makes some devices differ on all chips is no mismatch."""
    chip, device = np.indices((12, 40)).reshape(2, -1)
    noise = 0.05 * RNG(23).normal(size=480)
    table = {"chip": chip, "device": device, "nominal": np.ones(480)}
    with pytest.warns(UserWarning, match=r"off alike on every chip, by 0.0[3-5]"):
        limpet.fit_measurements(table | {"measured": 1 + noise + 0.04 * RNG(24).normal(size=40)[device]})
    assert not limpet.fit_measurements(table | {"measured": 1 + noise}).parameters["value"].common_place


@pytest.mark.filterwarnings("ignore:.*no law fits")
def test_values_that_are_exactly_nominal_and_laws_below_zero_are_said():
    with pytest.warns(UserWarning, match="20% of the values are exactly what devices were set to"):
        fitted(np.where(np.arange(100) % 5, RNG(25).normal(1, 0.1, 100), 1.0), [[25] * 2] * 2)
    with pytest.warns(UserWarning, match=r"the law puts \d.\d% of the devices below zero, and none was measured there"):
        fitted(np.clip(RNG(26).normal(1, 0.5, 30), 0.1, None), [[5] * 3] * 2)


def test_times_that_belong_together_are_one():
    from limpet.bench._observed import _together

    times = np.array([0.0, 0.0, 98.0, 101.0, 104.0, 1e4, 1.05e4, 2e4])
    assert _together(times).tolist() == [0, 0, 101, 101, 101, 10250, 10250, 20000]


def test_levels_are_in_the_hardware_and_may_be_left_out():
    sizes = [[16] * 12] * 12
    fit = limpet.fit_measurements(bench.table(np.exp(bench.nested(RNG(20), (0.2, 0.1, 0.05), sizes)), sizes))
    tree = {"a": {"Itau": jnp.ones(192)}}
    recipe = fit.hardware().on(tree)
    keys = jax.random.split(jax.random.key(0), 300)
    logs = np.log(jax.jit(jax.vmap(lambda key: recipe(key, tree)["a"]["Itau"]))(keys)).reshape(300, 12, 16)
    found = {component.level: component.sigma for component in fit.parameters["Itau"].components}
    assert logs.mean(axis=(1, 2)).std() == pytest.approx(np.hypot(found["chip"], found["core"] / 12**0.5), rel=0.15)
    assert logs.mean(axis=2).std(axis=1).mean() == pytest.approx(found["core"], rel=0.15)
    whole = fit.hardware(levels=()).parts["Itau"].deviation
    assert whole.sigma == pytest.approx(np.sqrt(sum(sigma**2 for sigma in found.values())), rel=0.02)
    assert [member.level for member in fit.hardware(levels=["chip"]).parts["Itau"].deviation.members][-2:] == [
        "chip",
        "device",
    ]
    with pytest.raises(limpet.LimpetError, match="levels = 'die': allowed are chip, core, and \\(\\) for none"):
        fit.hardware(levels=["die"])


def test_cores_are_in_natural_order_and_may_be_those_of_another_leaf():
    chip, core, device = np.indices((6, 12, 8)).reshape(3, -1)
    measured = 1 + 0.1 * RNG(21).normal(size=(6, 12))[chip, core] + 0.05 * RNG(22).normal(size=len(chip))
    table = {"chip": chip, "core": [f"core{n}" for n in core], "device": device, "nominal": np.ones(len(chip))}
    fit = limpet.fit_measurements(table | {"measured": measured})
    groups = {member.level: member for member in fit.hardware().parts["value"].deviation.members}["core"].groups
    assert groups == tuple(np.repeat(np.arange(12), 8))
    other = fit.hardware(cores=np.arange(24) // 2).parts["value"].deviation
    assert max(len(getattr(member, "groups", ())) for member in other.members) == 24
    with pytest.raises(limpet.LimpetError, match="cores = .*allowed is the core of each place"):
        fit.hardware(cores=[0.5])
    with pytest.raises(limpet.LimpetError, match="cores: nothing that cores have in common"):
        fit.hardware(cores=[0, 1], levels=["chip"])


def test_parts_are_called_as_configurations_allow_and_leaves_may_be_named():
    factors = bench.nested(RNG(11), (0, 0, 0.1), [[10] * 2] * 2) + 1
    columns = {name: [] for name in bench.COLUMNS}
    for parameter in ("I tau/mem", "on", "3rd", "w[0]"):
        for name, cells in bench.table(factors, [[10] * 2] * 2, parameter).items():
            columns[name] += cells
    fit = limpet.fit_measurements(columns)
    hardware = fit.hardware({"on": "1_DynapSim/Ion", "3rd": ("a/x", "b/x")})
    assert list(hardware.parts) == ["I_tau_mem", "on_", "_3rd", "w_0_"]
    assert hardware.parts["on_"].leaves == (("1_DynapSim/Ion", True),)
    assert hardware.parts["_3rd"].prototype({"a": {"x": 1.0}, "b": {"x": 1.0}}) == {"a": {"x": True}, "b": {"x": True}}
    assert hardware.parts["w_0_"].prototype({"a": {"w[0]": 1.0, "w0": 1.0}}) == {"a": {"w[0]": True, "w0": False}}
    with pytest.raises(limpet.LimpetError, match="leaves names 'Ioff', which was not measured"):
        fit.hardware({"Ioff": "*"})
