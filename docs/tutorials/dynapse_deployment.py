# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # DYNAP-SE2, from training to deployment
#
# A tight spiking network, one neuron for each of four classes, is trained in Rockpool with and without mismatch, deployed to a virtual DYNAP-SE2, and
# measured on chips whose synapses and bias currents deviate.

# %%
import logging
import os
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import limpet

with warnings.catch_warnings():  # Rockpool reports every back end that is not installed
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from rockpool.devices.dynapse import DynapSim
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LinearJax
logging.disable(logging.NOTSET)

plt.rcParams["figure.dpi"] = 150
REDUCED = "LIMPET_REDUCED" in os.environ  # a short form, for tests
STEPS, CHIPS = (15, 10) if REDUCED else (600, 100)

# %% [markdown]
# ## The task
#
# Frozen noise: each class is a fixed random pattern of spikes on 60 channels, jittered by spikes that are deleted and added.

# %%
rng = np.random.default_rng(0)
patterns = rng.random((4, 100, 60)) < 0.04  # classes, time steps, channels


def sample(generator, count):
    labels = generator.integers(0, 4, count)
    kept = patterns[labels] & (generator.random((count, 100, 60)) > 0.2)
    return jnp.float32(kept | (generator.random(kept.shape) < 0.01)), jnp.int32(labels)


test_set = sample(np.random.default_rng(1), 200)

np.random.seed(0)  # Rockpool initialises from NumPy's global generator
net = Sequential(LinearJax((60, 4), has_bias=False), DynapSim((4, 4), has_rec=True))


def logits(tree, rasters):
    _, _, recorded = net.set_attributes(tree).reset_state()(rasters, record=True)
    return recorded["1_DynapSim"]["isyn"].mean(axis=1) * 1e9


def loss_fn(tree, batch):
    return optax.softmax_cross_entropy_with_integer_labels(logits(tree, batch[0]), batch[1]).mean()


def accuracy(tree, batch):
    return (logits(tree, batch[0]).argmax(axis=-1) == batch[1]).mean()


# %% [markdown]
# ## The hardware
#
# Weights deviate by 10%, and so do the bias currents, capacitances and constants of the chip; currents below threshold are log-normal.

# %%
hardware = limpet.Hardware(
    weights=limpet.Part("dynapse-weights", limpet.Gaussian(sigma=0.1)),
    currents=limpet.Part("dynapse-frozen", limpet.LogNormal(sigma=0.1)),
)
print(hardware.on(net))

# %% [markdown]
# ## Training
#
# Gradients of a DynapSim are about 1e-7, hence Adam's `eps`; now and then a chip hardly works, hence updates of one length, and steps that are skipped if
# they are not finite. Training is at 2.5 times the chip's mismatch, with a fresh chip at every step.


# %%
def trained(scale):
    params = jax.tree.map(jnp.float32, net.parameters())
    injection = limpet.Injection(net, hardware, scale=scale)
    optimizer = optax.apply_if_finite(optax.chain(optax.normalize_by_update_norm(), optax.adam(0.02, eps=1e-16)), 100)
    state = optimizer.init(params)

    @jax.jit
    def update(params, state, step, batch):
        grads = jax.grad(lambda p: loss_fn(injection.inject(p, step), batch))(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    generator = np.random.default_rng(2)
    for step in range(STEPS):
        params, state = update(params, state, step, sample(generator, 32))
    return params


networks = {"standard": trained(0.0), "mismatch": trained(2.5)}
for name, params in networks.items():
    whole = limpet.attributes(net.set_attributes(params))  # with the currents, which deviate as well
    print(
        name, limpet.robustness_curve(accuracy, whole, hardware.on(net), scales=[0, 1, 2], chips=CHIPS, batch=test_set)
    )

# %% [markdown]
# ## Deployment
#
# On the chip a weight is a sum of some of four currents that its core shares, bias currents come in the steps of a generator, and a neuron has 64 synapses.
# `deploy` maps, prunes where that is asked for, quantises and rounds, and says what each stage costs:

# %%
deployments = {
    name: limpet.dynapse.deploy(net, params, prune=True, metric_fn=accuracy, batch=test_set)
    for name, params in networks.items()
}
print(deployments["mismatch"].report)

# %% [markdown]
# A neuron has 60 inputs here and 4 recurrent ones, so nothing is pruned. Once a network is deployed, mismatch falls where it falls on silicon: each synapse has
# a transistor of its own for each of its branches.

# %%
scales = (0.0, 1.0, 2.0, 3.0)
curves = {
    name: deployment.curve(accuracy, hardware, scales=scales, chips=limpet.Chips(CHIPS, seed=77), batch=test_set)
    for name, deployment in deployments.items()
}
figure, axes = plt.subplots(figsize=(7, 3.5))
for name, curve in curves.items():
    print(name, curve, sep="\n")
    curve.plot(axes, label=f"{name}, deployed")
plt.show()

# %% [markdown]
# What costs how much? Quantisation alone, mismatch alone, and both:

# %%
print(deployments["mismatch"].costs(accuracy, hardware, batch=test_set, chips=CHIPS))

# %% [markdown]
# ## To the chip
#
# `deployment.specification()` is what Rockpool's `config_from_specification` takes, and `deployment.configuration()` calls it where samna is
# installed.

# %%
specification = deployments["mismatch"].specification()
print(sorted(specification))

# %% [markdown]
# Larger networks must be pruned, and that is what training without mismatch does not survive: [From Rockpool to DYNAP-SE2](../guides/dynapse.html).
