"""Spoken digits in a layer of LIF neurons of Rockpool, whose weights, time constants and thresholds are the chip's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import limpet
from spoken_digits import CHANNELS, FRAME, HOW_TO_GET_IT, RATE, load

from ._task import COSTLY, Batch, Task, by_gradients, cross_entropy

CLASSES, NEURONS, VALIDATION = 10, 64, 400
NEURONS_SHARE = 0.5
"""How far neurons are off, relative to how far weights are."""


def build_network(seed: int) -> Any:
    """Filter bank to LIF neurons to readout, whose biases are digital and can be set."""
    from limpet.leaves.rockpool import quietly

    with quietly():
        from rockpool.nn.combinators import Sequential
        from rockpool.nn.modules import LIFJax, LinearJax

        np.random.seed(seed)  # Rockpool initialises from NumPy's global generator
        hidden = LIFJax(NEURONS, tau_mem=np.full(NEURONS, 0.1), tau_syn=np.full(NEURONS, 0.05), dt=FRAME / RATE)
        return Sequential(
            LinearJax((CHANNELS, NEURONS), has_bias=False), hidden, LinearJax((NEURONS, CLASSES), has_bias=True)
        )


def overlaid(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """A nested dict in which the values of another replace those of the same path."""
    new = {
        name: overlaid(base[name], value) if isinstance(value, Mapping) else value for name, value in top.items()
    }  # fmt: skip
    return {**base, **new}


def as_arrays(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), tree)


def relative(sigma: float) -> limpet.Hardware:
    neurons = ["*/tau_mem", "*/tau_syn", "*/threshold"]
    return limpet.Hardware(
        weights=limpet.Part("*/weight", limpet.Gaussian(sigma=sigma)),
        # A time constant is set by a current, whose transistor's threshold is off: log-normal, and never below 0.
        neurons=limpet.Part(neurons, limpet.LogNormal(sigma=NEURONS_SHARE * sigma)),
    )


def spoken(data: Path | None) -> Task:
    """The task.

    Raises:
        LimpetError: there are no recordings.
    """
    if data is None:
        raise limpet.LimpetError(f"spoken-digits needs recordings, --data: {HOW_TO_GET_IT}")
    examples, test = load(data)
    order = np.random.default_rng([0, 0]).permutation(len(examples[1]))
    features, labels = (jnp.asarray(part[order]) for part in examples)
    net = build_network(0)
    whole = as_arrays(limpet.attributes(net))

    def initialised(seed: int) -> tuple[Any, Any]:
        own = build_network(seed)
        return as_arrays(own.parameters("weights")), whole

    def loss_fn(tree: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
        out, _, _ = net.set_attributes(tree).reset_state()(batch[0])
        logits = out.mean(axis=1)
        return cross_entropy(logits, batch[1]), logits

    def loss_alone(tree: Any, batch: Batch) -> jax.Array:
        return loss_fn(tree, batch)[0]

    def accuracy(tree: Any, batch: Batch) -> jax.Array:
        return (loss_fn(tree, batch)[1].argmax(axis=-1) == batch[1]).mean()

    return Task(
        title=f"Spoken digits, {NEURONS} LIF neurons",
        training_set=(features[:-VALIDATION], labels[:-VALIDATION]),
        validation_set=(features[-VALIDATION:], labels[-VALIDATION:]),
        test_set=(jnp.asarray(test[0]), jnp.asarray(test[1])),
        initialised=initialised,
        joined=lambda params, kept: overlaid(kept, params),
        loss_fn=loss_fn,
        accuracy=accuracy,
        model=whole,
        relative=relative,
        sigma=0.3,
        seconds=8.0,
        rate=1e-2,  # of 3e-3 and 1e-2, by forward noise on the validation set
        seeds=3,
        target=0.85,
        ways=COSTLY,
        calibrations={"biases": by_gradients(loss_alone, accuracy, steps=30)},
    )
