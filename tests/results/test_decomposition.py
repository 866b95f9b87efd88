"""A decomposition as it is told and kept: the shares themselves are tested with `limpet.decompose`."""

import numpy as np
import pytest

import limpet

FIRST, SECOND = np.random.default_rng(0).normal(size=(2, 2, 50))
FIRST[1, 7] = np.nan  # pair 7, whose metric is no number
FOUND = limpet.Decomposition(
    "accuracy",
    ("left", "right"),
    3 * FIRST[0] + FIRST[1],
    3 * SECOND[0] + SECOND[1],
    np.stack([3 * SECOND[0] + FIRST[1], 3 * FIRST[0] + SECOND[1]]),
    by=("part",),
    seed=5,
    condition=limpet.Condition(scale=2.0, time=3600.0),
)


def test_the_table():
    title, head, first, second, interactions, cost = str(FOUND).splitlines()
    assert title.startswith("variance of accuracy over chips: mean")
    assert head.split() == ["source", "first", "order", "total"]
    assert [line.split()[0] for line in (first, second, interactions)] == ["left", "right", "interactions"]
    assert cost.startswith("50 pairs of chips of seed 5, 1 left out, where the metric is no number; 200 evaluations")


def test_intervals_are_those_of_the_confidence():
    shares, wider = FOUND.shares(), FOUND.shares(confidence=0.99)
    for source, share in shares.items():
        low, high = share.total_interval
        assert wider[source].total_interval[0] < low < share.total < high < wider[source].total_interval[1]
    with pytest.raises(limpet.MetricError, match="confidence"):
        FOUND.shares(confidence=95)


def test_shares_depend_on_neither_unit_nor_offset():
    other = limpet.Decomposition(
        "loss", FOUND.sources, *(1e6 - 1e-3 * getattr(FOUND, n) for n in ("first", "second", "mixed"))
    )
    for source, share in FOUND.shares().items():
        assert other.shares()[source][:2] == pytest.approx(share[:2], abs=1e-4)


def test_a_metric_that_is_the_same_on_all_chips_has_no_shares():
    flat = limpet.Decomposition("accuracy", ("all",), np.full(9, 0.1), np.full(9, 0.1), np.full((1, 9), 0.1))
    assert flat.std == 0
    assert np.isnan(flat.shares()["all"].total)
    assert "nan" in str(flat)
    flat.plot()


def test_saved_and_loaded(tmp_path):
    FOUND.save(tmp_path / "found.json")
    again = limpet.Decomposition.load(tmp_path / "found.json")
    assert again.to_dict() == FOUND.to_dict()
    assert str(again) == str(FOUND)
    assert again.condition == FOUND.condition
    with pytest.raises(limpet.LimpetError, match=r"ends in \.json"):
        FOUND.save(tmp_path / "found.npz")


@pytest.mark.parametrize(
    "change",
    [{"first": [0.0]}, {"sources": ["left"]}, {"condition": None}, {"unknown": 1}, {"generator": None, "by": 3}],
)
def test_what_describes_none_is_refused(change):
    with pytest.raises(limpet.MetricError, match="describes no decomposition"):
        limpet.Decomposition.from_dict(FOUND.to_dict() | change)
    with pytest.raises(limpet.MetricError, match="describes no decomposition"):
        limpet.Decomposition.from_dict({})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(limpet.MetricError, match=r"none\.json: holds no decomposition"):
        limpet.Decomposition.load(tmp_path / "none.json")
