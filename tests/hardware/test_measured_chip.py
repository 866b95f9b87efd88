"""Chips from a bench stand where virtual ones do, and say how well the hardware explains them."""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import simulated_bench as bench
from scipy import stats

import limpet
from limpet.hardware import _explanation

PARAMS = {"dense": {"kernel": jnp.full((30, 20), 0.5), "bias": jnp.linspace(0.5, 2.0, 20)}, "step": 3}
HARDWARE = limpet.Hardware(
    kernels=limpet.Part("*/kernel", limpet.Gaussian(sigma=0.1)),
    biases=limpet.Part("*/bias", limpet.Additive(spread=0.05)),
)


def measured(chip, name="V") -> limpet.MeasuredChip:
    return limpet.MeasuredChip(name, {f"dense/{leaf}": chip["dense"][leaf] for leaf in ("kernel", "bias")})


def table_of(factors, parameter="Itau_mem", chip="A", cores=2):
    """One chip, its rows in another order than its devices."""
    each = len(factors) // cores
    rows = [(chip, n // each, n % each, parameter, 2.0, 2.0 * factor) for n, factor in enumerate(factors)]
    order = np.random.default_rng(0).permutation(len(rows))
    columns = [[rows[place][column] for place in order] for column in range(6)]
    return dict(zip(bench.COLUMNS, columns, strict=True))


def test_values_by_leaf_path_replace_those_of_a_tree():
    chip = limpet.MeasuredChip("A3", {"dense/bias": np.arange(20.0)})
    frozen = limpet.freeze(PARAMS, chip=chip)
    assert (frozen["dense"]["bias"] == jnp.arange(20.0)).all()
    assert frozen["dense"]["bias"].dtype == PARAMS["dense"]["bias"].dtype
    assert frozen["dense"]["kernel"] is PARAMS["dense"]["kernel"]
    assert jax.tree.all(jax.tree.map(np.array_equal, chip.on(PARAMS), frozen))


def test_what_limpet_chips_writes_is_a_measured_chip(tmp_path):
    virtual = limpet.freeze(PARAMS, HARDWARE, seed=3, chip=5)
    np.savez(
        tmp_path / "c5.npz",
        **{"dense/kernel": virtual["dense"]["kernel"], "dense/bias": virtual["dense"]["bias"], "step": 3},
    )
    chip = limpet.MeasuredChip.of(tmp_path / "c5.npz")
    assert chip.name == "c5"
    frozen = limpet.freeze(PARAMS, HARDWARE, chip=chip)
    assert jax.tree.all(jax.tree.map(np.array_equal, frozen, virtual))


def test_a_table_gives_factors_in_the_order_of_cores_and_neurons(dynapse_net, tmp_path):
    factors = np.array([0.8, 0.9, 1.1, 1.3])
    path = bench.write(tmp_path / "bench.csv", table_of(factors), table_of(factors[::-1], chip="B"))
    chip = limpet.bench_chip(path, "A", leaves={"Itau_mem": "*/Itau_mem"})
    before = limpet.attributes(dynapse_net)["1_DynapSim"]
    frozen = limpet.freeze(dynapse_net, chip=chip)
    after = limpet.attributes(frozen)["1_DynapSim"]
    assert np.allclose(after["Itau_mem"], before["Itau_mem"] * factors, rtol=1e-6)
    assert np.array_equal(after["Igain_mem"], before["Igain_mem"])
    again = limpet.attributes(limpet.freeze(frozen, chip=chip))["1_DynapSim"]  # from nominal values, not on top
    assert np.array_equal(again["Itau_mem"], after["Itau_mem"])
    other = limpet.attributes(limpet.freeze(dynapse_net, chip=limpet.bench_chip(path, "B")))["1_DynapSim"]
    assert np.allclose(other["Itau_mem"], before["Itau_mem"] * factors[::-1], rtol=1e-6)


def test_ten_neurons_are_in_the_order_of_numbers():
    factors = np.linspace(0.5, 1.5, 12)
    chip = limpet.bench_chip(table_of(factors, "bias", cores=1))
    assert np.allclose(chip.on({"bias": jnp.ones(12)})["bias"], factors)


def test_training_refuses_values_of_a_measured_chip_as_nominal_ones():
    frozen = limpet.freeze(PARAMS, chip=measured(PARAMS))
    with pytest.raises(limpet.LimpetError, match="would deviate a second time"):
        limpet.MismatchCallback(
            frozen, HARDWARE, metric_fn=lambda tree, _: tree["dense"]["bias"].sum(), eval_batch=None, chips=2
        )


@pytest.mark.parametrize(
    ("chip", "said"),
    [
        (limpet.MeasuredChip("A", {"dense/gain": np.ones(2)}), "chip A has values for dense/gain, which the network"),
        (limpet.MeasuredChip("A", {"dense/bias": np.ones(3)}), r"values of shape \(3,\) for leaf 'dense/bias', which"),
        (limpet.MeasuredChip("A", {"dense/bias": np.ones(20) * 1j}), "'dense/bias' are complex"),
        (limpet.MeasuredChip("A", factors={"*/gain": np.ones(3)}), r"'\*/gain' matches no leaf; say which"),
        (limpet.MeasuredChip("A", factors={"dense/*": np.ones(3)}), r"matches dense/bias, dense/kernel; say which"),
        (limpet.MeasuredChip("A", factors={"*/bias": np.ones(3)}), r"devices of shape \(3,\) for leaf 'dense/bias'"),
        (limpet.MeasuredChip("A", {"dense/bias": np.ones(20)}, {"*/bias": np.ones(20)}), "is measured twice"),
    ],
)
def test_what_does_not_fit_a_network_is_named(chip, said):
    with pytest.raises(limpet.PrototypeError, match=said):
        limpet.freeze(PARAMS, chip=chip)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda path: limpet.MeasuredChip("A"), "give values by leaf path, or factors"),
        (lambda path: limpet.MeasuredChip("A", {"w": np.array([1.0, np.nan])}), "values\\['w'\\] holds NaN"),
        (lambda path: limpet.MeasuredChip("A", {"w": np.array(["x"])}), "holds <U1; needed are numbers"),
        (lambda path: limpet.MeasuredChip.of(path / "none.npz"), "none.npz: there is no such file"),
        (lambda path: limpet.MeasuredChip.of(path / "two.csv"), r"needed is an .npz .* limpet.bench_chip\(table"),
        (lambda path: limpet.MeasuredChip.of({"w": [1.0]}), r"needed is an .npz of values by leaf path"),
        (lambda path: limpet.bench_chip(path / "two.csv"), "holds 2 chips; name one by chip=, of 'A', 'B'"),
        (lambda path: limpet.bench_chip(path / "two.csv", "C"), "has no chip 'C'; it has 'A', 'B'"),
        (lambda path: limpet.bench_chip(path / "two.csv", "A", leaves={"x": "*"}), "leaves names 'x'"),
        (
            lambda path: limpet.bench_chip(path / "two.csv", "A", leaves={"Itau_mem": [1.0, 2.0]}),
            r"leaves\['Itau_mem'\] = \[1.0, 2.0\]: allowed is a text",
        ),
        (lambda path: limpet.MeasuredChip("A", [1.0, 2.0]), r"chip A: values = \[1.0, 2.0\]: allowed is a mapping"),
        (lambda path: limpet.MeasuredChip("A", {"w": [[1.0], [1.0, 2.0]]}), r"values\['w'\] = .* an array of numbers"),
        (lambda path: limpet.MeasuredChip("A", factors=3), "factors = 3: allowed is a mapping from paths to arrays"),
    ],
)
def test_chips_that_cannot_be_are_refused(build, said, tmp_path):
    np.savez(tmp_path / "one.npz", w=np.ones(2))
    bench.write(tmp_path / "two.csv", table_of([1.0, 1.1]), table_of([1.0, 1.1], chip="B"))
    with pytest.raises(limpet.LimpetError, match=said):
        build(tmp_path)


