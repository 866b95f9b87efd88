"""The attack: equal to Rockpool's, within its box, compiled once for any number of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import LIFJax, LinearJax
from rockpool.training import adversarial_jax
from shared_work import BATCH, KERNEL_MISMATCH, PARAMS

import limpet
from limpet.objectives._attack import sign_ascent

KEY = jax.random.PRNGKey(3)
ZETA, START, NOISE = 0.1, 0.02, 0.05


@pytest.fixture(scope="module")
def network():
    """A spiking network, its weights, and a batch."""
    np.random.seed(0)
    net = Sequential(LinearJax((5, 8)), LIFJax((8,), tau_mem=20e-3), LinearJax((8, 3)))
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), net.parameters("weights"))
    inputs = (jax.random.uniform(jax.random.key(0), (4, 8, 5)) < 0.4).astype(jnp.float32)
    return net, params, (inputs, jax.nn.one_hot(jnp.array([0, 1, 2, 0]), 3))


def task(target, outputs):
    return ((target - outputs.mean(axis=1)) ** 2).mean()


def apart(reference, outputs):
    return ((reference - outputs) ** 2).mean()


def rockpool_normals(key, params):
    """Rockpool's numbers: one split for each leaf, in the order of flattening; and the key that is left."""
    leaves, structure = jax.tree.flatten(params)
    normals = []
    for leaf in leaves:
        key, own = jax.random.split(key)
        normals.append(jax.random.normal(own, leaf.shape))
    return structure.unflatten(normals), key


def by_path(tree):
    return {"0_LinearJax/weight": tree["0_LinearJax"]["weight"], "2_LinearJax/weight": tree["2_LinearJax"]["weight"]}


def with_weights(values):
    return {
        "0_LinearJax": {"weight": values["0_LinearJax/weight"]},
        "2_LinearJax": {"weight": values["2_LinearJax/weight"]},
    }


def outputs_of(net, tree, inputs):
    return net.set_attributes(tree).reset_state()(inputs)[0]


@pytest.mark.long
def test_the_attack_is_that_of_rockpool(network):
    net, params, (inputs, _) = network
    reference = outputs_of(net, params, inputs)
    leaves, structure = jax.tree.flatten(params)
    expected, _ = adversarial_jax.pga_attack(
        params_flattened=leaves, net=net, rng_key=KEY, inputs=inputs, net_out_original=reference,
        tree_def_params=structure, mismatch_loss=apart, attack_steps=3, mismatch_level=ZETA, initial_std=START,
    )  # fmt: skip
    normals, _ = rockpool_normals(KEY, params)
    attacked = jax.jit(
        lambda weights: sign_ascent(
            lambda weights: apart(reference, outputs_of(net, with_weights(weights), inputs)),
            weights, {path: START * value for path, value in by_path(normals).items()}, ZETA, 3, projected=False,
        )
    )(by_path(params))  # fmt: skip
    for path, value in by_path(structure.unflatten(expected)).items():
        np.testing.assert_allclose(attacked[path], value, rtol=1e-5, atol=1e-7)
        assert not np.array_equal(value, by_path(params)[path])


@pytest.mark.long
def test_the_loss_and_its_gradient_are_those_of_rockpool(network, monkeypatch):
    """With Rockpool's own numbers in place of those that follow from leaf paths. (Without a random start the first
    gradient is 0, up to rounding, and its signs are arbitrary.)"""
    net, params, (inputs, target) = network
    weight = 0.25
    expected, slopes = jax.value_and_grad(adversarial_jax.adversarial_loss)(
        params, net, inputs, target, task, apart, KEY, noisy_forward_std=NOISE, initial_std=START,
        mismatch_level=ZETA, beta_robustness=weight, attack_steps=3,
    )  # fmt: skip
    forward, key = rockpool_normals(KEY, params)
    normals, _ = rockpool_normals(key, params)
    monkeypatch.setattr(
        "limpet.objectives._adversarial.random_start",
        lambda key, weights, spread: {path: spread * value for path, value in by_path(normals).items()},
    )

    def noisy(params):
        # Rockpool's noise has no gradient of its own: straight through.
        return jax.tree.map(
            lambda leaf, normal: leaf + jax.lax.stop_gradient(jnp.abs(leaf) * NOISE * normal), params, forward
        )

    def loss_fn(tree, inputs, target):
        outputs = outputs_of(net, tree, inputs)
        return task(target, outputs), outputs

    mismatch = limpet.Mismatch(jax.tree.map(lambda leaf: True, params), limpet.Gaussian(sigma=0.1))
    monkeypatch.setattr("limpet.objectives._step_chips.StepChips.tree", lambda chips, params, name: noisy(params))
    objective = limpet.objectives.adversarial(
        loss_fn, mismatch, zeta=ZETA, weight=weight, steps=3, initial_std=START, divergence=apart, projected=False
    )  # fmt: skip
    value, found = jax.jit(jax.value_and_grad(objective))(params, jax.random.key(0), inputs, target)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for path, slope in by_path(slopes).items():
        np.testing.assert_allclose(by_path(found)[path], slope, rtol=1e-3, atol=1e-4 * np.abs(slope).max())


def logits(params, x):
    outputs = jnp.tanh(x @ params["kernel"] + params["bias"])
    return -jax.nn.log_softmax(outputs)[:, 0].mean(), outputs


@pytest.mark.parametrize("spread", [1e-3, 0.5])
def test_what_is_attacked_stays_in_its_box(spread):
    weights = {"kernel": PARAMS["kernel"]}
    start = {"kernel": spread * jax.random.normal(jax.random.key(0), (4, 3))}
    attacked = sign_ascent(lambda weights: logits(PARAMS | weights, BATCH)[0], weights, start, ZETA, 3, projected=True)
    moved = np.abs(attacked["kernel"] - weights["kernel"])
    assert (moved <= ZETA * np.abs(weights["kernel"]) * (1 + 1e-4)).all()
    assert (moved > 0).all()
    slope = jax.grad(lambda weights: sign_ascent(lambda w: 0.0, weights, start, ZETA, 1, True)["kernel"].sum())(weights)
    np.testing.assert_allclose(
        slope["kernel"], 1 + jnp.sign(weights["kernel"]) * jnp.clip(start["kernel"], -ZETA, ZETA), rtol=1e-5
    )


def test_strengths_are_traced_and_the_attack_hurts_more_the_larger_it_is():
    traces = []

    @jax.jit
    def attacked(params, zeta, weight):
        traces.append(zeta)
        objective = limpet.objectives.adversarial(
            logits, KERNEL_MISMATCH, zeta=zeta, weight=weight, steps=4, noise=False
        )
        return objective(params, jax.random.key(0), BATCH)

    values = [float(attacked(PARAMS, zeta, weight)) for zeta, weight in ((0.1, 0.0), (0.1, 1.0), (0.4, 1.0))]
    assert len(traces) == 1
    np.testing.assert_allclose(values[0], logits(PARAMS, BATCH)[0], rtol=1e-6)
    assert values[0] < values[1] < values[2]


def test_the_steps_of_the_attack_are_one_loop():
    """The program has as many operations for ten steps as for two: it compiles as fast."""

    def operations(steps):
        objective = limpet.objectives.adversarial(logits, KERNEL_MISMATCH, steps=steps)
        return str(jax.make_jaxpr(jax.grad(objective))(PARAMS, jax.random.key(0), BATCH)).count("\n")

    assert operations(10) == operations(2)
