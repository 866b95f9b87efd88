# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A first robust network
#
# In two minutes: a convolutional classifier of digits in Flax nnx, trained with and without the mismatch of a crossbar, and measured on 200
# virtual chips that neither has seen. At the end we look at the worst chip, and at what costs it most.

# %%
import os
import tempfile

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import limpet

plt.rcParams["figure.dpi"] = 150
os.chdir(tempfile.mkdtemp())  # for what is written here
REDUCED = "LIMPET_REDUCED" in os.environ  # a short form, for tests
STEPS, CHIPS = (60, 40) if REDUCED else (1500, 200)

# %% [markdown]
# ## Data and network
#
# 1,797 digits of 8x8 pixels; a quarter of them, in random order, to test on.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
images = jnp.float32(images[order] / 16).reshape(-1, 8, 8, 1)
labels = jnp.int32(labels[order])
training_set, test_set = (images[:1347], labels[:1347]), (images[1347:], labels[1347:])


class Classifier(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.hidden = nnx.Linear(4 * 4 * 8, 32, rngs=rngs)
        self.out = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        x = nnx.max_pool(x, (2, 2), (2, 2)).reshape(len(x), -1)
        return self.out(nnx.relu(self.hidden(x)))


def loss_fn(model, batch):
    return optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]).mean()


def accuracy(model, batch):
    model.eval()  # a metric must not measure with the batch statistics of the test set
    return (model(batch[0]).argmax(axis=-1) == batch[1]).mean()


# %% [markdown]
# ## What a chip is
#
# All kernels lie on a crossbar whose values are off by 40%, each by its own; biases and batch normalisation are digital.

# %%
hardware = limpet.Hardware(crossbar=limpet.Part("*/kernel", limpet.Gaussian(sigma=0.4)))
print(hardware)
print(hardware.on(Classifier(nnx.Rngs(0))))

# %% [markdown]
# ## Training, twice
#
# The loop is the same for both. Without mismatch, `training={}` says that training redraws nothing; measured are the same chips.


# %%
def trained(training):
    model = Classifier(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param)
    callback = limpet.MismatchCallback(  # 1: what deviates, what is redrawn, what is measured
        model, hardware, training=training, metric_fn=accuracy, eval_batch=test_set,
        scales=[0, 0.5, 1, 1.5], chips=CHIPS, every_steps=500, logdir=f"runs/first/{'mismatch' if training else 'standard'}",
    )  # fmt: skip

    @nnx.jit
    def update(model, optimizer, step, batch):
        loss, grads = nnx.value_and_grad(lambda model: loss_fn(callback.inject(model, step), batch))(
            model
        )  # 2: the draw
        optimizer.update(model, grads)
        return loss

    rng = np.random.default_rng(0)
    with callback:
        for step in range(STEPS):
            chosen = rng.integers(0, len(training_set[1]), 64)
            loss = update(model, optimizer, step, (training_set[0][chosen], training_set[1][chosen]))
            callback(step, model, {"loss": loss})  # 3: log and evaluations
        return model, callback.evaluate(STEPS, model)["accuracy"]


standard, standard_curve = trained({})
mismatch, mismatch_curve = trained({"dynamic": {}})
print(standard_curve)
print(mismatch_curve)

# %%
figure, axes = plt.subplots(figsize=(7, 3.5))
standard_curve.plot(axes, label="trained without mismatch")
mismatch_curve.plot(axes, label="trained with it")
plt.show()

# %% [markdown]
# Both lines are means over the same chips, so the difference can be taken chip by chip. Its interval is narrow:

# %%
print(limpet.compare(standard_curve, mismatch_curve))

# %% [markdown]
# ## The worst chip
#
# Of the network that was trained without mismatch, at sigma 0.4. A chip has a number, by which it can be drawn again, here as a module of its
# own:

# %%
number = standard_curve.worst_chip(0.4)
chip = limpet.freeze(standard, hardware, seed=standard_curve.seed, chip=number)
print(f"chip {number}: {accuracy(chip, test_set):.3f}, nominal {accuracy(standard, test_set):.3f}")

# %% [markdown]
# [Which leaf costs what](../guides/sensitivity.html), on average over chips? Each row lets one leaf alone deviate:

# %%
costs = limpet.sensitivity(accuracy, standard, hardware, chips=CHIPS, batch=test_set)
print(costs)
costs.plot()
plt.show()

# %% [markdown]
# ## Where to go on
#
# - `tensorboard --logdir runs/first` shows both runs in the *Robustness* tab.
# - [How to choose](../how-to-choose.html): the hardware of your own chip.
# - [Calibrating chips](calibrating_chips.html): what is possible beyond training.
