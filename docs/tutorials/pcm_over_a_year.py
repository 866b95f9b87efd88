# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # PCM accuracy over a year
#
# Phase-change memory holds a weight as the difference of two conductances. Programming them misses the target, reading them is noisy, and they
# drift: as a power of the time since programming, each device with an exponent of its own. How accurate is a network after a second, a day, a year,
# and what can be done about it?

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import limpet

plt.rcParams["figure.dpi"] = 150
REDUCED = "LIMPET_REDUCED" in os.environ  # a short form, for tests
STEPS, CHIPS = (60, 20) if REDUCED else (6000, 100)

# %% [markdown]
# ## The chip
#
# A preset is a chip that others have measured. This one is of a million devices at 25 microsiemens; its numbers are IBM's.

# %%
chip = limpet.preset("pcm-nandakumar2019", leaves="*/kernel")
compensated = limpet.preset("pcm-nandakumar2019", leaves="*/kernel", drift_compensation=True)
print(chip)

# %% [markdown]
# `limpet presets pcm-nandakumar2019` shows all of it. Drift compensation reads the array with a known input, and multiplies what a layer gives by
# how much less it is than at first: one digital factor a layer.
#
# What becomes of ten weights on one chip:

# %%
weights = {"layer/kernel": jnp.linspace(0.1, 1.0, 10)[None]}
recipe, key = limpet.preset("pcm-nandakumar2019", leaves="*").on(weights), limpet.virtual_chip(seed=0, chip=0)
times = np.geomspace(1.0, 3.15e7, 60)
values = jax.vmap(lambda time: recipe(key, weights, limpet.Condition(time=time))["layer/kernel"][0])(jnp.float32(times))
plt.figure(figsize=(7, 3))
plt.semilogx(times, values)
plt.xticks([1, 3600, 86400, 2.6e6, 3.15e7], ["1 s", "1 hour", "1 day", "1 month", "1 year"])
plt.ylabel("weight")
plt.show()

# %% [markdown]
# ## A network, trained with and without

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
images, labels = jnp.float32(images[order] / 16), jnp.int32(labels[order])
training_set, test_set = (images[:1347], labels[:1347]), (images[1347:], labels[1347:])


def initialised(key):
    keys = jax.random.split(key)
    return {
        "hidden": {"kernel": jax.random.normal(keys[0], (64, 32)) / 8, "bias": jnp.zeros(32)},
        "out": {"kernel": jax.random.normal(keys[1], (32, 10)) / 32**0.5, "bias": jnp.zeros(10)},
    }


def logits(params, x):
    hidden = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return hidden @ params["out"]["kernel"] + params["out"]["bias"]


def loss_fn(params, batch):
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, batch[0]), batch[1]).mean()


def accuracy(params, batch):
    return (logits(params, batch[0]).argmax(axis=-1) == batch[1]).mean()


optimizer, mismatch = optax.adam(3e-3), chip.on(initialised(jax.random.key(0)))


@jax.jit
def trained(params, scale):
    """Trained in one compiled loop; the scale may be traced, so both networks are trained by one program."""
    noisy_loss = limpet.with_mismatch(loss_fn, mismatch, condition=scale)

    def update(carry, step):
        params, state = carry
        key = jax.random.fold_in(jax.random.key(1), step)
        chosen = jax.random.randint(key, (64,), 0, 1347)
        grads = jax.grad(noisy_loss)(
            params, jax.random.fold_in(key, 1), (training_set[0][chosen], training_set[1][chosen])
        )
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(update, (params, optimizer.init(params)), jnp.arange(STEPS))[0][0]


# %% [markdown]
# A scale of 3 is three times the chip's own programming noise; 0 leaves the weights as they are but for what is not random.

# %%
start = initialised(jax.random.key(0))
networks = {"standard": trained(start, 0.0), "trained for it": trained(start, 3.0)}

# %% [markdown]
# ## A second to a year
#
# A curve goes over times in place of strengths. Each chip is programmed once and followed: it keeps the exponents of its devices.

# %%
over = ["1 s", "1 hour", "1 day", "1 month", "1 year"]
curves = {
    (name, hardware is compensated): limpet.robustness_curve(
        accuracy, params, hardware, times=over, chips=CHIPS, batch=test_set
    )
    for name, params in networks.items()
    for hardware in (chip, compensated)
}
for (name, is_compensated), curve in curves.items():
    print(f"{name}{', drift compensated' if is_compensated else ''}")
    print(curve, end="\n\n")

# %%
plt.figure(figsize=(7, 3.5))
for (name, is_compensated), curve in curves.items():
    colour = "tab:blue" if name == "standard" else "tab:green"
    plt.plot(over, 100 * curve.mean(), color=colour, linestyle="-" if is_compensated else "--", marker="o",
             label=f"{name}{', compensated' if is_compensated else ''}")  # fmt: skip
plt.ylabel("mean accuracy, %")
plt.legend()
plt.show()

# %% [markdown]
# Training alone does not hold against drift, and compensation alone leaves the programming errors: the two together hold for a year. The whole
# script, with its configuration: `examples/digits_pcm.py`.
#
# **What this is not.** Line resistance, converters and temperature are not in it; aihwkit and CrossSim model some of these
# ([Limpet beside others](../comparison.html)).
