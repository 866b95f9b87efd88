# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Calibrating chips
#
# What an analog chip holds, it holds once it was programmed. Biases are often digital, and can be set for each chip. Here 100 chips are off by 70%, and
# 138 biases are fitted to each: all chips together, in seconds.

# %%
import os
import tempfile

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import limpet

plt.rcParams["figure.dpi"] = 150
os.chdir(tempfile.mkdtemp())  # for what is written here
REDUCED = "LIMPET_REDUCED" in os.environ  # a short form, for tests
STEPS, CHIPS = (200, 20) if REDUCED else (16_000, 100)

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
images, labels = jnp.float32(images[order] / 16), jnp.int32(labels[order])
training_set, test_set = (images[:1347], labels[:1347]), (images[1347:], labels[1347:])


def initialised(seed, sizes=(64, 64, 64, 10)):
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    return {
        f"layer{i}": {"kernel": jax.random.normal(k, (m, n)) / m**0.5, "bias": jnp.zeros(n)}
        for i, (k, m, n) in enumerate(zip(keys, sizes, sizes[1:], strict=False))
    }


def logits(params, x):
    for layer in ("layer0", "layer1"):
        x = jax.nn.relu(x @ params[layer]["kernel"] + params[layer]["bias"])
    return x @ params["layer2"]["kernel"] + params["layer2"]["bias"]


def loss_fn(params, batch):
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, batch[0]), batch[1]).mean()


def accuracy(params, batch):
    return (logits(params, batch[0]).argmax(axis=-1) == batch[1]).mean()


# %% [markdown]
# ## Trained under mismatch
#
# Calibration is no substitute for training: it goes on where training ends. One fresh draw a step, in one compiled loop.

# %%
hardware = limpet.Hardware(crossbar=limpet.Part("*/kernel", limpet.Gaussian(sigma=0.7)))
start = initialised(0)
injection = limpet.Injection(start, hardware)
optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, STEPS))


@jax.jit
def trained(params, state):
    def update(carry, step):
        params, state = carry
        chosen = jax.random.randint(jax.random.fold_in(jax.random.key(1), step), (64,), 0, 1347)
        batch = (training_set[0][chosen], training_set[1][chosen])
        grads = jax.grad(lambda p: loss_fn(injection.inject(p, step), batch))(params)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(update, (params, state), jnp.arange(STEPS))[0][0]


params = trained(start, optimizer.init(start))
print(f"nominal accuracy {accuracy(params, test_set):.3f}")

# %% [markdown]
# ## Fitted to each chip
#
# Every chip is shown the training set, its biases move by 200 steps of Adam, and it is measured on the test set, which calibration does not see.

# %%
batches = [(training_set[0][i : i + 64], training_set[1][i : i + 64]) for i in range(0, 1280, 64)]
fit = limpet.GradientFit(loss_fn, batches, trainable=["*/bias"], steps=200, optimizer=optax.adam(1e-2))
chips = limpet.Chips(CHIPS, seed=1000)
calibration = limpet.calibrate(fit, params, hardware, metric_fn=accuracy, batch=test_set, chips=chips, scales=[1])
print(calibration)

# %%
before, after = calibration.before.values[0], calibration.after.values[0]
order = np.argsort(before)
plt.figure(figsize=(7, 3.2))
plt.vlines(range(CHIPS), 100 * before[order], 100 * after[order], color="tab:gray", linewidth=0.7)
plt.plot(100 * before[order], "o", markersize=3, label="as programmed")
plt.plot(100 * after[order], "s", markersize=3, label="biases fitted")
plt.xlabel("chips, in the order of what they reach as programmed")
plt.ylabel("accuracy, %")
plt.legend()
plt.show()

# %% [markdown]
# The worst chips gain most. The yield over 95%, before and after, on the same chips and so with the interval of the difference:

# %%
print(*calibration.yields(target=0.95), sep="\n")

# %% [markdown]
# ## Onto the chip
#
# What each chip was given, by leaf path:

# %%
calibration.save_chip("chip_17.npz", 17)
with np.load("chip_17.npz") as values:
    print({path: values[path].shape for path in values.files})

# %% [markdown]
# ## How much does it take?
#
# Fewer samples and fewer steps do most of it:

# %%
for samples, steps in ((1, 20), (3, 50), (20, 200)):
    less = limpet.GradientFit(loss_fn, batches[:samples], trainable=["*/bias"], steps=steps)
    short = limpet.calibrate(less, params, hardware, metric_fn=accuracy, batch=test_set, chips=chips, scales=[1])
    mean, low = short.after.mean()[0], short.after.quantile(0.05)[0]
    print(f"{64 * samples:5} samples, {steps:3} steps: mean {100 * mean:.1f}, 5th percentile {100 * low:.1f}")

# %% [markdown]
# [Calibrating each chip](../guides/calibration.html) says what else can be fitted: gains, batch statistics without labels, bias currents of a DynapSim, and chips
# from the bench. [What helps how much](../evidence.html) compares calibration with ways of training.