@pytest.mark.parametrize("given", [{"seed": 0}, {"condition": 1.0}, {"generator": "fast"}])
def test_a_measured_chip_has_no_seed_condition_or_generator(given):
    with pytest.raises(limpet.LimpetError, match=f"chip V was measured, and has no {next(iter(given))}"):
        limpet.freeze(PARAMS, chip=measured(PARAMS), **given)


def test_leaves_that_deviate_and_were_not_measured_are_said():
    chip = limpet.MeasuredChip("A", {"dense/bias": np.ones(20)})
    with pytest.warns(UserWarning, match="chip A: dense/kernel deviate on this hardware and were not measured"):
        limpet.freeze(PARAMS, HARDWARE, chip=chip)
    with pytest.raises(limpet.LimpetError, match="mismatch = 3: allowed are the hardware, and a recipe"):
        limpet.freeze(PARAMS, 3, chip=chip)


def test_the_hardware_that_made_a_chip_explains_it_and_another_does_not():
    chip = measured(limpet.freeze(PARAMS, HARDWARE, seed=1, chip=7))
    right, wrong = chip.explained_by(HARDWARE, PARAMS), chip.explained_by(HARDWARE, PARAMS, 2)
    kernel = right.leaves["dense/kernel"]
    # p is below 1e-3 in 1e-3 of all seeds.
    assert min(leaf.p_value for leaf in right.leaves.values()) > 1e-3
    assert kernel.log_likelihood == pytest.approx(kernel.expected, abs=5 / (2 * 600) ** 0.5)
    assert kernel.spread == pytest.approx(0.1, rel=5 / (2 * 600) ** 0.5)
    assert wrong.leaves["dense/kernel"].p_value < 1e-6
    assert wrong.leaves["dense/kernel"].log_likelihood < kernel.log_likelihood - 0.1
    assert wrong.leaves["dense/bias"].distance > right.leaves["dense/bias"].distance
    assert str(right).splitlines()[0] == "chip V beside the assumed hardware"
    assert "additive, spread 0.05" in str(right)


