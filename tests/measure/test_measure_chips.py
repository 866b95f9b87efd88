"""Measured chips beside virtual ones."""

import flax.nnx as nnx
import jax.numpy as jnp
import numpy as np
import pytest

import limpet

PARAMS = {"w": jnp.ones(50)}
HARDWARE = limpet.Hardware(weights=limpet.Part("*", limpet.Gaussian(sigma=0.1)))


def metrics(tree, offset):
    return {"error": ((tree["w"] - offset) ** 2).mean(), "mean": tree["w"].mean()}


BETTER = {"error": False, "mean": True}


def test_measured_chips_stand_beside_virtual_ones():
    virtual = limpet.MeasuredChip("v17", {"w": limpet.freeze(PARAMS, HARDWARE, seed=5, chip=17)["w"]})
    bad = limpet.MeasuredChip("bad", {"w": np.full(50, 3.0)})
    chips = limpet.Chips(40, seed=5)
    found = limpet.measure_chips_by_metric(
        metrics, PARAMS, [virtual, bad], HARDWARE, chips=chips, batch=jnp.float32(1), higher_is_better=BETTER
    )
    error, mean = found["error"], found["mean"]
    curve = limpet.robustness_curves(
        metrics, PARAMS, HARDWARE, scales=[1], chips=chips, batch=jnp.float32(1), higher_is_better=BETTER
    )["error"]
    assert np.array_equal(error.virtual.values, curve.values)
    assert error.of("v17") == pytest.approx(curve.values[0, 17], rel=1e-5)
    assert error.rank("v17") == pytest.approx((curve.values[0] >= curve.values[0, 17]).mean(), abs=1.5 / 40)
    assert (error.nominal, error.of("bad"), error.rank("bad")) == (0, 4, 0)
    assert mean.rank("bad") == 1
    lines = str(error).splitlines()
    assert lines[0] == "error on 2 measured chips, beside 40 virtual ones of seed 5 (lower is better)"
    assert lines[4].split() == ["bad", "4", "0%"]
    with pytest.raises(limpet.MetricError, match="no measured chip 'x'; there are v17, bad"):
        error.of("x")


def test_measured_chips_alone_and_a_chip_that_fails():
    def ratio(tree, _):
        return 1 / tree["w"].min()

    chips = [
        limpet.MeasuredChip("dead", {"w": np.zeros(50)}),
        limpet.MeasuredChip("two", factors={"w": np.full(50, 2)}),
    ]
    alone = limpet.measure_chips(ratio, PARAMS, chips)
    assert alone.values.tolist() == [np.inf, 0.5]
    with pytest.raises(limpet.MetricError, match="no virtual chips to rank among"):
        alone.rank("two")
    beside = limpet.measure_chips(ratio, PARAMS, chips, HARDWARE, chips=10)
    assert (beside.rank("dead"), beside.rank("two")) == (0, 0)


def test_an_nnx_module_is_measured_with_its_state():
    class Net(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(4, 3, use_bias=False, rngs=nnx.Rngs(0))
            self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.norm(self.linear(x))

    def output(model, batch):
        model.eval()
        return model(batch).sum()

    chip = limpet.MeasuredChip("A", {"linear/kernel": np.ones((4, 3))})
    found = limpet.measure_chips(output, Net(), [chip], batch=jnp.ones((2, 4)))
    assert found.values == pytest.approx([24], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"measured_chips": []}, r"measured_chips = \[\]: give a list"),
        ({"measured_chips": [17]}, r"measured_chips\[0\] = 17: allowed is a limpet.MeasuredChip"),
        ({"measured_chips": [limpet.MeasuredChip("A", {"w": np.ones(50)})] * 2}, "A stands there twice"),
        (
            {"measured_chips": [limpet.MeasuredChip("A", {"w": np.ones(50)})], "chips": 5},
            "chips, condition: .* of a hardware",
        ),
        ({"measured_chips": [limpet.MeasuredChip("A", {"w": np.ones(3)})]}, r"values of shape \(3,\) for leaf 'w'"),
        (
            {"measured_chips": [limpet.MeasuredChip("A", {"w": np.ones(50)})], "higher_is_better": {"errors": True}},
            "higher_is_better names errors; the metrics are error, mean",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, said):
    with pytest.raises(limpet.LimpetError, match=said):
        limpet.measure_chips_by_metric(
            metrics, PARAMS, batch=jnp.float32(1), **{"higher_is_better": BETTER, **arguments}
        )
