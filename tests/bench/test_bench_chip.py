"""A chip of a bench's table: at one set value and time, its devices in order, and what it lacks said."""

import numpy as np
import pytest

import limpet

SETTINGS = {
    "chip": [*"AAAABBB"],
    "device": ["n10", "n10", "n2", "n2", "n10", "n2", "n2"],
    "nominal": [1, 2, 1, 2, 1, 1, 2],
    "measured": [1.1, 2.4, 0.9, 1.8, 1.2, 1.3, 2.0],
}
TIMES = {
    "chip": ["A"] * 4,
    "core": ["10", "10", "9", "9"],
    "device": [0] * 4,
    "measured": [1.1, 2.4, 0.9, 1.8],
    "time": [1, 3600, 1.001, 3605],
}


def factors(table, *arguments, **options):
    (found,) = limpet.bench_chip(table, *arguments, **options).factors.values()
    return found.tolist()


def test_a_set_value_is_chosen():
    assert factors(SETTINGS, "A", at=1) == pytest.approx([0.9, 1.1])
    assert factors(SETTINGS, "A", at={"value": "2"}) == pytest.approx([0.9, 1.2])
    in_units = SETTINGS | {"unit": ["nA"] * 7}
    assert factors(in_units, "A", at="2000 pA") == pytest.approx([0.9, 1.2])
    each = {name: column[::3] for name, column in SETTINGS.items()} | {"chip": ["A"] * 3, "device": [3, 1, 2]}
    assert factors(each) == pytest.approx([0.9, 1.0, 1.1])


def test_a_time_is_chosen_within_one_percent():
    assert factors(TIMES, time="1 h", nominal=1) == pytest.approx([1.8, 2.4])
    assert factors(TIMES, time=1, nominal=1) == [0.9, 1.1]


def test_of_several_readings_the_mean_counts():
    table = {"chip": ["A"] * 3, "device": [1, 0, 1], "measured": [1.0, 0.9, 1.2]}
    assert factors(table, nominal=1, readings=True) == pytest.approx([0.9, 1.1])


def test_devices_are_in_natural_order_and_none_are_alike():
    labels = ["0", "00", "000", "2", "10", "n2", "n10"]
    table = {"chip": ["A"] * 7, "row": labels[::-1], "measured": np.arange(7.0)[::-1] + 1}
    assert factors(table, columns={"device": "row"}, nominal=2) == (np.arange(1.0, 8) / 2).tolist()


def test_devices_that_other_chips_have_are_said():
    with pytest.warns(UserWarning, match="'value' of chip B has no value of device n10, which other chips have"):
        assert factors(SETTINGS, "B", at=2) == [1.0]
    own_labels = {"chip": [*"AABB"], "device": [0, 1, 2, 3], "measured": [1.0, 1.1, 0.9, 1.2]}
    assert factors(own_labels, "B", nominal=1) == [0.9, 1.2]  # no warning, which would be an error


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (SETTINGS, {}, "'value' of chip A was set to 1, 2; choose one by at="),
        (SETTINGS, {"at": 3}, "at = 3: table: 'value' of chip A was set to 1, 2"),
        (SETTINGS, {"at": "1 pA"}, "at = '1 pA': table: 'value' of chip A was set to 1, 2"),
        (SETTINGS, {"at": "one"}, "at = 'one': table: 'value' of chip A was set to 1, 2"),
        (SETTINGS, {"at": {"x": 1}}, "at names 'x', which was not measured; measured are 'value'"),
        (SETTINGS, {"at": 1, "time": 1}, "time = 1: table: 'value' of chip A was measured at unknown times"),
        (TIMES, {"nominal": 1}, "was measured 1 s, 1.001 s, 1 h, 3605 s after programming; choose one by time="),
        (
            TIMES,
            {"nominal": 1, "time": "1 day"},
            "time = '1 day': table: 'value' of chip A was measured 1 s, 1.00",
        ),
        (TIMES, {"nominal": 1, "time": "noon"}, "time = 'noon': allowed is a number of seconds, or a text"),
        (
            SETTINGS | {"nominal": [0, 1, 0, 1, 1, 1, 2]},
            {"at": 0},
            "nominal is 0 (rows 1, 3), so that there is no",
        ),
    ],
)
def test_what_cannot_be_chosen_is_refused(table, options, said):
    with pytest.raises(limpet.LimpetError) as refused:
        limpet.bench_chip(table, "A", **options)
    assert said in str(refused.value)
