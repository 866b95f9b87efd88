"""The engine: results do not depend on devices or threads; pairs, batches, budgets, interrupts."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from shared_work import LAYERS, MISMATCH, X, loss, measure

import limpet
import limpet.measure._monte_carlo as engine


@pytest.fixture(scope="module")
def reference():
    return measure()


@pytest.mark.parametrize("cores", [1, 3])
def test_tiles_handed_over_by_several_threads_change_nothing(reference, cores, monkeypatch):
    lanes = tuple(ThreadPoolExecutor(1) for _ in range(cores))
    monkeypatch.setattr(engine, "_lanes", lambda: lanes)
    monkeypatch.setattr(engine, "CPU_TILE_BYTES", 1)  # a tile for each chip: forty of them, eight to a call
    handed_over_by = set()
    for lane in lanes:
        submit = lane.submit
        monkeypatch.setattr(lane, "submit", lambda *args, own=submit: handed_over_by.add(own) or own(*args))
    curve = measure()
    np.testing.assert_allclose(curve.values, reference.values, rtol=1e-5)  # another width of tile, another last bit
    assert len(handed_over_by) == cores
    assert np.array_equal(measure(chips=2).values, curve.values[:, :2])


@pytest.mark.parametrize("shape", [(8,), (2, 4), (3,)])
def test_devices_change_nothing(reference, shape):
    names = ("chip", "model")[: len(shape)]
    types = (jax.sharding.AxisType.Auto,) * len(shape)
    mesh = jax.make_mesh(shape, names, axis_types=types, devices=jax.devices()[: int(np.prod(shape))])
    assert np.array_equal(measure(mesh=mesh).values, reference.values)


def test_a_default_mesh_will_do(reference):
    mesh = jax.make_mesh((2,), ("chip",), devices=jax.devices()[:2])
    assert np.array_equal(measure(mesh=mesh).values, reference.values)


def test_networks_that_lie_on_the_mesh_may_be_measured_on_it(reference):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    spread = {name: jax.device_put(layer, NamedSharding(mesh, PartitionSpec())) for name, layer in LAYERS.items()}
    curve = limpet.robustness_curve(
        loss, spread, MISMATCH, sigmas=[0.1, 0.2], chips=limpet.Chips(40, mesh=mesh), batch=X, higher_is_better=False
    )
    assert np.array_equal(curve.values, reference.values)


def test_the_number_of_chips_changes_nothing(reference):
    assert np.array_equal(measure(chips=5).values, reference.values[:, :5])


def test_tiles_are_as_wide_as_memory_allows(monkeypatch):
    chip_fn, operands = (lambda number, case, x: {"": jnp.tanh(x * number * case).sum()}), jnp.ones(2**10)

    def width():
        return engine.prepared(chip_fn, operands, jnp.ones(1)).program.width

    assert width() == engine.WIDEST["cpu"]
    monkeypatch.setattr(engine, "CPU_TILE_BYTES", 2**16)
    assert 1 < width() < engine.WIDEST["cpu"]
    monkeypatch.setattr(engine, "CPU_TILE_BYTES", 1)
    assert width() == 1


def test_strengths_by_scale():
    by_scale = measure(sigmas=None, scales=[1.0, 2.0])
    np.testing.assert_allclose(by_scale.values, measure().values, rtol=1e-5)
    np.testing.assert_allclose(by_scale.sigmas, [0.1, 0.2])
    uneven = limpet.Mismatch({"dense_0": True}, limpet.Gaussian(0.1)) | limpet.Mismatch(
        {"dense_1": True, "dense_2": False}, limpet.Gaussian(0.3)
    )
    curve = limpet.robustness_curve(loss, LAYERS, uneven, scales=[0, 1], chips=2, batch=X, higher_is_better=False)
    assert (curve.axis, curve.sigmas.tolist()) == ("scale", [0, 1])


def test_batches_are_weighted_by_their_count(reference):
    halves = [X[:10], X[10:20], X[20:]]
    np.testing.assert_allclose(measure(batch=None, batches=halves).values, reference.values, rtol=1e-5)
    np.testing.assert_allclose(measure(batch=None, batches=iter(halves)).values, reference.values, rtol=1e-5)


def test_batches_of_several_arrays_are_weighted_by_the_axis_that_all_share(reference):
    """Whichever array sorts first: here one of another length is never taken for the count."""

    def metric(tree, batch):
        return loss(tree, batch["x"]) * batch["weight"].mean()

    def halves(*lengths):
        return [{"x": part, "weight": jnp.ones(length)} for part, length in zip((X[:10], X[10:]), lengths, strict=True)]

    def measured(batches, **options):
        return measure(metric_fn=metric, batch=None, batches=batches, **options)

    np.testing.assert_allclose(measured(halves(10, len(X) - 10)).values, reference.values, rtol=1e-5)
    with pytest.raises(limpet.MetricError, match=r"how many examples a batch holds is not clear.*\(3,\).*count_of"):
        measured(halves(10, 3)[::-1])
    told = measured(halves(3, 3), count_of=lambda batch: len(batch["x"]))
    np.testing.assert_allclose(told.values, reference.values, rtol=1e-5)
    for count in (0, -1, float("nan"), jnp.ones(2)):
        with pytest.raises(limpet.MetricError, match=r"count_of gave .*: allowed is a finite number > 0"):
            measured(halves(3, 3), count_of=lambda batch, count=count: count)


def test_a_missing_direction_is_found_before_anything_is_measured():
    batches = iter([X, X])
    with pytest.raises(limpet.MetricError, match="higher_is_better"):
        measure(batch=None, batches=batches, higher_is_better=None)
    assert next(batches) is X  # the second one was never asked for


def test_whole_numbers_keep_their_value():
    """A count of errors beyond 2**24 is no single-precision number."""
    params, big = {"w": jnp.ones(3)}, 2**25 + 1

    def errors(tree, _):
        return {"errors": big + (tree["w"][0] > 1).astype(int), "true": tree["w"][0] > 1}

    curves = limpet.robustness_curves(
        errors,
        params,
        limpet.Mismatch({"w": True}, limpet.Gaussian(0.1)),
        sigmas=[0, 0.1],
        chips=20,
        higher_is_better={"errors": False, "true": True},
    )
    assert curves["errors"].values[0].tolist() == [big] * 20
    assert set(curves["errors"].values[1]) == {big, big + 1}
    assert set(curves["true"].values[1]) == {0.0, 1.0}


def test_batches_of_one_size_compile_once():
    traces = []

    def counted(tree, x):
        traces.append(x)
        return loss(tree, x)

    limpet.robustness_curve(counted, LAYERS, MISMATCH, sigmas=[0.1], chips=16, batches=[X[:8]] * 5)
    assert len(traces) == 1


def test_antithetic_chips_cancel_what_is_linear():
    params, mismatch = {"w": jnp.ones(20)}, limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))

    def nearly_linear(tree, _):
        return tree["w"].sum() + 0.1 * (tree["w"] ** 2).sum()

    plain, pairs = (
        limpet.robustness_curve(
            nearly_linear, params, mismatch, sigmas=[0.1], chips=limpet.Chips(200, antithetic=paired)
        )
        for paired in (False, True)
    )
    widths = [float(np.ptp(curve.interval())) for curve in (plain, pairs)]
    assert widths[1] < 0.1 * widths[0]  # the variance of the mean falls more than a hundredfold
    truth = 20 + 0.1 * 20 * 1.01
    assert abs(pairs.mean()[0] - truth) < widths[1]
    np.testing.assert_allclose(pairs.values[0, ::2], plain.values[0, :100], rtol=1e-6)
    mirrored = mismatch(limpet.virtual_chip(0, 3), params)["w"]
    np.testing.assert_allclose(pairs.values[0, 7], nearly_linear({"w": 2 - mirrored}, None), rtol=1e-5)
    with pytest.raises(limpet.MetricError, match="even number"):
        limpet.Chips(3, antithetic=True)


def test_auto_draws_until_the_interval_is_narrow_enough():
    def noisy(tree, _):
        return tree["w"].mean()

    params, mismatch = {"w": jnp.ones(1)}, limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))

    def measured(**precision):
        return limpet.robustness_curve(noisy, params, mismatch, sigmas=[0.1], chips=limpet.Precision(**precision))

    loose, tight = measured(half_width=0.02), measured(half_width=0.005)
    low, high = tight.interval()
    assert (high - low)[0] / 2 <= 0.005
    assert loose.chips < tight.chips <= 4096  # (2 * 0.1 / 0.005)^2 = 1,600, doubled until reached
    assert np.array_equal(tight.values[:, : loose.chips], loose.values)
    with pytest.warns(UserWarning, match="after 100 chips, which are at most allowed"):
        assert measured(half_width=1e-6, at_most=100).chips == 100
    for of, target in (("yield", 1.0), (0.5, None)):
        curve = measured(half_width=0.05, of=of, target=target)
        low, high = curve.interval(of, target=target)
        assert (high - low)[0] / 2 <= 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigmas": None}, "give either sigmas .* or scales"),
        ({"scales": [1.0]}, "give either sigmas .* or scales"),
        ({"batches": [X]}, "give either batch or batches"),
        ({"count_of": len}, "count_of is for batches"),
        ({"batch": None, "batches": []}, "batches: there is none"),
        ({"batch": X[:0]}, r"an empty batch \(an array of shape \(0, 24\)\)"),
        ({"batch": None, "batches": [X, X[:0]]}, "an empty batch"),
        ({"chips": limpet.Precision(0.1), "batch": None, "batches": iter([X])}, "give a list or the like"),
        ({"chips": "auto"}, "chips = 'auto': allowed is a whole number"),
        ({"chips": True}, "chips = True: allowed is a whole number"),
        ({"chips": 10.0}, "chips = 10.0: allowed is a whole number"),
        ({"chips": "100"}, "chips = '100': allowed is a whole number"),
        ({"sigmas": 0.1}, "sigmas = 0.1: allowed is a list of numbers"),
    ],
)
def test_options_that_contradict(changes, message):
    with pytest.raises(limpet.MetricError, match=message):
        measure(**changes)


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ({"half_width": 0}, r"Precision.half_width = 0: allowed is a finite number > 0"),
        ({"half_width": float("nan")}, "Precision.half_width = nan"),
        ({"half_width": 0.1, "of": "yield"}, "of='yield' needs a target"),
        ({"half_width": 0.1, "target": 0.9}, "a target goes with of='yield'"),
        ({"half_width": 0.1, "of": 1.5}, "Precision.of = 1.5: allowed are 'mean', 'yield' and a quantile"),
        ({"half_width": 0.1, "at_most": 0}, "Precision.at_most = 0: allowed is a whole number from 1 on"),
    ],
)
def test_precisions_that_cannot_be_meant(precision, message):
    with pytest.raises(limpet.MetricError, match=message):
        limpet.Precision(**precision)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True])
def test_seeds_that_name_no_chips(seed):
    with pytest.raises(limpet.LimpetError, match="seed = .*allowed is an integer from 0 to 4294967295"):
        measure(seed=seed)
    with pytest.raises(limpet.LimpetError, match="seed = "):
        limpet.virtual_chip(seed, 0)


def test_repeated_and_unsorted_strengths_are_as_asked():
    curve = measure(sigmas=[0.2, 0.1, 0.2])
    assert curve.sigmas.tolist() == [0.2, 0.1, 0.2]
    assert np.array_equal(curve.values[0], curve.values[2])


@pytest.fixture
def interrupt_after(monkeypatch):
    """Let so many rounds through, then press Ctrl-C."""

    def patch(rounds: int) -> None:
        fetched = []

        def fetch(values):
            if len(fetched) == rounds:
                raise KeyboardInterrupt
            fetched.append(values)
            return jax.device_get(values)

        monkeypatch.setattr("limpet.measure._measurement.fetch", fetch)

    return patch


def test_an_interrupt_leaves_the_chips_evaluated_so_far(reference, interrupt_after):
    interrupt_after(2)
    with pytest.warns(UserWarning, match="interrupted: the curve holds the 256 chips evaluated so far"):
        curve = measure(chips=600)  # in tiles of 128
    assert np.array_equal(curve.values[:, :40], reference.values)


def test_an_interrupt_of_auto_keeps_finished_chips(interrupt_after):
    interrupt_after(1)
    with pytest.warns(UserWarning, match="interrupted: the curve holds the 64 chips evaluated so far"):
        assert measure(chips=limpet.Precision(1e-9)).chips == 64
    with pytest.raises(KeyboardInterrupt):
        measure()


def test_an_interrupt_parts_no_antithetic_pair(interrupt_after, monkeypatch):
    monkeypatch.setattr(engine, "CPU_TILE_BYTES", 1)  # tiles of one chip
    monkeypatch.setattr(engine, "TILES", 1)
    interrupt_after(3)
    with pytest.warns(UserWarning, match="interrupted: the curve holds the 2 chips"):
        curve = measure(antithetic=True)
    assert np.isfinite(curve.mean()).all()
    assert len(curve.interval()[0]) == 2


def test_progress_is_silent_off_a_terminal_and_shown_on_request(capfd):
    measure(chips=4)
    assert capfd.readouterr().err == ""
    measure(chips=4, progress=True)
    assert "virtual chips" in capfd.readouterr().err


def test_the_worst_chip_can_be_rebuilt(reference):
    number = measure(sigmas=[0.2]).worst_chip(0.2)
    assert number == int(np.argmax(reference.values[1]))
    chip = limpet.freeze(LAYERS, MISMATCH.with_sigma(0.2), chip=number)
    np.testing.assert_allclose(loss(chip, X), reference.values[1, number], rtol=1e-6)
    again = MISMATCH.with_sigma(0.2)(limpet.virtual_chip(0, number), LAYERS)
    assert all(np.array_equal(again[name], chip[name]) for name in LAYERS)
