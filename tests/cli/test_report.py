"""`limpet report`: hands over its paths, and refuses in one line."""

import html
import re

from logged_curves import curve

import limpet.tensorboard
from limpet.cli import main


def test_report_hands_over_its_paths(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(limpet.tensorboard, "write_report", lambda *paths: calls.append(paths), raising=False)
    assert main(["report", "runs", "a.npz", "-o", "out.html"]) == 0
    assert main(["report", "runs", "--target", "0.9"]) == 0
    assert calls == [(["runs", "a.npz"], "out.html", None), (["runs"], "report.html", 0.9)]
    assert capsys.readouterr().out == "report: out.html\nreport: report.html\n"


def test_a_report_on_saved_curves_and_runs(runs, tmp_path, capsys):
    """Curves saved under one name are told apart, and so are the runs of two directories."""
    (tmp_path / "a").mkdir()
    curve(0.5).save(tmp_path / "a/curve.npz")
    paths = [str(runs / "curve.npz"), str(tmp_path / "a/curve.npz"), str(runs / "logs"), str(runs / "logs/plain")]
    assert main(["report", *paths, "-o", str(tmp_path / "out.html")]) == 0
    page = (tmp_path / "out.html").read_text()
    names = re.findall(r"<summary>(.*?)</summary>", page)
    assert names == ["curve", paths[1], paths[3], f"{paths[2]}/robust"]
    assert main(["report", paths[0], "-o", str(tmp_path / "one.html")]) == 0
    page = (tmp_path / "one.html").read_text()
    assert re.findall(r"<summary>(.*?)</summary>", page) == ["curve"]
    assert "reach accuracy" not in page
    assert main(["report", paths[0], "--target", "0.9", "-o", str(tmp_path / "one.html")]) == 0
    assert "of chips with 'curve' reach accuracy 0.9 or more" in html.unescape((tmp_path / "one.html").read_text())
    assert main(["report", paths[3], "--target", "0.7", "-o", str(tmp_path / "one.html")]) == 0
    assert "reach accuracy 0.9 or more" in html.unescape((tmp_path / "one.html").read_text())  # as it was logged
    assert main(["report", paths[0], "--target", "nan"]) == 2
    assert "target = nan: allowed is a finite number" in capsys.readouterr().err
    for name, message in (("broken.npz", "holds no robustness curve"), ("gone.npz", "there is no such file")):
        assert main(["report", str(runs / name)]) == 2
        assert message in capsys.readouterr().err


def test_a_logdir_that_is_refused_is_one_line(capsys):
    assert main(["report", "nowhere"]) == 2
    assert capsys.readouterr().err == (
        "limpet report: error: nowhere: there is no such directory; name one that holds TensorBoard event files\n"
    )
