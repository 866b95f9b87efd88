"""Objects in place of samna's, the software of the chip's makers."""

import importlib
from collections import defaultdict
from types import SimpleNamespace

import pytest


@pytest.fixture
def samna_s_classes(monkeypatch):
    """Classes that have the fields of samna's."""

    def neuron():
        return SimpleNamespace(synapses=[], destinations=[], latch_so_dc=False)

    def core():
        return SimpleNamespace(
            neurons=[neuron() for _ in range(256)], parameters=defaultdict(lambda: SimpleNamespace(fine_value=None))
        )

    classes = SimpleNamespace(
        Dynapse2Configuration=lambda: SimpleNamespace(
            chips=[SimpleNamespace(cores=[core() for _ in range(4)]) for _ in range(4)]
        ),
        Dynapse2Synapse=SimpleNamespace,
        Dynapse2Destination=SimpleNamespace,
        Dendrite=int,
    )
    for name in ("from_spec", "allocator"):
        module = importlib.import_module(f"rockpool.devices.dynapse.hardware.config.{name}")
        monkeypatch.setattr(module, "samna", SimpleNamespace(dynapse2=classes))
        monkeypatch.setattr(module, "SAMNA_AVAILABLE", True, raising=False)
