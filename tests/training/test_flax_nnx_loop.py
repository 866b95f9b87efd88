"""Flax nnx in a training loop: the callback, the audit, sensitivity and wrapped losses take modules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from nnx_network import KEY, Net, X, Y, cross_entropy, on

import limpet


@pytest.fixture
def net():
    return Net(nnx.Rngs(0))


def config(tmp_path, **changes):
    return limpet.Config.model_validate(
        {
            "hardware": {"kernels": {"leaves": "*/kernel", "sigma": 0.1}},
            "training": {"dynamic": {}},
            "robustness": {"scales": [0.0, 2.0], "chips": 8, "every_steps": 2},
            "tensorboard": {"logdir": tmp_path},
        }
        | changes
    )


def accuracy(net, batch):
    net.eval()
    return (net(batch[0]).argmax(axis=-1) == batch[1]).mean()


def test_three_lines_in_an_nnx_loop(net, tmp_path):
    optimizer = nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)
    callback = limpet.MismatchCallback(net, config(tmp_path), metric_fn=accuracy, eval_batch=(X, Y))
    traces = []

    @nnx.jit
    def update(net, optimizer, step):
        traces.append(step)
        loss, grads = nnx.value_and_grad(lambda net: cross_entropy(callback.inject(net, step)))(net)
        optimizer.update(net, grads)
        return loss

    with callback:
        for step in range(4):
            loss = update(net, optimizer, jnp.int32(step))
            callback(step, net, {"loss": loss})
    assert len(traces) == 1
    assert int(net.dropout.rngs.count[...]) == 4
    curve = callback.curves["accuracy"]
    assert curve.values.shape == (2, 8)
    # The logged curve is that of the network after step 2; the final one can be measured anew, and equals its chips.
    mismatch = on(net, ("*/kernel", True))
    final = limpet.robustness_curve(accuracy, net, mismatch, sigmas=[0.2], chips=8, batch=(X, Y))
    chip = limpet.freeze(net, mismatch.with_sigma(0.2), chip=5)
    assert chip.norm.mean is not net.norm.mean
    assert accuracy(chip, (X, Y)) == pytest.approx(final.values[0, 5])
    assert not net.dropout.deterministic


def test_a_draw_that_the_loss_does_not_see_is_an_error(net, tmp_path):
    callback = limpet.MismatchCallback(net, config(tmp_path), metric_fn=accuracy, eval_batch=(X, Y))

    @nnx.jit
    def update(net, step):
        def loss(net):
            callback.inject(net, step)
            return cross_entropy(net)

        return nnx.grad(loss)(net)

    with pytest.raises(limpet.MismatchNotApplied, match="hidden/kernel"):
        update(net, jnp.int32(0))


def test_audit_sensitivity_and_wrapped_losses_take_modules(net):
    mismatch = on(net, ("*/kernel", True))
    report = limpet.audit(lambda net, x: cross_entropy(net), net, mismatch, X)
    assert [leaf.path for leaf in report.leaves] == list(mismatch.paths)
    assert all(leaf.reaches_loss for leaf in report.leaves)
    found = limpet.sensitivity(accuracy, net, mismatch, chips=4, batch=(X, Y), gradient_of=cross_entropy)
    assert found.groups == mismatch.paths
    noisy = limpet.with_mismatch(lambda net, batch: cross_entropy(net, batch), mismatch)
    value = nnx.jit(noisy)(net, KEY, (X, Y))
    assert int(net.dropout.rngs.count[...]) == 1
    np.testing.assert_allclose(value, cross_entropy(mismatch(KEY, Net(nnx.Rngs(0)))), rtol=1e-5)


def test_a_structure_that_changed_is_refused(net, tmp_path):
    callback = limpet.MismatchCallback(net, config(tmp_path), metric_fn=accuracy, eval_batch=(X, Y))
    grown = Net(nnx.Rngs(0), extra=True)
    with pytest.raises(limpet.PrototypeError, match=r"does not describe: head/lora/lora_a"):
        callback.inject(grown, 0)
    net.blocks = nnx.List([])
    with pytest.raises(limpet.PrototypeError, match=r"no blocks/0/kernel.*structure has changed"):
        callback.inject(net, 0)


def test_fine_tuning_to_one_chip_by_configuration(tmp_path):
    """The chip is a constant factor on what is trained, for a module as for every other model."""
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    config = limpet.Config.model_validate(
        {
            "hardware": {"crossbar": {"leaves": "kernel", "sigma": 0.3}},
            "training": {"frozen": {"chip": 5}},
            "robustness": {"scales": [1.0], "chips": 8, "every_steps": 50, "higher_is_better": False},
            "tensorboard": {"logdir": tmp_path},
        }
    )
    x, y = jax.random.normal(jax.random.key(0), (16, 3)), jnp.ones((16, 2))

    def loss_fn(model, batch):
        return ((model(batch[0]) - batch[1]) ** 2).mean()

    chip = config.freeze(model)
    optimizer = nnx.Optimizer(model, optax.adam(0.05), wrt=nnx.Param)
    with limpet.MismatchCallback(model, config, metric_fn=loss_fn, eval_batch=(x, y)) as callback:

        @nnx.jit
        def update(model, optimizer, step):
            loss, grads = nnx.value_and_grad(lambda model: loss_fn(callback.inject(model, step), (x, y)))(model)
            optimizer.update(model, grads)
            return loss

        loss = before = loss_fn(chip, (x, y))
        for step in range(60):
            loss = update(model, optimizer, jnp.int32(step))
            callback(step, model, {"loss": loss})
        assert loss < 0.3 * before
        assert loss_fn(config.freeze(model), (x, y)) < loss
        assert 5 not in callback.curves["loss_fn"].chip_numbers
    with pytest.raises(limpet.LimpetError, match="kernel: these values are a virtual chip's already"):
        limpet.MismatchCallback(chip, config, metric_fn=loss_fn)


class Tied(nnx.Module):
    """Two layers of one kernel."""

    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(3, 3, rngs=rngs), nnx.Linear(3, 3, rngs=rngs)
        self.second.kernel = self.first.kernel

    def __call__(self, x):
        return self.second(nnx.tanh(self.first(x)))


def test_a_parameter_of_two_layers_is_one_leaf_trained_and_measured(tmp_path):
    net, x = Tied(nnx.Rngs(0)), jnp.ones((2, 3))

    def loss(model, x):
        return (model(x) ** 2).mean()

    def by_hand(tree, x):
        return ((jnp.tanh(x @ tree["first"]["kernel"]) @ tree["first"]["kernel"]) ** 2).mean()

    hardware = limpet.Hardware(kernels=limpet.Part("*/kernel", limpet.Gaussian(sigma=0.1)))
    settings = {"scales": [0, 1], "chips": 4, "higher_is_better": False}
    callback = limpet.MismatchCallback(
        net, hardware, metric_fn=loss, eval_batch=x, every_steps=1, logdir=tmp_path, **settings
    )

    @nnx.jit
    def gradient(model, step):
        return nnx.grad(lambda model: loss(callback.inject(model, step), x))(model)

    with callback:
        for step in range(2):
            gradient(net, step)
            callback(step, net, {})
    tree = {"first": {"kernel": net.first.kernel.get_value()}}
    expected = limpet.robustness_curve(by_hand, tree, hardware, batch=x, **settings)
    np.testing.assert_allclose(callback.curves["loss"].values, expected.values, rtol=1e-5)
    assert limpet.sensitivity(loss, net, hardware, chips=4, batch=x, higher_is_better=False).groups == ("first/kernel",)