@pytest.mark.parametrize(
    ("deviation", "law"),
    [
        (limpet.Gaussian(sigma=0.2), stats.norm(1, 0.2)),
        (limpet.LogNormal(sigma_ln=0.3), stats.lognorm(0.3)),
        (limpet.LogNormal(sigma_ln=0.3, preserve="mean"), stats.lognorm(0.3, scale=np.exp(-0.045))),
        (limpet.StudentT(sigma=0.2, degrees=4.0), stats.t(4, 1, 0.2 / 2**0.5)),
        (limpet.Uniform.within(0.2), stats.uniform(0.8, 0.4)),
    ],
)
def test_likelihoods_are_those_of_the_densities(deviation, law):
    factors = law.rvs(50, random_state=np.random.default_rng(1))
    chip = limpet.MeasuredChip("A", factors={"w": factors})
    tree = {"w": jnp.full(50, 2.0)}
    found = chip.explained_by(limpet.Hardware(p=limpet.Part("w", deviation)), tree).leaves["w"]
    assert found.log_likelihood == pytest.approx(law.logpdf(factors).mean(), abs=1e-4)
    assert found.expected == pytest.approx(-law.entropy(), abs=1e-4)
    assert found.p_value == pytest.approx(stats.kstest(factors, law.cdf).pvalue, rel=1e-2)


def test_a_truncated_law_is_that_of_its_draws():
    deviation = limpet.TruncatedGaussian(sigma=0.2, bound=2.0)
    hardware, tree = limpet.Hardware(p=limpet.Part("*", deviation)), {"w": jnp.ones(20_000)}
    chip = limpet.MeasuredChip("A", {"w": limpet.freeze(tree, hardware)["w"]})
    assert chip.explained_by(hardware, tree).leaves["w"].p_value > 1e-4  # its false alarm


