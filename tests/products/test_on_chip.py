"""`limpet.on_chip`: the chip of a curve, as a function; measured chips with the hardware's products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet import Converter, Part, Product

RNG = np.random.default_rng(0)
PARAMS = {"w": jnp.asarray(RNG.standard_normal((12, 6)), jnp.float32), "v": jnp.ones((6, 3)) / 6}
X = jnp.asarray(RNG.standard_normal((5, 12)), jnp.float32)
PRODUCT = Product(
    Converter(bits=6, range="dynamic"), Converter(bits=7, bound=6.0, noise=0.05, gain=0.1, offset=0.05), read_noise=0.02
)
WEIGHTS = limpet.Chain((limpet.Gaussian(0.1), limpet.Drift(exponent=0.05, spread=0.3), limpet.ReadNoise(spread=0.05)))
HARDWARE = limpet.Hardware(
    crossbar=Part("w", WEIGHTS, product=PRODUCT, array=limpet.Array(rows=6)), last=Part("v", limpet.Gaussian(0.1))
)
HALF, DAY = limpet.Condition(0.5), limpet.Condition(time="1 day", read=3)


def network(params, x):
    return ((x @ params["w"]) @ params["v"]).sum()


@pytest.mark.parametrize("condition", [HALF, DAY])
def test_it_is_the_chip_of_a_curve(condition):
    over = {"scales": [0.5]} if condition is HALF else {"times": ["1 day"]}
    base = limpet.Condition() if condition is HALF else limpet.Condition(read=3)
    chips = limpet.Chips(4, seed=3)
    curve = limpet.robustness_curve(network, PARAMS, HARDWARE, **over, condition=base, chips=chips, batch=X)
    recipe = HARDWARE.on(PARAMS)

    @jax.jit
    def on(chip, x):
        return limpet.on_chip(network, recipe, chip=chip, seed=3, condition=condition)(PARAMS, x)

    # A value at the edge of a code may fall to its other side; there is none here.
    np.testing.assert_allclose([on(chip, X) for chip in range(4)], curve.values[0], rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(jax.vmap(on, (0, None))(jnp.arange(4), X), curve.values[0], rtol=2e-6, atol=2e-6)
    assert np.ptp(curve.values[0]) > 0.01


def test_it_is_differentiated_and_repeats_its_noise_by_read():
    @jax.jit
    def at(read):
        on_chip = limpet.on_chip(network, HARDWARE, chip=1, condition=limpet.Condition(read=read))
        return jax.value_and_grad(on_chip)(PARAMS, X)

    (first, slopes), (again, _), (other, _) = (at(jnp.uint32(read)) for read in (0, 0, 1))
    assert first == again != other
    assert np.abs(slopes["w"]).max() > 0
    assert limpet.on_chip(network, HARDWARE, chip=1)(PARAMS, x=X) == pytest.approx(float(first), rel=1e-6)


def test_a_measured_chip_has_its_weights_and_the_converters_of_the_hardware():
    chip = limpet.MeasuredChip("A3", values={"w": 1.1 * np.asarray(PARAMS["w"]), "v": np.asarray(PARAMS["v"])})
    found = limpet.on_chip(network, HARDWARE, chip=chip)(PARAMS, X)
    table = limpet.measure_chips(network, PARAMS, [chip], HARDWARE, chips=2, batch=X, higher_is_better=True)
    assert table.of("A3") == pytest.approx(float(found), rel=1e-6)
    assert table.nominal == pytest.approx(float(network(PARAMS, X)), rel=1e-6)
    quiet = limpet.on_chip(network, HARDWARE, chip=chip, condition=0.0)(PARAMS, X)  # neither noise, gain nor offset
    converters = Product(PRODUCT.inputs, Converter(bits=7, bound=6.0))
    recipe = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1), array=limpet.Array(rows=6), product=converters)
    scaled = limpet.MeasuredChip("A3", values={"w": chip.values["w"]})

    def expected(params, x):
        return (network_of_w(params, x) @ PARAMS["v"]).sum()

    def network_of_w(params, x):
        return x @ params["w"]

    same = limpet.on_chip(expected, recipe, chip=scaled)({"w": PARAMS["w"]}, X)
    assert float(quiet) == pytest.approx(float(same), rel=1e-6)
    assert float(quiet) != pytest.approx(float(1.1 * network(PARAMS, X)), rel=1e-6)
    with pytest.warns(UserWarning, match="v deviate on this hardware and were not measured"):
        limpet.on_chip(network, HARDWARE, chip=scaled)(PARAMS, X)


def test_what_is_no_function_hardware_or_chip_is_refused():
    with pytest.raises(limpet.LimpetError, match="fn = 3"):
        limpet.on_chip(3, HARDWARE)  # pyright: ignore[reportArgumentType]
    with pytest.raises(limpet.LimpetError, match="mismatch = None"):
        limpet.on_chip(network, None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(limpet.LimpetError, match="chip = -1"):
        limpet.on_chip(network, HARDWARE, chip=-1)


def test_a_measured_chip_says_nothing_of_the_devices_of_a_weight():
    product = Product(Converter(bits=6, range="dynamic"), Converter(bits=7, bound=6.0), cells="apart")
    hardware = limpet.Hardware(crossbar=Part("w", limpet.Crossbar(limpet.Gaussian(0.1)), product=product))
    chip = limpet.MeasuredChip("A3", values={"w": np.asarray(PARAMS["w"])})
    with pytest.raises(limpet.LimpetError, match=r"the devices of leaf 'w' are converted apart \(Product.cells\)"):
        limpet.on_chip(lambda params, x: x @ params["w"], hardware, chip=chip)({"w": PARAMS["w"]}, X)
