"""`limpet compare`: agrees with `limpet.compare`, and says which chips it compares."""

import math
from pathlib import Path

import numpy as np
import pytest
from logged_curves import ANALOG, MEMRISTIVE, SIGMAS, curve, strict

import limpet
from limpet.cli import main

OLD = str(Path(__file__).parents[1] / "data" / "first_version" / "curve.npz")
"""A curve that the first version saved, which did not record its hardware."""


def test_compare_agrees_with_limpet_compare(runs, capsys):
    assert main(["compare", str(runs / "logs/plain"), str(runs / "curve.npz"), "--confidence", "0.9", "--json"]) == 0
    answer = strict(capsys.readouterr().out)
    expected = limpet.compare(curve(1.0), curve(0.5), 0.9)
    assert [row["sigma"] for row in answer["rows"]] == SIGMAS
    assert [row["difference"] for row in answer["rows"]] == expected.difference.tolist()
    assert [row["low"] for row in answer["rows"]] == expected.low.tolist()
    assert [row["mean_a"] for row in answer["rows"]] == curve(1.0).mean().tolist()
    assert [row["mean_b"] for row in answer["rows"]] == curve(0.5).mean().tolist()
    assert [row["worse"]["high"] for row in answer["rows"]] == [worse.high for worse in expected.worse]
    assert (answer["a"]["step"], answer["b"]["step"]) == (200, None)


def test_compare_at_a_step(runs, capsys):
    paths = [str(runs / "logs/plain"), str(runs / "logs/robust")]
    assert main(["compare", *paths, "--metric", "accuracy", "--step", "100", "--json"]) == 0
    rows = strict(capsys.readouterr().out)["rows"]
    assert [row["difference"] for row in rows] == limpet.compare(curve(2.0), curve(1.0)).difference.tolist()


def test_compare_prints_a_table_that_grep_can_read(runs, capsys):
    assert main(["compare", str(runs / "logs/plain"), str(runs / "logs/robust")]) == 0  # accuracy is all they share
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line.split() for line in lines if line.strip().startswith("0.2 ")]
    assert row[1:4] == [f"{curve(1.0).mean()[2]:.3f}", f"{curve(0.5).mean()[2]:.3f}", f"+{row[3][1:]}"]
    assert not any("\x1b" in line or line != line.rstrip() for line in lines)
    assert f"B: {runs / 'logs/robust'} at step 200" in lines


def test_compare_means_are_of_the_chips_compared(tmp_path, capsys):
    curve(1.0).save(tmp_path / "many.npz")
    curve(0.5, chips=25).save(tmp_path / "few.npz")
    assert main(["compare", str(tmp_path / "many.npz"), str(tmp_path / "few.npz"), "--json"]) == 0
    answer = strict(capsys.readouterr().out)
    assert answer["chips"] == 25
    for row in answer["rows"]:
        assert row["mean_b"] - row["mean_a"] == pytest.approx(row["difference"], abs=1e-12)
    assert main(["compare", str(tmp_path / "many.npz"), str(tmp_path / "few.npz")]) == 0
    assert "of the 25 virtual chips of seed 0 that both hold" in capsys.readouterr().out


def test_what_is_not_finite_is_still_json(tmp_path, capsys):
    dead = np.array([[1.0, 0.9], [np.nan, np.nan]])
    limpet.RobustnessCurve("accuracy", [0.0, 0.1], dead).save(tmp_path / "dead.npz")
    path = str(tmp_path / "dead.npz")
    assert main(["compare", path, path, "--json"]) == 0
    row = strict(capsys.readouterr().out)["rows"][1]
    assert (row["mean_a"], row["low"], row["high"], row["failed_a"]) == ("NaN", "-Infinity", "Infinity", 2)
    assert math.isnan(float(row["difference"]))
    assert main(["compare", path, path]) == 0
    assert "A: 2 evaluations failed (NaN or infinite)" in capsys.readouterr().out


def saved(path, slope, **described):
    curve(slope, **described).save(path)
    return str(path)


def test_compare_refuses_runs_of_different_hardware_in_one_line(tmp_path, capsys):
    paths = [saved(tmp_path / "a.npz", 1.0), saved(tmp_path / "b.npz", 0.5, hardware=MEMRISTIVE)]
    assert main(["compare", *paths]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert ANALOG["hardware"] in printed.err
    assert MEMRISTIVE["hardware"] in printed.err


def test_compare_calls_chips_the_same_only_where_that_is_known(runs, tmp_path, capsys):
    known = saved(tmp_path / "known.npz", 1.0)
    assert main(["compare", known, str(runs / "curve.npz")]) == 0
    assert "of the same 40 virtual chips of seed 0\n" in capsys.readouterr().out
    for paths, silent in [((OLD, known), "A"), ((known, OLD), "B"), ((OLD, OLD), "A and B")]:
        assert main(["compare", *paths]) == 0
        out = capsys.readouterr().out
        assert "the same 40" not in out
        assert "of 40 virtual chips of seed 0, taken in pairs of one number\n" in out
        assert f"The hardware of {silent} is not recorded" in out
        assert main(["compare", *paths, "--json"]) == 0
        assert strict(capsys.readouterr().out)["same_chips"] is False


def test_compare_leaves_out_the_chip_that_one_was_trained_on(tmp_path, capsys):
    whole, without = curve(1.0), curve(0.5, chips=39, excluded_chips=(17,))
    paths = [saved(tmp_path / "a.npz", 1.0), saved(tmp_path / "b.npz", 0.5, chips=39, excluded_chips=(17,))]
    assert main(["compare", *paths, "--json"]) == 0
    answer = strict(capsys.readouterr().out)
    others = np.delete(whole.values, 17, axis=1)
    assert answer["chips"] == 39
    np.testing.assert_allclose([row["mean_a"] for row in answer["rows"]], others.mean(axis=1))
    np.testing.assert_allclose([row["mean_b"] for row in answer["rows"]], without.mean())
    for row in answer["rows"]:
        assert row["mean_b"] - row["mean_a"] == pytest.approx(row["difference"], abs=1e-12)
    assert answer["b"]["excluded_chips"] == [17]
    assert main(["compare", *paths]) == 0
    out = capsys.readouterr().out
    assert "of the 39 virtual chips of seed 0 that both hold" in out
    assert f"B: {paths[1]}, trained on chip 17, which is left out\n" in out
