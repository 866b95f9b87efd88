"""Flax nnx: selection by path and filter; deviated modules share state with the nominal one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from nnx_network import KEY, Conductance, Net, cross_entropy, on

import limpet


@pytest.fixture
def net():
    return Net(nnx.Rngs(0))


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


def test_a_captured_module_is_refused(net):
    mismatch = on(net, ("*/kernel", True))
    with pytest.raises(limpet.LimpetError, match=r"captured by a transformed function.*norm/mean.*as an argument"):
        jax.jit(lambda key: cross_entropy(mismatch(key, net)))(KEY)


def test_a_structure_that_changed_is_refused(net):
    mismatch = on(net, ("*/kernel", True))
    with pytest.raises(limpet.PrototypeError, match=r"does not describe: head/lora/lora_a"):
        mismatch(KEY, Net(nnx.Rngs(0), extra=True))
    net.blocks = nnx.List([])
    with pytest.raises(limpet.PrototypeError, match=r"no blocks/0/kernel.*structure has changed"):
        mismatch(KEY, net)
