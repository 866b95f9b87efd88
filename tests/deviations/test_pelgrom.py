"""Pelgrom's law, in its units."""

import math

import pytest

import limpet


def test_a_transistor_of_a_design_kit():
    """GF180MCU, n-type at 3.3 V: .7071 * 7.148 = 5.05 mV um for one transistor."""
    assert limpet.pelgrom(5.05, width=1.0, length=1.0) == pytest.approx(5.05e-3)
    assert limpet.pelgrom(5.05, width=2.0, length=0.5) == pytest.approx(5.05e-3)
    assert limpet.pelgrom(5.05, width=4.0, length=1.0) == pytest.approx(5.05e-3 / 2)
    assert limpet.pelgrom(7.148, 1.0, 1.0, pair=True) == pytest.approx(7.148e-3 / math.sqrt(2))
    assert limpet.pelgrom(7.148, 1.0, 1.0, pair=True) == pytest.approx(5.05e-3, rel=1e-3)


@pytest.mark.parametrize(("delta_width", "delta_length"), [(0.1, -0.15), (-0.02, 0.0), (0.0, 0.05)])
def test_the_effective_dimensions_of_a_channel(delta_width, delta_length):
    """A kit divides by those; what is given is as the gate is drawn."""
    deltas = {"delta_width": delta_width, "delta_length": delta_length}
    effective = limpet.pelgrom(5.0, 0.3 + delta_width, 0.28 + delta_length)
    assert limpet.pelgrom(5.0, 0.3, 0.28, **deltas) == pytest.approx(effective)
    size = {"a_vt": 5.0, "width": 0.3, "length": 0.28}
    assert limpet.LogNormal(pelgrom={**size, **deltas}) == limpet.LogNormal(sigma_vth=effective)


def test_log_normal_mismatch_of_a_transistor():
    size = {"a_vt": 5.05, "width": 1.0, "length": 0.5}
    assert limpet.LogNormal(pelgrom=size) == limpet.LogNormal(sigma_vth=limpet.pelgrom(**size))
    assert limpet.LogNormal(pelgrom={**size, "pair": True}).sigma < limpet.LogNormal(pelgrom=size).sigma
    warm = limpet.LogNormal(pelgrom=size, thermal_voltage=0.03)
    assert warm == limpet.LogNormal(sigma_vth=limpet.pelgrom(**size), thermal_voltage=0.03)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"a_vt": -1.0, "width": 1.0, "length": 1.0}, r"a_vt = -1\.0: allowed is"),
        ({"a_vt": 5.0, "width": 0.0, "length": 1.0}, r"width = 0\.0: allowed is a finite number > 0"),
        ({"a_vt": 5.0, "width": 1.0, "length": math.nan}, r"length = nan"),
        ({"a_vt": 5.0, "width": 1.0, "length": 1.0, "pair": 1}, r"pair = 1"),
        (
            {"a_vt": 5.0, "width": 1.0, "length": 0.15, "delta_length": -0.15},
            r"length = 0\.15: with delta_length = -0\.15 the channel's is 0; allowed is one above 0",
        ),
        ({"a_vt": 5.0, "width": 1.0, "length": 1.0, "delta_width": math.inf}, "delta_width = inf: allowed is a finite"),
        ({"a_vt": 5.0, "width": 1.0}, r"pelgrom = .*: allowed is a mapping of a_vt, width, length .*"),
        ({"a_vt": 5.0, "width": 1.0, "length": 1.0, "area": 1.0}, r"pelgrom = .*area.*: allowed is a mapping"),
        (5.0, r"pelgrom = 5\.0: allowed is a mapping"),
    ],
)
def test_sizes_that_cannot_be_meant(size, message):
    with pytest.raises(limpet.StrengthError, match=r"^LogNormal\.(pelgrom: )?" + message):
        limpet.LogNormal(pelgrom=size)
    if isinstance(size, dict) and "allowed is a mapping" not in message:
        with pytest.raises(limpet.StrengthError, match="^" + message):
            limpet.pelgrom(**size)


def test_a_strength_is_given_once():
    size = {"a_vt": 5.05, "width": 1.0, "length": 0.5}
    with pytest.raises(limpet.StrengthError, match="sigma_vth follows from pelgrom"):
        limpet.LogNormal(pelgrom=size, sigma_vth=5e-3)
    with pytest.raises(limpet.StrengthError, match="got sigma and"):
        limpet.LogNormal(sigma=0.1, pelgrom=size)
