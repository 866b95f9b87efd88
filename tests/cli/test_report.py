"""`limpet report`: hands over its paths, and refuses in one line."""

import limpet.tensorboard
from limpet.cli import main


def test_report_hands_over_its_paths(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(limpet.tensorboard, "write_report", lambda *paths: calls.append(paths), raising=False)
    assert main(["report", "runs", "-o", "out.html"]) == 0
    assert calls == [("runs", "out.html")]
    assert capsys.readouterr().out == "report: out.html\n"


def test_a_logdir_that_is_refused_is_one_line(monkeypatch, capsys):
    def refuse(logdir, output):
        raise limpet.LogdirError(f"{logdir}: there is no such directory")

    monkeypatch.setattr(limpet.tensorboard, "write_report", refuse, raising=False)
    assert main(["report", "nowhere"]) == 2
    assert capsys.readouterr().err == "limpet report: error: nowhere: there is no such directory\n"
