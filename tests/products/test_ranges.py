"""Ranges of inputs that are learned, found and held with the hardware; bounds of outputs alike."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import limpet
from limpet import Array, Converter, Part, Product

RNG = np.random.default_rng(0)
PARAMS = {"w": jnp.asarray(RNG.standard_normal((12, 4)), jnp.float32)}
X = jnp.asarray(RNG.standard_normal((40, 12)), jnp.float32)
TOWARDS = jnp.asarray(RNG.standard_normal((40, 4)), jnp.float32)
LEARNED = Product(Converter(bits=6, range="learned", decay=0.01), Converter(bits=8, bound=8.0))
HARDWARE = limpet.Hardware(crossbar=Part("w", product=LEARNED, array=Array(rows=6)))
KEY = jax.random.key(0)


def loss(params, x):
    return (TOWARDS * (x @ params["w"])).sum()


def with_ranges(trained, x=X, recipe=None):
    recipe = HARDWARE.on(PARAMS) if recipe is None else recipe

    def drawn(trained):
        return loss(recipe(KEY, trained["net"], ranges=trained["ranges"]), x)

    return limpet.products(drawn)(trained)


gradient = jax.jit(jax.grad(with_ranges))


@pytest.mark.parametrize("ranges", [[1.0, 4.0], [0.5, 0.3]])
def test_the_gradient_of_learned_ranges(ranges):
    """That of aihwkit and aihwkit-lightning, for each tile; of 40 x 6 inputs none is beyond 4."""
    trained = {"net": PARAMS, "ranges": {"w": jnp.array([ranges])}}
    found = gradient(trained)["ranges"]["w"]
    slope = np.asarray(TOWARDS @ PARAMS["w"].T)
    expected = []
    for tile, r in enumerate(ranges):
        part = slice(6 * tile, 6 * tile + 6)
        x, g = np.asarray(X)[:, part], slope[:, part]
        wider = np.minimum(g, 0)[x >= r].sum() - np.maximum(g, 0)[x <= -r].sum()
        expected.append(r * (wider + 0.01 * (np.mean(np.abs(x) < r) > 0.95)))
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    assert found[0, 0] < 0  # a step of descent widens what is clipped
    assert (found[0, 1] == pytest.approx(0.04)) == (ranges[1] == 4)


def test_ranges_that_optax_trains_widen_where_inputs_are_clipped_and_decay_where_they_are_not():
    trained: Any = {"net": PARAMS, "ranges": {"w": jnp.array([[0.5, 5.0]])}}
    optimizer = optax.sgd(0.01)
    state = optimizer.init(trained)
    for _ in range(5):
        updates, state = optimizer.update(gradient(trained), state)
        trained = optax.apply_updates(trained, updates)
    narrow, wide = trained["ranges"]["w"][0]
    assert narrow > 0.6
    assert wide == pytest.approx(5 * (1 - 0.01 * 0.01) ** 5, rel=1e-4)


def test_a_number_is_the_range_of_all_arrays_and_held_ranges_are_those_that_were_trained():
    ranges = {"w": np.array([[1.0, 2.0]], np.float32)}
    given = with_ranges({"net": PARAMS, "ranges": ranges})
    held = HARDWARE.with_ranges(ranges)
    assert limpet.on_chip(loss, held)(PARAMS, X) == pytest.approx(float(given), rel=1e-6)
    alike = with_ranges({"net": PARAMS, "ranges": {"w": jnp.float32(1.0)}})
    both = with_ranges({"net": PARAMS, "ranges": {"w": jnp.ones((1, 2))}})
    assert float(alike) == float(both) != float(given)
    injection = limpet.Injection(PARAMS, HARDWARE)
    injected = limpet.products(lambda r: loss(injection.inject(PARAMS, 0, ranges=r), X))(ranges)
    assert float(injected) == pytest.approx(float(given), rel=1e-6)


def test_what_is_held_is_part_of_the_hardware():
    held = HARDWARE.with_ranges({"w": [[1.0, 0.1]]}).with_bounds({"w": 3.0})
    part = held.parts["crossbar"]
    assert held == HARDWARE.with_bounds({"w": 3}).with_ranges({"w": np.array([[1.0, 0.1]])})
    assert hash(held) != hash(HARDWARE)
    assert held.described()["crossbar"]["input_ranges"] == {"w": [[1.0, pytest.approx(0.1)]]}
    assert limpet.Config(hardware=held.described()).hardware == held
    assert limpet.Hardware.of(held.on(PARAMS)).parts["crossbar"].input_ranges == part.input_ranges
    prints = {
        limpet.fingerprint(hardware, PARAMS)
        for hardware in (HARDWARE, held, HARDWARE.with_bounds({"w": 3.0}), held.with_ranges({"w": 1.0}))
    }
    assert len(prints) == 4
    rule = held.on(PARAMS).rules["w"]
    assert rule is not None
    assert rule.product == LEARNED.with_bound(3.0)
    assert held.without_products().parts["crossbar"].input_ranges == ()


WRONG_RANGES = {
    "no ranges": (None, "leaf 'w': the ranges of its inputs are 'learned', and none are given"),
    "of other tiles": ({"w": jnp.ones((1, 3))}, r"ranges of shape \(1, 3\), and it sits on 2 arrays of 6 x 4"),
    "of another leaf": ({"v": jnp.ones((1, 2))}, "ranges: 'v': allowed are leaves .* 'learned': 'w'"),
}


@pytest.mark.parametrize("case", WRONG_RANGES)
def test_ranges_that_do_not_fit_are_refused(case):
    ranges, words = WRONG_RANGES[case]
    with pytest.raises(limpet.LimpetError, match=words):
        with_ranges({"net": PARAMS, "ranges": ranges})


def test_what_cannot_be_held_is_refused():
    plain = limpet.Hardware(crossbar=Part("w", product=Product(Converter(bits=6, range="dynamic"))))
    with pytest.raises(limpet.LimpetError, match="'w': no part with inputs of the range 'learned'"):
        plain.with_ranges({"w": 1.0})
    with pytest.raises(limpet.LimpetError, match="no part with outputs with a bound"):
        plain.with_bounds({"w": 1.0})
    with pytest.raises(limpet.LimpetError, match="'v': no part .* such converters are crossbar"):
        HARDWARE.with_ranges({"v": 1.0})
    with pytest.raises(limpet.LimpetError, match=r"ranges\['w'\] = \[1.0, 2.0\]: allowed is"):
        HARDWARE.with_ranges({"w": [1.0, 2.0]})
    with pytest.raises(limpet.LimpetError, match=r"bounds\['w'\] = 0"):
        HARDWARE.with_bounds({"w": 0})
    anywhere = limpet.Hardware(crossbar=Part("matrices", product=LEARNED)).with_ranges({"elsewhere": 1.0})
    with pytest.raises(limpet.PrototypeError, match="elsewhere, which are no leaves of its parts"):
        anywhere.on(PARAMS)
    with pytest.raises(limpet.LimpetError, match="input_ranges = .*: ranges by leaf belong to a product with"):
        Part("w", limpet.Gaussian(0.1), input_ranges={"w": 1.0})


STACKED = {"w": jnp.asarray(RNG.standard_normal((3, 8, 8)) / 3, jnp.float32)}
PART = Part("w", product=Product(Converter(bits=8, range="learned")), array=Array(stack=0, rows=4))


def layers(params, x):
    """Layers within a scan, a function that is computed again, a condition and a map."""

    @jax.checkpoint
    def layer(x, w):
        each = jax.vmap(lambda row: jnp.tanh(row @ w))
        return jax.lax.cond(x[0, 0] < 1e9, each, lambda x: x, x), None

    return jax.lax.scan(layer, x, params["w"])[0]


def test_ranges_are_found_for_each_array_on_what_it_sees():
    batches = [np.asarray(RNG.standard_normal((50, 8)) * scale, np.float32) for scale in (1.0, 2.0)]
    hardware = limpet.Hardware(crossbar=PART)
    found = limpet.input_ranges(layers, STACKED, hardware, batches, percentile=95)["w"]
    seen, x = [], np.concatenate(batches)
    for w in STACKED["w"]:
        seen.append([np.percentile(np.abs(part), 95) for part in np.split(x, 2, axis=1)])
        x = np.tanh(x @ np.asarray(w))
    np.testing.assert_allclose(found, seen, rtol=0.02)  # inputs of later layers went through converters of 8 bits
    np.testing.assert_allclose(found[0], seen[0], rtol=1e-6)
    whole = limpet.input_ranges(layers, STACKED, hardware, batches, percentile=100)["w"]
    assert (whole >= found).all()
    held = hardware.with_ranges({"w": whole})
    exact = np.asarray(layers(STACKED, batches[0]))
    np.testing.assert_allclose(limpet.on_chip(layers, held)(STACKED, batches[0]), exact, atol=0.03)


def test_ranges_of_least_squared_error():
    hardware = limpet.Hardware(crossbar=Part("w", product=Product(Converter(bits=4, range="learned"))))
    (found,) = limpet.input_ranges(loss, PARAMS, hardware, [X], method="least squares")["w"].ravel()
    x = np.asarray(X)

    def error(r):
        return np.mean((np.clip(np.round(x / r * 7), -7, 7) * r / 7 - x) ** 2)

    tried = np.abs(x).max() * np.arange(1, 101) / 100
    assert found == pytest.approx(min(tried, key=error), rel=1e-5)
    assert found < 0.95 * np.abs(x).max()


def test_bounds_are_found_in_units_of_the_largest_output_of_one_weight():
    hardware = HARDWARE.with_ranges({"w": [[1.0, 2.0]]})
    found = limpet.output_bounds(lambda p, x: x @ p["w"], PARAMS, hardware, [X[:20], X[20:]], percentile=90)
    w, seen = np.asarray(PARAMS["w"]), []
    for tile, r in enumerate((1.0, 2.0)):
        part = slice(6 * tile, 6 * tile + 6)
        codes = np.clip(np.round(np.asarray(X)[:, part] / r * 31), -31, 31)
        seen.append(np.abs(codes @ w[part]) / (31 * np.abs(w[part]).max()))
    assert found == {"w": pytest.approx(np.percentile(seen, 90), rel=1e-5)}
    held = hardware.with_bounds(found)
    clipped = limpet.on_chip(loss, held)(PARAMS, X)
    assert float(clipped) != float(limpet.on_chip(loss, hardware)(PARAMS, X))


def test_what_cannot_be_found_is_refused():
    with pytest.raises(limpet.LimpetError, match="no converter of inputs has the range 'learned'"):
        limpet.input_ranges(loss, PARAMS, limpet.Hardware(w=Part("w", limpet.Gaussian(0.1))), [X])
    with pytest.raises(limpet.LimpetError, match="no converter of outputs has a bound"):
        limpet.output_bounds(loss, PARAMS, limpet.Hardware(w=Part("w", limpet.Gaussian(0.1))), [X])
    with pytest.raises(
        limpet.LimpetError, match="leaf 'w': the ranges of its inputs are 'learned', and none are given"
    ):
        limpet.output_bounds(loss, PARAMS, HARDWARE, [X])
    with pytest.raises(limpet.LimpetError, match="batches: there is none"):
        limpet.input_ranges(loss, PARAMS, HARDWARE, [])
    with pytest.raises(limpet.LimpetError, match=r"of one batch, \[batch\]"):
        limpet.input_ranges(loss, PARAMS, HARDWARE, X)
    with pytest.raises(limpet.LimpetError, match="all that its products saw was 0"):
        limpet.input_ranges(loss, PARAMS, HARDWARE, [0 * X])
    with pytest.raises(limpet.LimpetError, match="method = 'best'"):
        limpet.input_ranges(loss, PARAMS, HARDWARE, [X], method="best")  # pyright: ignore[reportArgumentType]


def test_objectives_and_callbacks_take_ranges_that_are_trained(tmp_path):
    ranges, x = {"w": jnp.array([[1.0, 2.0]])}, X
    recipe = HARDWARE.on(PARAMS)
    given = with_ranges({"net": PARAMS, "ranges": ranges})
    noisy = limpet.with_mismatch(loss, recipe)
    assert float(noisy(PARAMS, KEY, x, ranges=ranges)) == pytest.approx(float(given), rel=1e-6)
    slopes = jax.grad(lambda r: noisy(PARAMS, KEY, x, ranges=r))(ranges)
    np.testing.assert_allclose(
        slopes["w"], gradient({"net": PARAMS, "ranges": ranges})["ranges"]["w"], rtol=1e-5, atol=1e-6
    )
    worst = limpet.objectives.worst_of(loss, recipe, draws=2)(PARAMS, KEY, x, ranges=ranges)
    assert float(worst) == pytest.approx(float(given), rel=1e-6)  # all chips are alike
    over = {"scales": [1], "chips": 2, "higher_is_better": False, "logdir": tmp_path}
    callback = limpet.MismatchCallback(PARAMS, HARDWARE, metric_fn=loss, eval_batch=x, audit=False, **over)
    with callback:
        found = callback.loss(loss)(PARAMS, 0, x, ranges=ranges)
        injected = limpet.products(lambda: loss(callback.inject(PARAMS, 0, ranges=ranges), x))()
        curve = callback.evaluate(0, PARAMS, ranges=ranges)["loss"]
    np.testing.assert_allclose([found, injected, *curve.values[0]], float(given), rtol=1e-6)
