"""Data that are held out, and data that are not: told by what examples hold, whatever their form."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet.calibration._calibration_data import require_held_out, sample_count, stacked_batches

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 3, 400)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
X = {
    "two columns": GENERATOR.standard_normal((400, 2)),
    "images": GENERATOR.integers(0, 256, (400, 4, 4, 1)).astype(np.uint8),
    "spikes": (GENERATOR.random((400, 30, 4)) < 0.3),
    "spectra": GENERATOR.standard_normal((400, 5)) + 1j * GENERATOR.standard_normal((400, 5)),
    "one column": GENERATOR.standard_normal((400, 1)),
}


def stacked(*arrays, size=100):
    count = len(arrays[0])
    batches = [tuple(array[i : i + size] for array in arrays) for i in range(0, count, size)]
    return stacked_batches(batches, len(batches))


def verdict(batch, batches):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            require_held_out(batch, batches)
        except limpet.MetricError as error:
            return str(error).split(":")[1].split(",")[0].split(" are among")[0].strip()
    return str(caught[0].message).split(":")[1].split(" are among")[0].strip() if caught else "held out"


@pytest.mark.parametrize("kind", X)
@pytest.mark.parametrize(
    "labels", [LABELS, ONE_HOT, LABELS[:, None].astype(np.float64)], ids=["whole", "one-hot", "column"]
)
def test_examples_that_were_held_out_are_accepted_whatever_their_labels(kind, labels):
    x = X[kind]
    for used in (LABELS, ONE_HOT):
        assert verdict((x[200:], labels[200:]), stacked(x[:200], used[:200])) == "held out"
        assert verdict({"a": labels[200:], "b": x[200:]}, stacked(x[:200], used[:200])) == "held out"


@pytest.mark.parametrize("kind", X)
@pytest.mark.parametrize(
    "labels", [LABELS, ONE_HOT, LABELS[:, None].astype(np.float64)], ids=["whole", "one-hot", "column"]
)
def test_examples_that_were_not_are_refused_whatever_their_labels(kind, labels):
    x = X[kind]
    for used in (LABELS, ONE_HOT):
        batches = stacked(x[:200], used[:200])
        assert verdict((x[50:100], labels[50:100]), batches) == "all of its 50 examples"
        assert verdict({"a": labels[50:100], "b": x[50:100]}, batches) == "all of its 50 examples"
        assert verdict((x[150:250], labels[150:250]), batches) == "50 of its 100 examples"


TYPES = [np.float64, np.float32, np.float16, jnp.bfloat16]
PAIRS = [(one, other) for one in TYPES for other in TYPES if {one, other} != {np.float16, jnp.bfloat16}]
"""But for the two types of which neither holds the other's numbers, which are then rounded twice."""


@pytest.mark.parametrize(("dtype", "other"), PAIRS)
def test_a_leak_is_seen_across_types(dtype, other):
    x = GENERATOR.standard_normal((100, 8))
    for rows in (slice(20, 60), slice(80, 90)):
        leak = x[rows].astype(dtype)
        assert verdict((leak, LABELS[rows]), stacked(x.astype(other), LABELS[:100], size=50)).startswith("all of its")
    assert verdict((x[:40].astype(dtype), LABELS[:40]), stacked(x[50:].astype(other), LABELS[50:100], size=25)) == (
        "held out"
    )


def test_whole_numbers_are_those_of_floating_point():
    pixels = X["images"]
    assert verdict((pixels[:10].astype(np.float32), LABELS[:10]), stacked(pixels, LABELS)) == "all of its 10 examples"
    assert verdict((X["spikes"][:10].astype(np.int8), LABELS[:10]), stacked(X["spikes"], LABELS)) == (
        "all of its 10 examples"
    )


def test_flattened_examples_are_the_same_examples():
    assert verdict((X["images"][:30].reshape(30, 16), LABELS[:30]), stacked(X["images"], LABELS)) == (
        "all of its 30 examples"
    )


def test_few_values_are_alike_by_chance_and_say_nothing():
    """Labels alone, a truth table of 16 rows, a single count: any two data sets share all of their examples."""
    table = GENERATOR.integers(0, 2, (400, 4))
    assert verdict((table[200:], LABELS[200:]), stacked(table[:200], LABELS[:200])) == "held out"
    assert verdict((LABELS[200:],), stacked(LABELS[:200])) == "held out"
    counts = GENERATOR.poisson(40, (400, 1)).astype(np.float32)
    assert verdict((counts[200:], LABELS[200:]), stacked(counts[:200], LABELS[:200])) == "held out"
    other_inputs = GENERATOR.standard_normal((200, 7))  # only the labels can be compared
    assert verdict((other_inputs, LABELS[200:]), stacked(X["two columns"][:200], LABELS[:200])) == "held out"


def test_batches_that_are_gone_over_again_hold_the_same_examples():
    x = X["two columns"][:8]
    batches = stacked_batches([(x, ONE_HOT[:8])] * 5, 5)
    assert sample_count(batches) == 8
    assert verdict((x[:4], ONE_HOT[:4]), batches) == "all of its 4 examples"
    assert verdict((X["two columns"][8:20], ONE_HOT[8:20]), batches) == "held out"


def test_examples_are_counted_by_all_that_they_hold():
    """It counted three, the labels, where these have more numbers than the inputs."""
    assert sample_count(stacked(X["two columns"], ONE_HOT)) == 400
    assert (
        sample_count(stacked(np.repeat(X["two columns"][:100], 4, axis=0), np.repeat(ONE_HOT[:100], 4, axis=0))) == 100
    )


def test_what_holds_no_examples_is_left_out():
    batches = stacked(X["two columns"][:200], ONE_HOT[:200])
    leak = (X["two columns"][:50], jax.random.key(0), np.float32(0.5), np.arange(7.0), None)
    assert verdict(leak, batches) == "all of its 50 examples"
    assert verdict(None, batches) == "held out"
