"""What curves were measured on, in words."""

import numpy as np

import limpet
from limpet.results._provenance import NAME_LENGTH, are_same_chips, common_chips, excluded_words, hardware_names


def curve(chips=5, **described):
    return limpet.RobustnessCurve("accuracy", [0.1], np.ones((1, chips)), **described)


def test_names_of_hardware_are_short_and_never_the_same():
    alike = "gaussian, sigma 1 on " + ", ".join(f"dense_{index}/kernel (64x64)" for index in range(4))
    names = hardware_names({"aaaabbbbcccc": alike, "ddddeeeeffff": alike + " and more", "123": "short", "": ""})
    assert names["123"] == "short"
    assert names[""] == "not recorded"
    assert len(set(names.values())) == 4
    assert names["aaaabbbbcccc"].endswith("… [aaaabb]")
    assert all(len(name) <= NAME_LENGTH + 9 for name in names.values())
    assert hardware_names({"aaaabbbbcccc": ""}) == {"aaaabbbbcccc": "aaaabbbbcccc"}


def test_chips_are_the_same_only_where_both_tell_one_hardware():
    analog, other, silent = curve(fingerprint="a"), curve(fingerprint="b"), curve()
    assert are_same_chips(analog, analog)
    assert not are_same_chips(analog, other)
    assert not are_same_chips(analog, silent)
    assert not are_same_chips(silent, silent)


def test_common_chips_are_those_that_neither_leaves_out():
    found = common_chips(curve(5, excluded_chips=(1,)), curve(4, excluded_chips=(0, 3)))
    assert found.tolist() == [2, 4, 5]


def test_chips_that_are_left_out_are_named():
    assert excluded_words(()) == ""
    assert excluded_words((4,)) == "trained on chip 4, which is left out"
    assert excluded_words((4, 9)) == "trained on chips 4, 9, which are left out"
