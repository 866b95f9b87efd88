"""Deviations by name: those of the registry, and one's own by module and class."""

from dataclasses import dataclass

import numpy as np
import pytest

import limpet
from limpet.deviations._kinds import DEVIATIONS, described, deviation_class, kind_of, label


class Outer:
    @dataclass(frozen=True)
    class Inner(limpet.Deviation):
        table: tuple[float, ...] = (0.1, 0.2)
        inner: limpet.Deviation = limpet.Gaussian(0.1)  # noqa: RUF009 - a frozen one
        count: int = 3
        function: object = np.linalg.norm

        def deviate(self, draw, value, strength):
            return value


def test_registered_names_and_classes_are_one_to_one():
    for kind, cls in DEVIATIONS.items():
        assert deviation_class(kind) is cls
        assert getattr(limpet, cls.__name__) is cls
    assert len(set(DEVIATIONS.values())) == len(DEVIATIONS)


@pytest.mark.parametrize("kind", ["limpet:Gaussian", "limpet.Gaussian", "limpet.deviations._gaussian:Gaussian"])
def test_a_class_of_one_s_own_is_found_by_module_and_name(kind):
    assert deviation_class(kind) is limpet.Gaussian


def test_nested_classes_are_found_too(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, Outer.__module__, sys.modules[__name__])
    kind = kind_of(Outer.Inner())
    assert kind.endswith(":Outer.Inner")
    assert deviation_class(kind) is Outer.Inner


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("gausian", r"'gausian': is no deviation: allowed are additive, .*gaussian, .*, and a class of your own"),
        ("no.such.module:Own", r"'no.such.module:Own': cannot be imported \(ModuleNotFoundError"),
        ("limpet:Gausian", r"cannot be imported \(AttributeError"),
        ("limpet:Deviation", "not a class derived from limpet.Deviation with a method deviate"),
        ("limpet:prototype", "not a class derived"),
        ("math:pi", "'math:pi': is 3.14.*, not a class derived"),
        (":", "is no deviation"),
        ("", "'': is no deviation"),
    ],
)
def test_names_that_stand_for_none(kind, message):
    with pytest.raises(limpet.LimpetError, match=message):
        deviation_class(kind)


def test_parameters_are_described_as_plain_values():
    plain = described(Outer.Inner())
    assert plain.pop("kind").endswith("Outer.Inner")
    assert plain == {
        "table": [0.1, 0.2],
        "inner": {"kind": "gaussian", "sigma": 0.1},
        "count": 3,
        "function": "numpy.linalg:norm",
    }
    assert described(limpet.Chain((limpet.Gaussian(0.1), limpet.Gaussian(0.2)))) == [
        {"kind": "gaussian", "sigma": 0.1},
        {"kind": "gaussian", "sigma": 0.2},
    ]


@pytest.mark.parametrize(
    ("groups", "written"),
    [
        ((0,) * 128 + (1,) * 128, ["128 of 0", "128 of 1"]),
        ((3, 3, 3, 0, 3, 3), ["3 of 3", 0, "2 of 3"]),
        ((0, 1, 0, 1), [0, 1, 0, 1]),
        ((0, 0, 1), [0, 0, 1]),
    ],
)
def test_groups_are_written_in_runs_where_that_is_shorter(groups, written):
    shared = limpet.Shared(limpet.Gaussian(0.1), groups=groups)
    assert described(shared)["groups"] == written
    assert limpet.Shared(limpet.Gaussian(0.1), groups=tuple(written)) == shared
    assert label(shared) == f"shared, deviation [gaussian, sigma 0.1], groups [{', '.join(map(str, written))}]"


def test_labels():
    assert label(limpet.Gaussian(1 / 3)) == "gaussian, sigma 0.333333"
    both = limpet.Chain((limpet.LogNormal(sigma=0.1, preserve="mean"), limpet.TruncatedGaussian(0.2)))
    assert label(both) == "log-normal, sigma 0.1, preserve mean, then truncated-gaussian, sigma 0.2"
