"""What the tests of commands share: logged runs, and output that is no terminal."""

import pytest
from logged_curves import curve, log


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs, each with two evaluations of an accuracy and the second one of a loss too; and saved curves."""
    root = tmp_path_factory.mktemp("runs")
    log(root / "logs/plain", [(100, curve(2.0)), (200, curve(1.0))], target=0.9)
    loss = curve(1.0, "loss", higher_is_better=False)
    log(root / "logs/robust", [(100, curve(1.0)), (200, curve(0.5)), (200, loss)])
    curve(0.5).save(root / "curve.npz")
    (root / "empty").mkdir()
    (root / "broken.npz").write_bytes((root / "curve.npz").read_bytes()[:100])
    (root / "notes.txt").write_text("no curve")
    return root


@pytest.fixture(autouse=True)
def piped(monkeypatch):
    """Output that is no terminal, whatever the environment of the tests says."""
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
