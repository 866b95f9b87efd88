# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # From measurements to hardware
#
# A lab has measured the leak currents of the neurons of 24 dies. What do these measurements say of all dies that will ever be made, and is my network
# good enough on them? This page goes from the raw table to a verdict on which continuous integration can act.

# %%
import csv
import os
import tempfile
import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import limpet
from limpet.cli import main

plt.rcParams["figure.dpi"] = 150
os.chdir(tempfile.mkdtemp())  # for what is written here
warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
REDUCED = "LIMPET_REDUCED" in os.environ  # a short form, for tests
DIES, STEPS, CHIPS = (6, 100, 50) if REDUCED else (24, 500, 500)

# %% [markdown]
# ## The table
#
# Each die has 4 cores of 128 neurons. The leak of each neuron was set to 20, 50 and 100 pA, and measured. The table is simulated here, so that we know what is
# to be found: all currents are 30% too low; beyond that, a die as a whole is off by 8%, a core by 5%, a neuron by 15%, and by 3% anew each time that it is set
# (standard deviations of logarithms). In 40 rows the probe slipped, and the number is nonsense.

# %%
TRUE = {"chip": 0.08, "core": 0.05, "device": 0.15, "setting": 0.03}
rng = np.random.default_rng(0)
die, core, neuron, place = np.indices((DIES, 4, 128, 3)).reshape(4, -1)
nominal = np.array([20.0, 50.0, 100.0])[place]
logarithms = rng.normal(0, TRUE["chip"], DIES)[die] + rng.normal(0, TRUE["core"], (DIES, 4))[die, core]
logarithms += rng.normal(0, TRUE["device"], (DIES, 4, 128))[die, core, neuron]
measured = 0.7 * nominal * np.exp(logarithms + rng.normal(0, TRUE["setting"], die.size))
slips = rng.choice(die.size, 40, replace=False)
measured[slips] *= rng.uniform(5, 50, 40)
with open("dies.csv", "w", newline="") as file:
    rows, names = csv.writer(file), np.char.mod("D%02d", die + 1)
    rows.writerow(["die", "core", "neuron", "Iset [pA]", "Ileak [pA]"])
    rows.writerows(zip(names, core, neuron, nominal, measured.round(3), strict=True))

# %% [markdown]
# ## The fit
#
# Limpet calls a die *chip*, a neuron *device*, and what a device is set to *nominal*; `--column` says which title of the table means what. In a terminal:
#
# ```bash
# limpet fit dies.csv --column chip=die --column nominal=Iset --column measured=Ileak
# ```

# %%
titles = {"chip": "die", "nominal": "Iset", "measured": "Ileak"}
assert main(["fit", "dies.csv", *(f"--column={word}={title}" for word, title in titles.items())]) == 0

# %% [markdown]
# The warnings are worth more than the numbers. They name the rows that are farther off than all others make believable, and what these rows change: with them devices seem
# to follow a law of heavy tails, and what is anew at each setting seems thirty times as large as it is. So look at these rows, and where they are mistakes, leave
# them out: by `--robust`, or in Python:

# %%
fit = limpet.fit_measurements("dies.csv", columns=titles, robust=True)
leak = fit.parameters["Ileak"]
left_out = set(range(2, die.size + 2)) - set(leak.rows.line.tolist())
print("left out are the rows in which the probe slipped, and no others:", left_out == set((slips + 2).tolist()))
for component in leak.components:
    print(f"{component.level:8} true {TRUE[component.level]:.3f}   found {component}")

# %% [markdown]
# In brackets stand 95% intervals: with 24 dies, what dies have in common is known to about a third of itself; what neurons bring, of which there are thousands, to a percent.
#
# How does the spread depend on the set value? Whoever trains for a wrong law trains for other chips. Limpet compares laws by the probability of the measurements,
# averaged over all widths that a law may have (its *evidence*), and takes another than a Gaussian one in proportion to the set value at odds of 20 to 1 alone.

# %%
set_to, found, law = np.array([(at.nominal * 1e12, at.sigma, at.expected) for at in leak.by_set_value]).T
plt.figure(figsize=(5, 3))
plt.plot(set_to, found * set_to, "o", label="measured")
plt.plot([0, *set_to], [0, *law * set_to], label=f"{leak.kind}: in proportion")
plt.axhline((found * set_to).mean(), color="tab:gray", linestyle=":", label="additive: the same everywhere")
plt.xlabel("set value (pA)")
plt.ylabel("spread of devices (pA)")
plt.legend(fontsize="small")
plt.show()

# %% [markdown]
# ## The hardware
#
# `fit.hardware()` is what was found: the gain of all, what a die and what a core has in common, and what each neuron deviates by. `leaves` says which leaf of the network
# these currents are. `fit.configuration()` is the same as a file, which `limpet fit -o hardware.yaml` writes.

