"""Flax nnx: selection by path and filter; deviated modules share state with the nominal one; the callback's loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import limpet


class Conductance(nnx.Variable):
    """A kind of variable of the user's own."""


class Net(nnx.Module):
    def __init__(self, rngs, extra=False):
        self.hidden = nnx.Linear(6, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(8, 8, rngs=rngs)])
        self.gain = Conductance(jnp.ones(8))
        self.head = nnx.Linear(8, 3, rngs=rngs) if not extra else nnx.LoRALinear(8, 3, lora_rank=2, rngs=rngs)

    def __call__(self, x):
        x = self.dropout(nnx.relu(self.norm(self.hidden(x)))) * self.gain[...]
        for block in self.blocks:
            x = nnx.relu(block(x))
        return self.head(x)


X = jax.random.normal(jax.random.key(1), (16, 6))
Y = jax.random.randint(jax.random.key(2), (16,), 0, 3)
KEY = jax.random.key(3, impl=limpet.fast)


@pytest.fixture
def net():
    return Net(nnx.Rngs(0))


def cross_entropy(net, batch=(X, Y)):
    return optax.softmax_cross_entropy_with_integer_labels(net(batch[0]), batch[1]).mean()


def on(net, *rules, **options):
    return limpet.Mismatch(limpet.prototype(net, *rules), limpet.Gaussian(0.1), **options)


def test_selection_by_path_and_by_filter(net):
    kernels = ("blocks/0/kernel", "head/kernel", "hidden/kernel")
    assert on(net, ("*/kernel", True)).paths == kernels
    assert on(net, (nnx.PathContains("kernel"), True)).paths == kernels
    assert on(net, (nnx.Param, True), ("*/bias", False), ("norm/*", False)).paths == kernels
    assert on(net, (Conductance, True)).paths == ("gain",)
    assert on(net, (lambda path, variable: "head" in path, True)).paths == ("head/bias", "head/kernel")
    # A glob never takes batch statistics along.
    assert not {"norm/mean", "norm/var", "gain"} & set(on(net, ("*", True)).paths)


@pytest.mark.parametrize("rule", [("*/karnel", True), (nnx.Cache, True), (nnx.RngState, True)])
def test_a_rule_that_matches_nothing_lists_what_there_is(net, rule):
    with pytest.raises(limpet.PrototypeError, match=r"matches no leaf; the paths are: .*hidden/kernel"):
        limpet.prototype(net, rule)


def test_selected_parameters_deviate_and_all_else_is_shared(net):
    mismatch = on(net, ("*/kernel", True))
    noisy = mismatch(KEY, net)
    expected = mismatch(KEY, {"hidden": {"kernel": net.hidden.kernel[...]}})["hidden"]["kernel"]
    assert np.array_equal(noisy.hidden.kernel[...], expected)
    assert np.array_equal(noisy.blocks[0].kernel[...], mismatch(KEY, net).blocks[0].kernel[...])
    assert noisy.hidden.kernel is not net.hidden.kernel
    assert noisy.norm.mean is net.norm.mean
    assert noisy.hidden.bias is net.hidden.bias


def test_state_flows_back_and_gradients_reach_the_nominal_parameters(net):
    mismatch = on(net, ("*/kernel", True), gradient="straight_through")
    traces = []

    @nnx.jit
    def step(net, number):
        traces.append(number)

        def loss(net):
            return cross_entropy(mismatch(jax.random.fold_in(KEY, number), net))

        value, grads = nnx.value_and_grad(loss)(net)
        return value, grads

    before = net.norm.mean[...]
    losses, grads = zip(*(step(net, jnp.int32(number)) for number in range(3)), strict=True)
    assert len(traces) == 1
    assert len({float(loss) for loss in losses}) == 3
    assert int(net.dropout.rngs.count[...]) == 3
    assert not np.allclose(net.norm.mean[...], before)
    assert float(jnp.abs(grads[0]["hidden"]["kernel"][...]).max()) > 0
    # The gradient is that at the deviated values, in a network of the same state.
    again = Net(nnx.Rngs(0))
    reference = nnx.grad(cross_entropy)(mismatch(jax.random.fold_in(KEY, 0), again))
    np.testing.assert_allclose(
        grads[0]["hidden"]["kernel"][...], reference["hidden"]["kernel"][...], rtol=1e-4, atol=1e-6
    )


def test_the_functional_way_works_too(net):
    mismatch = on(net, ("*/kernel", True))
    graph, params, rest = nnx.split(net, nnx.Param, ...)

    @jax.jit
    def loss(params, rest, key):
        whole = nnx.merge(graph, mismatch(key, params), rest, copy=True)
        return cross_entropy(whole), nnx.state(whole, nnx.Not(nnx.Param))

    (value, state), grads = jax.value_and_grad(loss, has_aux=True)(params, rest, KEY)
    nnx.update(net, state)
    assert int(net.dropout.rngs.count[...]) == 1
    assert np.isfinite(value)
    assert float(jnp.abs(grads["head"]["kernel"][...]).max()) > 0


def config(tmp_path, **changes):
    return limpet.Config.model_validate(
        {
            "dynamic": {"sigma": 0.1, "targets": ["*/kernel"]},
            "robustness": {"sigmas": [0.0, 0.2], "chips": 8, "every_steps": 2},
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

    update(net, jnp.int32(0))
    with pytest.raises(limpet.MismatchNotApplied, match="hidden/kernel"):
        callback(0, net, {"loss": 0.0})


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


def test_a_captured_module_is_refused(net):
    mismatch = on(net, ("*/kernel", True))
    with pytest.raises(limpet.LimpetError, match=r"captured by a transformed function.*norm/mean.*as an argument"):
        jax.jit(lambda key: cross_entropy(mismatch(key, net)))(KEY)


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

    chip = limpet.freeze(model, config)
    optimizer = nnx.Optimizer(model, optax.adam(0.05), wrt=nnx.Param)
    with limpet.MismatchCallback(model, config, metric_fn=loss_fn, eval_batch=(x, y)) as callback:

        @nnx.jit
        def update(model, optimizer, step):
            loss, grads = nnx.value_and_grad(lambda model: loss_fn(callback.inject(model, step), (x, y)))(model)
            optimizer.update(model, grads)
            return loss

        before = loss_fn(chip, (x, y))
        for step in range(60):
            loss = update(model, optimizer, jnp.int32(step))
            callback(step, model, {"loss": loss})
        assert loss < 0.3 * before
        assert loss_fn(limpet.freeze(model, config), (x, y)) < loss
        assert 5 not in callback.curves["loss_fn"].chip_numbers
    with pytest.raises(limpet.LimpetError, match="kernel: these values are a virtual chip's already"):
        limpet.MismatchCallback(chip, config, metric_fn=loss_fn)
