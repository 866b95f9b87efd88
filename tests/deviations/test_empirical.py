"""Factors from a file: what of it is read, and which files are refused."""

import numpy as np
import pytest

import limpet


def test_factors_of_an_npz_and_of_a_table_are_the_same(tmp_path):
    np.savez(tmp_path / "bench.npz", factor=np.float32([0.5, 1, 1.25]))
    (tmp_path / "bench.csv").write_text("device,factor\na,0.5\nb,1\nc,1.25\n")
    assert limpet.Empirical.of(tmp_path / "bench.npz").factors == (0.5, 1.0, 1.25)
    assert limpet.Empirical.of(tmp_path / "bench.csv").factors == (0.5, 1.0, 1.25)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.ones(3)}, "has no array 'factor'; it has other"),
        ({"factor": np.array([1.0, None])}, "bench.npz: cannot be read: .*holds Python objects"),
    ],
)
def test_an_npz_of_something_else_is_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "bench.npz", **arrays)
    with pytest.raises(limpet.LimpetError, match=message):
        limpet.Empirical.of(tmp_path / "bench.npz")
