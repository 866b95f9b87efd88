# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Yield, intervals and a gate
#
# A network goes onto chips that nobody has seen yet. How many of them will be good enough, how sure can we be, and how does continuous integration keep
# a change from making it worse?

# %%
import os
import tempfile

import jax
import matplotlib.pyplot as plt
import numpy as np

import limpet
from limpet.cli import main

plt.rcParams["figure.dpi"] = 150
os.chdir(tempfile.mkdtemp())  # for what is written here
REDUCED = "LIMPET_REDUCED" in os.environ  # a short form, for tests
CHIPS = 100 if REDUCED else 1000

# %% [markdown]
# A linear classifier will do; its weights deviate by 15%.

# %%
x = jax.random.normal(jax.random.key(0), (1000, 16))
params = {"w": jax.random.normal(jax.random.key(1), (16, 4))}
labels = (x @ params["w"]).argmax(axis=1)
hardware = limpet.Hardware(crossbar=limpet.Part("w", limpet.Gaussian(sigma=0.15)))


def accuracy(params, batch):
    return ((batch[0] @ params["w"]).argmax(axis=1) == batch[1]).mean()


def measured(chips, seed=0):
    chips = limpet.Chips(chips, seed=seed)
    return limpet.robustness_curve(accuracy, params, hardware, scales=[0, 1], chips=chips, batch=(x, labels))


curve = measured(CHIPS)
print(curve)

# %% [markdown]
# ## The yield over the target
#
# For every target there is a yield. The band is its 95% interval, exact for the number of chips drawn.

# %%
targets = np.linspace(0.84, 0.95, 60)
yields = [curve.yield_at(float(target))[1] for target in targets]
plt.figure(figsize=(7, 3.2))
plt.plot(targets, [each.fraction for each in yields])
plt.fill_between(targets, [each.low for each in yields], [each.high for each in yields], alpha=0.3)
plt.xlabel("target accuracy")
plt.ylabel("yield")
plt.show()

# %% [markdown]
# ## How sure?
#
# Twenty people draw 30 chips each, and twenty draw 300. Each asks for the yield over 0.875:

# %%
figure, both = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
for axes, chips in zip(both, (30, 300), strict=True):
    for person in range(20):
        found = measured(chips, seed=100 + person).yield_at(0.875)[1]
        axes.plot([person, person], [found.low, found.high], color="tab:blue")
        axes.plot(person, found.fraction, "o", color="tab:blue", markersize=3)
    axes.axhline(curve.yield_at(0.875)[1].fraction, color="tab:orange", linewidth=1)
    axes.set_title(f"{chips} chips")
both[0].set_ylabel("yield over 0.875")
plt.show()

# %% [markdown]
# What a single number hides: of 30 chips, anything between the ends of a bar may be true. To claim a yield of 95%, at least 59 chips must be drawn,
# and all must pass; [Measuring](../concepts/measuring.html#how-many-chips) has the table.
#
# Let Limpet draw until it is precise enough:

# %%
precise = limpet.robustness_curve(
    accuracy, params, hardware, scales=[1], chips=limpet.Precision(0.03, of="yield", target=0.875), batch=(x, labels)
)
print(precise.values.shape[1], "chips;", precise.yield_at(0.875)[0])

# %% [markdown]
# ## A gate
#
# In continuous integration a script measures, saves the curve, and asks the gate. It passes if the *lower end* of the interval reaches the yield, so a
# lucky draw does not pass, and fails if the upper end does not, so an unlucky one does not fail. The exit code is 0 if it passes, 1 if it fails, and 3 if
# the chips measured are too few to tell; here the command is called from Python.

# %%
curve.save("curve.npz")
for asked in (0.9, 0.99):
    code = main(["gate", "curve.npz", "--sigma", "0.15", "--target", "0.875", "--yield", str(asked)])
    print("exit code", code)

# %% [markdown]
# ## Is the change worse?
#
# The old network and the new one, on the same chips. What a lucky chip gives to both cancels, so that a difference of a tenth of a point is seen:

# %%
old, params = curve, {"w": params["w"] + 0.02 * jax.random.normal(jax.random.key(5), (16, 4))}
new = measured(CHIPS)
print(limpet.compare(old, new))

# %% [markdown]
# A workflow, then, has two lines:
#
# ```bash
# python measure.py                                            # saves curve.npz
# limpet gate curve.npz --sigma 0.15 --target 0.875 --yield 0.9
# ```