# %%
leaves = {"Ileak": "neurons/leak"}
hardware = fit.hardware(leaves)
print(hardware, fit.configuration(), sep="\n\n")

# %% [markdown]
# ## A network that leaks through those currents
#
# An input spike charges 512 neurons, and their potentials leak away, at 50 pA within some 20 ms. Each fires at the rate by which it exceeds its threshold, and from these
# rates a digital readout tells how long ago the spike was: 5 to 38 ms, in six steps of a factor 1.5. Each step of its training sees another chip of the fitted hardware.

# %%
neurons = {"leak": jnp.full(512, 50e-12), "threshold": jnp.tile(jnp.linspace(0.05, 0.95, 128), 4)}
params = {"neurons": neurons, "readout": {"kernel": jnp.zeros((512, 6)), "bias": jnp.zeros(6)}}


def logits(params, interval):
    potential = jnp.exp(-interval[:, None] * params["neurons"]["leak"] / 1e-12)
    rates = jax.nn.relu(potential - params["neurons"]["threshold"])
    return rates @ params["readout"]["kernel"] + params["readout"]["bias"]


def accuracy(params, batch):
    return (logits(params, batch[0]).argmax(axis=1) == batch[1]).mean()


def examples(seed, count):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, count)
    return jnp.float32(5e-3 * 1.5**labels * np.exp(rng.normal(0, 0.03, count))), jnp.int32(labels)


@jax.jit
def update(params, state, step, batch):
    def loss_fn(params):
        outputs = logits(callback.inject(params, step), batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(outputs, batch[1]).mean()

    updates, state = optimizer.update(jax.grad(loss_fn)(params), state)
    return optax.apply_updates(params, updates), state


trained = {"neurons": optax.set_to_zero(), "readout": optax.adam(optax.cosine_decay_schedule(0.03, STEPS))}
optimizer = optax.multi_transform(trained, {"neurons": "neurons", "readout": "readout"})
state, test_set, scales = optimizer.init(params), examples(0, 600), [0, 0.5, 1, 1.5, 2]
callback = limpet.MismatchCallback(
    params, hardware, metric_fn=accuracy, eval_batch=test_set, scales=scales, chips=CHIPS, every_steps=STEPS, logdir="runs/leak"
)  # fmt: skip
with callback:
    for step in range(STEPS):
        params, state = update(params, state, step, examples(1 + step, 256))
        callback(step, params)
    curve = callback.evaluate(STEPS, params)["accuracy"]

# %% [markdown]
# ## Virtual chips beside the measured dies
#
# Scale 1 is the strength that was measured. There the network is also looked at on the dies themselves, because a measured chip stands wherever a virtual one does; and on
# hardware of as much spread in which dies and cores have nothing in common: `levels=()`.

# %%
alone = fit.hardware(leaves, levels=())
independent = limpet.robustness_curve(accuracy, params, alone, scales=scales, chips=CHIPS, batch=test_set)
dies = [limpet.bench_chip("dies.csv", die, columns=titles, at="50 pA", leaves=leaves) for die in np.unique(names)]
on_dies = limpet.measure_chips(accuracy, params, dies, hardware, chips=CHIPS, batch=test_set)

figure, axes = plt.subplots(figsize=(7, 3.5))
axes.plot(np.ones(DIES), on_dies.values, "k_", markersize=16, zorder=5, label="the measured dies")
curve.plot(axes, label="dies and cores have something in common")
independent.plot(axes, label="each neuron on its own")
plt.show()
for name, assumed in (("each neuron on its own", alone), ("dies and cores", hardware)):
    print(f"{dies[2].name}, {name}: p = {dies[2].explained_by(assumed, params).leaves['neurons/leak'].p_value:.2g}")

# %% [markdown]
# Where each neuron is on its own, no chip ever fails at scale 1: 512 deviations average out. What a die has in common does not, and some of the measured dies
# do worse as well. `explained_by` says so of one die before any network is trained: p is the probability with which a chip of such hardware is as far out.
#
# ## Is it good enough?
#
# Of all dies, 90% shall reach an accuracy of 0.9. The curve stands in the log of the run, which is all that the gate needs. It passes if the lower end of the
# yield's 95% interval reaches what is asked, so that a lucky draw does not.

# %%
print(f"{(on_dies.values >= 0.9).sum()} of {DIES} measured dies reach 0.9")
for asked in ("0.9", "0.99"):
    gate = f"gate runs/leak --metric accuracy --scale 1 --target 0.9 --yield {asked}"
    print("exit code", main(gate.split()))

# %% [markdown]
# ## Where to go on
#
# - [Chips from the bench](../guides/bench.html): what a table may hold, what is found in it and how, and what is refused.
# - [Calibrating chips](calibrating_chips.html): a few digital numbers, fitted to each die, take away what a whole die has in common.
# - [Yield, intervals and a gate](yield_and_gate.html): how many chips a verdict needs.
