"""Rockpool is imported once, quietly; JAX gets eight virtual devices, and compiles quickly."""

import gc
import logging
import os
import sys
import warnings

import pytest
from quick import FLAGS

# Programs of tests run for milliseconds; to compile them as those of users are takes four times as long. What tests
# start inherits this. `XLA_FLAGS= python -m pytest` compiles as users do.
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
# Tests run on all cores side by side: threads for products of small matrices would wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Tests start a hundred processes. What these import, Python compiles once, not in each of them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection():
    """Imports that take long, where tests are collected; the process that hands tests to others collects none."""
    import jax
    from hypothesis import settings

    jax.config.update("jax_num_cpu_devices", 8)
    # Rockpool copies a whole module at every attribute that it sets, array by array. Arrays of JAX cannot be changed:
    # the same one will do, which takes a third off the tests that build its networks.
    type(jax.numpy.zeros(())).__deepcopy__ = lambda self, memo: self
    settings.register_profile("limpet", database=None, derandomize=True, deadline=None)
    settings.load_profile("limpet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        import rockpool.devices.dynapse
        import rockpool.nn.modules
        import rockpool.training.adversarial_jax
        import rockpool.transform.mismatch  # noqa: F401

        logging.disable(logging.NOTSET)
    # What was imported is no garbage. To look through it again and again takes a twentieth of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """On a machine that is busy, compiling takes long, which would be said where tests look for silence."""
    monkeypatch.setattr("limpet.measure._progress.PATIENCE", 3600.0)


PICTURES = {}


@pytest.fixture(autouse=True)
def pictures(monkeypatch):
    """To draw the picture of an evaluation takes longer than all else that is logged: one of each kind is drawn."""
    from limpet.tensorboard import _writer

    def first_of_its_kind(drawable, height_in_inches, drawn=_writer.drawn):
        kind = type(drawable), getattr(drawable, "axis", None)
        if kind not in PICTURES:
            PICTURES[kind] = drawn(drawable, height_in_inches)
        return PICTURES[kind]

    monkeypatch.setattr(_writer, "drawn", first_of_its_kind)


@pytest.fixture(scope="session")
def dynapse_net():
    """Linear (3 to 4), then a recurrent DynapSim of 4 neurons."""
    import numpy as np
    from rockpool.devices.dynapse import DynapSim
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LinearJax

    np.random.seed(0)
    return Sequential(LinearJax((3, 4), has_bias=False), DynapSim((4, 4), has_rec=True))


def pytest_sessionfinish():
    """Loops of tests that were bad on purpose are nobody's, who would have to be told when Python exits."""
    if (audits := sys.modules.get("limpet.auditing._listening")) is not None:
        audits.OPEN.clear()