CHIPS, VIRTUAL = 40, 199
CORES = tuple(np.arange(48) // 12)
DIE = limpet.Shared(limpet.LogNormal(sigma=0.1), across="chip")
DEVICE = limpet.LogNormal(sigma=0.15)


@dataclass(frozen=True)
class Offset(limpet.Deviation):
    """What a user writes: nobody knows what its values have in common."""

    volts: float

    def deviate(self, draw, value, strength):
        own = draw.stream("own").normal(value.shape, self.volts * strength)
        return value + own + self.volts * strength * draw.normal(())


PARTS = {
    # values are independent
    "drift": limpet.Part("drift", limpet.Drift(exponent=0.05, spread=0.02)),
    "programming": limpet.Part("programming", limpet.Programming((0.0, 0.04))),
    "clipped": limpet.Part("clipped", limpet.Gaussian(sigma=0.2), limpet.Limits(low=0.7, high=1.3)),
    "truncated": limpet.Part(
        "truncated", limpet.Gaussian(sigma=0.2), limpet.Limits(low=0.9, high=1.1, policy="truncate")
    ),
    "counted": limpet.Part("counted", limpet.LogNormal(sigma=0.2), limpet.Limits(low=0.9, policy="report")),
    "chain": limpet.Part(
        "chain", limpet.Chain((limpet.Systematic(0.7, 0.1), limpet.Additive(0.05), limpet.Drift(0.05, 0.02)))
    ),
    "common gain": limpet.Part("gain", limpet.Chain((limpet.Systematic(gain=0.7), DEVICE))),
    # devices have something in common
    "die": limpet.Part("die", limpet.Chain((DIE, DEVICE))),
    "die alone": limpet.Part("die_alone", DIE),
    "cores": limpet.Part(
        "cores", limpet.Chain((DIE, limpet.Shared(limpet.LogNormal(sigma=0.1), groups=CORES, name="core"), DEVICE))
    ),
    "columns": limpet.Part(
        "columns", limpet.Chain((limpet.Shared(limpet.Gaussian(sigma=0.1), across="column"), limpet.Additive(0.05)))
    ),
    "neighbours": limpet.Part("neighbours", limpet.Spatial(limpet.LogNormal(sigma=0.2), length=8.0, nugget=0.2)),
    "own": limpet.Part("own", Offset(0.2)),
    "clipped die": limpet.Part("clipped_die", limpet.Chain((DIE, DEVICE)), limpet.Limits(low=0.9, high=1.1)),
    "drifting die": limpet.Part("drifting_die", limpet.Chain((DIE, limpet.Drift(exponent=0.05, spread=0.02)))),
    "compensated": limpet.Part(
        "compensated",
        limpet.Crossbar(
            limpet.Chain((limpet.Programming(0.05), limpet.Drift(exponent=0.05, spread=0.01))), drift_compensation=True
        ),
    ),
    "read": limpet.Part(
        "read",
        limpet.Chain((DIE, limpet.Drift(exponent=0.05, spread=0.01), limpet.ReadNoise(0.1, read_time=1e-6))),
    ),
}
TREE = {part.leaves[0][0]: jnp.linspace(0.5, 1.5, 48).reshape(4, 12) for part in PARTS.values()}
TREE |= {"cores": jnp.ones(48), "own": jnp.zeros(48)}
DAY = limpet.Condition(scale=1.2, time=86400.0, read=3)


@cache
def explained():
    """40 chips that the hardware made, a day old, as it explains them itself. All of it is compiled at once."""
    hardware = limpet.Hardware(**{path_of(name): part for name, part in PARTS.items()})
    recipe, keys = hardware.on(TREE), jax.vmap(lambda chip: limpet.virtual_chip(9, chip))(jnp.arange(CHIPS))
    chips = jax.jit(jax.vmap(lambda key: recipe(key, TREE, DAY)))(keys)
    chips = {path: np.asarray(values) for path, values in chips.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_explanation, "VIRTUAL_CHIPS", VIRTUAL)
        return [
            limpet.MeasuredChip("V", {path: values[number] for path, values in chips.items()}).explained_by(
                recipe, TREE, DAY
            )
            for number in range(CHIPS)
        ]


def path_of(name):
    return PARTS[name].leaves[0][0]


def assert_uniform(p_values, alarm=1e-4):
    """A Kolmogorov-Smirnov test; all chips are ranked among the same virtual ones, which counts as fewer chips."""
    chips = len(p_values)
    distance = stats.kstest(p_values, "uniform").statistic
    assert stats.kstwo.sf(distance, round(chips * VIRTUAL / (chips + VIRTUAL))) > alarm


@pytest.mark.parametrize("name", PARTS)
def test_p_values_of_true_chips_are_uniform(name):
    """Each would fail for 1e-4 of all seeds; of leaves that have something in common, there are three tests."""
    leaves = [chip.leaves[path_of(name)] for chip in explained()]
    assert_uniform([leaf.p_value for leaf in leaves])
    in_common = [*PARTS].index(name) >= [*PARTS].index("die")
    assert all((leaf.common is not None) == in_common for leaf in leaves)
    if in_common:
        assert_uniform([leaf.common.p_value for leaf in leaves])
        if name != "die alone":  # nothing is left without it
            assert_uniform([leaf.rest.p_value for leaf in leaves])


def test_what_all_leaves_have_in_common_is_ranked_too():
    assert_uniform([chip.common.p_value for chip in explained()])
    printed = str(explained()[0])
    assert "the median of measured / nominal, which devices have in common, and their spread about it, be" in printed
    assert printed.splitlines()[-1].split()[0] == "all"


def leveled(die=0.1, core=0.05, device=0.2):
    """A hardware with levels, and 96 devices at a nominal value of 2e-12."""
    cores = limpet.Shared(limpet.LogNormal(sigma=core), groups=tuple(np.arange(96) // 24), name="core")
    levels = (limpet.Shared(limpet.LogNormal(sigma=die), across="chip"), cores, limpet.LogNormal(sigma=device))
    return limpet.Hardware(leak=limpet.Part("leak", limpet.Chain(levels)))


NOMINAL = np.full(96, 2e-12, np.float32)
NUMBERS = np.random.default_rng(5).normal(0, 1, 96)


@pytest.mark.parametrize(
    ("factors", "far"),
    [
        (np.exp(0.2 * NUMBERS), None),
        (1.6 * np.exp(0.2 * NUMBERS), "common"),
        (0.6 * np.exp(0.2 * NUMBERS), "common"),
        (np.exp(0.35 * NUMBERS), "rest"),
        (np.exp(0.1 * NUMBERS), "rest"),
        (np.exp(0.3 * np.trunc(NUMBERS / 0.68).clip(-1, 1)), "distance"),  # half of them exact, the others far off
    ],
)
def test_what_is_far_out_on_a_chip_is_found(factors, far):
    """Of 999 virtual chips none or one is as far out; what is not far out has p above 0.02."""
    found = limpet.MeasuredChip("A", factors={"leak": factors}).explained_by(leveled(), {"leak": jnp.array(NOMINAL)})
    leaf = found.leaves["leak"]
    assert leaf.common.value == pytest.approx(np.median(factors), rel=1e-5)
    assert leaf.rest.value == pytest.approx(np.std(factors / np.median(factors)), rel=1e-5)
    assert (leaf.p_value <= 0.01) == (far is not None)
    assert (leaf.common.p_value <= 0.02) == (far == "common")
    assert (leaf.rest.p_value <= 0.02) == (far == "rest")
    assert found.common == leaf.common
    assert leaf.common.low < 1 < leaf.common.high


def test_a_chip_of_another_time_or_scale_is_not_explained():
    tree, day = {"w": jnp.ones(200)}, limpet.Condition(time="1 day")
    drifting = limpet.Hardware(p=limpet.Part("w", limpet.Drift(exponent=0.05, spread=0.02)))
    clipped = limpet.Hardware(p=limpet.Part("w", limpet.Gaussian(sigma=0.2), limpet.Limits(low=0.7, high=1.3)))
    die = limpet.Hardware(p=limpet.Part("w", limpet.Chain((DIE, limpet.Drift(exponent=0.05, spread=0.02)))))
    for hardware, condition, assumed, most in (
        (drifting, day, limpet.Condition(time="1 year"), 1e-6),
        (clipped, 1.0, 2.0, 1e-6),
        (die, day, limpet.Condition(time="100 years"), 0.01),
    ):
        chip = limpet.MeasuredChip("V", limpet.freeze(tree, hardware, seed=9, condition=condition))
        assert chip.explained_by(hardware, tree, assumed).leaves["w"].p_value < most


@pytest.mark.parametrize("deviation", [limpet.Systematic(gain=0.7, offset=0.1), DIE])
def test_rounding_is_no_deviation(deviation):
    """What a table holds in some decimals differs from what is drawn in the last place of float32."""
    hardware, tree = limpet.Hardware(p=limpet.Part("w", deviation)), {"w": jnp.linspace(0.1, 1.0, 200)}
    held = np.asarray(limpet.freeze(tree, hardware, seed=9)["w"], np.float64)
    units = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 200) * 2.0**-23
    chip = limpet.MeasuredChip("V", {"w": held * (1 + units)})
    assert chip.explained_by(hardware, tree).leaves["w"].p_value > 0.01


def test_of_a_large_leaf_some_values_are_compared_and_products_do_not_matter(monkeypatch):
    monkeypatch.setattr(_explanation, "VIRTUAL_CHIPS", VIRTUAL)
    monkeypatch.setattr(_explanation, "MOST_VALUES", 64)
    product = limpet.Product(inputs=limpet.Converter(bits=8, range="dynamic"))
    hardware = limpet.Hardware(w=limpet.Part("w", limpet.Chain((DIE, DEVICE)), product=product))
    chip = limpet.MeasuredChip("V", {"w": np.exp(np.random.default_rng(0).normal(0, 0.15, (16, 8)))})
    leaf = chip.explained_by(hardware, {"w": jnp.ones((16, 8))}).leaves["w"]
    assert leaf.count == 64
    assert leaf.p_value > 0.005


def test_a_derived_class_with_other_draws_has_no_law_of_its_base():
    @dataclass(frozen=True)
    class Doubled(limpet.Gaussian):
        def deviate(self, draw, value, strength):
            return super().deviate(draw, value, 2 * strength)

    assert Doubled(sigma=0.1).distribution() is None
    assert limpet.Gaussian(sigma=0.1).distribution(2.0).std() == pytest.approx(0.2)
    hardware, tree = limpet.Hardware(p=limpet.Part("w", Doubled(sigma=0.1))), {"w": jnp.ones(300)}
    chip = limpet.MeasuredChip("V", limpet.freeze(tree, hardware, seed=9))
    assert chip.explained_by(hardware, tree).leaves["w"].p_value > 0.002  # its false alarm


def test_nothing_to_explain_is_refused():
    chip = limpet.MeasuredChip("A", {"dense/bias": np.ones(20)})
    with pytest.raises(limpet.PrototypeError, match="nothing that deviates was measured; measured are dense/bias"):
        chip.explained_by(limpet.Hardware(k=limpet.Part("*/kernel", limpet.Gaussian(0.1))), PARAMS)
    assert chip.explained_by(HARDWARE, PARAMS).unmeasured == ("dense/kernel",)
    with pytest.raises(limpet.LimpetError, match="allowed are the hardware, and a recipe"):
        chip.explained_by("hardware", PARAMS)
