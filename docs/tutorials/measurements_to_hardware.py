# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # From measurements to hardware
#
# A bench measures the leak currents of a few chips. What do they say about all chips, and does a hardware that was fitted to them explain how networks
# do on the measured ones?
#
# The table is simulated here, so that we know the truth: three levels, a die of 15%, cores of 5% and devices of 20%, all log-normal.

# %%
import csv
import os
import tempfile

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import limpet

plt.rcParams["figure.dpi"] = 150
os.chdir(tempfile.mkdtemp())  # for what is written here
REDUCED = "LIMPET_REDUCED" in os.environ  # a short form, for tests
VIRTUAL = 50 if REDUCED else 500

rng, device = np.random.default_rng(0), np.arange(6 * 128)
chip, core, neuron = device // 128, device // 32 % 4, device % 32
logarithms = rng.normal(0, 0.15, 6)[chip] + rng.normal(0, 0.05, 24)[device // 32] + rng.normal(0, 0.2, 768)
with open("measurements.csv", "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["chip", "core", "neuron", "parameter", "nominal [pA]", "measured [pA]"])
    rows.writerows(zip(chip, core, neuron, ["leak"] * 768, np.full(768, 2.0), 2.0 * np.exp(logarithms), strict=True))
print(open("measurements.csv").read()[:160])

# %% [markdown]
# ## The fit
#
# Five distributions are fitted by maximum likelihood, and the one of lowest AIC is taken; then the spread is divided among the levels of the table.

# %%
fit = limpet.fit_measurements("measurements.csv")
print(fit.hardware())
for component in fit.parameters["leak"].components:
    print(component.level, component)

# %% [markdown]
# With six dies, what dies have in common is known badly, and the interval says so. The distribution is known well: 768 devices.
#
# In a terminal, `limpet fit measurements.csv -o hardware.yaml --report bench.html` writes the configuration, and a page with histograms and
# quantiles.
#
# ## Measured chips beside virtual ones
#
# A measured chip stands wherever a virtual one does. The metric here is the mean firing rate of a population that leaks through those currents.

# %%
params = {"neurons": {"leak": jnp.full(128, 2e-12)}}


def rate(tree, _):
    return (1e-12 / tree["neurons"]["leak"]).mean() * 100


chips = [limpet.bench_chip("measurements.csv", number, name=f"chip {number}") for number in "012345"]
print(limpet.measure_chips(rate, params, chips, fit.hardware(), chips=VIRTUAL))

# %% [markdown]
# The measured chips lie much farther apart than virtual ones. The fitted hardware draws each device by itself, with nothing in common; but a population
# averages devices out, and keeps what a die has in common. So say what a die has in common, with the components found above:

# %%
level = {component.level: component.sigma for component in fit.parameters["leak"].components}
leveled = limpet.Hardware(
    leak=limpet.Part(
        "neurons/leak",
        limpet.Chain(
            (
                limpet.Shared(limpet.LogNormal(sigma=level["chip"]), across="chip"),
                limpet.Shared(limpet.LogNormal(sigma=level["core"]), groups=tuple(np.arange(128) // 32), name="core"),
                limpet.LogNormal(sigma=level["neuron"]),
            )
        ),
    )
)
independent = limpet.robustness_curve(rate, params, fit.hardware(), scales=[1], chips=VIRTUAL, higher_is_better=True)
shared = limpet.robustness_curve(rate, params, leveled, scales=[1], chips=VIRTUAL, higher_is_better=True)
measured = limpet.measure_chips(rate, params, chips, leveled, chips=VIRTUAL)
print(measured)

# %%
plt.figure(figsize=(7, 3))
plt.hist(independent.values[0], bins=30, alpha=0.6, label="drawn device by device")
plt.hist(shared.values[0], bins=30, alpha=0.6, label="with what dies and cores have in common")
for value in measured.values:
    plt.axvline(value, color="black", linewidth=1)
plt.xlabel("rate; lines: the measured chips")
plt.legend()
plt.show()

# %% [markdown]
# ## Which chip, which leaf?
#
# `explained_by` asks leaf by leaf whether a hardware explains a chip:

# %%
print(chips[1].explained_by(fit.hardware(), params))

# %% [markdown]
# ## Where to go on
#
# - [Chips from the bench](../guides/bench.html): what a table may hold, and what is refused.
# - [Dies, cores and limits](../guides/dies.html): levels in a configuration.
# - Train for the leveled hardware; then [calibrate](calibrating_chips.html): against what a whole die has in common, training alone does little.
