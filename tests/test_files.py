"""Files that a user names: each is written beside the earlier one and renamed; `~` and `$NAME` are what they mean."""

import ast
import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import limpet
from limpet import files
from limpet.results import ChipMetrics

CURVE = limpet.RobustnessCurve("accuracy", [0.0, 0.1], np.linspace(0, 1, 40).reshape(2, 20))
CALIBRATION = limpet.Calibration(CURVE, CURVE, {"out/bias": np.zeros((2, 20, 3))}, steps=1, samples=1)
MEASURED = ChipMetrics("accuracy", ("A3",), np.ones(1), 1.0, True)

WRITERS = {
    "curve.npz": CURVE.save,
    "calibration.npz": CALIBRATION.save,
    "measured.npz": limpet.Calibration(MEASURED, MEASURED, {"b": np.zeros((1, 1, 3))}, steps=1, samples=1).save,
    "chip.npz": lambda path: CALIBRATION.save_chip(path, 3, 0.1),
    "parameters.npz": lambda path: limpet.save_parameters(path, {"w": np.ones(3)}),
    "page.html": lambda path: files.write_text(path, "<p>accuracy"),
    "report.html": lambda path: limpet.tensorboard.write_report(path.parent / "kept.npz", path),
}
"""What writes a file of each kind."""


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_file_before(name, tmp_path, monkeypatch):
    CURVE.save(tmp_path / "kept.npz")
    WRITERS[name](tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises((OSError, limpet.LogdirError), match=f"(?s){name}.*No space left|No space left.*{name}"):
        WRITERS[name](tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({name, "kept.npz"})


KILLED = """
import os, signal, sys
from limpet import files
with files.whole_file(sys.argv[1]) as file:
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_the_file_before(tmp_path):
    path = tmp_path / "curve.npz"
    path.write_bytes(b"good")
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert path.read_bytes() == b"good"
    (unfinished,) = {*tmp_path.iterdir()} - {path}
    assert unfinished.name.startswith("curve.npz.")
    assert unfinished.read_bytes() == b"half of it"
    files.write_text(path, "better")  # what is left over is in nobody's way
    assert path.read_text() == "better"


def test_an_error_in_the_midst_of_it_leaves_the_file_before(tmp_path):
    files.write_text(tmp_path / "a", "good")

    def interrupted(file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), files.whole_file(tmp_path / "a") as file:
        interrupted(file)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "good"


def test_every_file_of_the_package_is_written_by_the_one_function():
    """No `write_text` of a path, no `open` for writing, no `numpy.savez` but there. (Event files grow by events.)"""
    found = set()
    for file in Path(limpet.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            modes = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            writes = any(isinstance(mode, str) and {*"wax+"} & {*mode} and len(mode) < 4 for mode in modes)
            if name in ("write_bytes", "savez", "savez_compressed", "replace_file") or (name == "open" and writes):
                found.add((file.name, ast.unparse(node)))
            if name == "write_text" and isinstance(node.func, ast.Attribute):
                found.add((file.name, ast.unparse(node)))
    assert found == {
        ("_files.py", "path.open('wb')"),
        ("_files.py", "unfinished.open('xb')"),
        ("_npz_file.py", "archive.open(f'{name}.npy', 'w', force_zip64=True)"),
    }


def test_links_permissions_and_long_names_stay(tmp_path):
    (tmp_path / "held").mkdir()
    target = tmp_path / "held" / ("ü" * 120 + ".txt")
    files.write_text(target, "1")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to(target)
    files.write_text(tmp_path / "link", "2")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "2"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    umask = os.umask(0o027)
    try:
        files.write_text(tmp_path / "new", "")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_what_is_no_regular_file_is_written_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    files.write_text(tmp_path / "pipe", "through")
    reader.join()
    assert read == ["through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    files.write_text("/dev/null", "away")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(limpet.LogdirError, match="cannot be written"):
        files.write_text(tmp_path, "a directory")


def test_home_and_variables_stand_for_what_they_mean(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SCRATCH_OF_TEST", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    for name, path in [
        ("~/runs/a", "home/runs/a"),
        ("~", "home"),
        ("$SCRATCH_OF_TEST/runs", "scratch/runs"),
        ("${SCRATCH_OF_TEST}_2", "scratch_2"),
        ("$HOME/$HOME", f"home/{tmp_path}/home"),
    ]:
        assert files.expanded(name) == f"{tmp_path}/{path}"
    for name in ("runs/~", "a$", "cost_$$", "runs", "./x", "~backup.npz", ""):
        assert files.expanded(name) == name
    for name, message in [
        ("$NO_SUCH_OF_TEST/runs", "there is no environment variable NO_SUCH_OF_TEST"),
        ("runs/${NO_SUCH_OF_TEST}", "there is no environment variable NO_SUCH_OF_TEST"),
        ("~no_such_user_of_test/runs", r"there is no user no_such_user_of_test; .* is written ./~no_such_user_of_test"),
    ]:
        with pytest.raises(limpet.LimpetError, match=message):
            files.expanded(name)
    (tmp_path / "odd$NO_SUCH_OF_TEST").write_text("")
    assert files.expanded("odd$NO_SUCH_OF_TEST") == "odd$NO_SUCH_OF_TEST"


def test_files_are_read_and_written_under_the_same_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    CURVE.save("~/curve.npz")
    assert np.array_equal(limpet.RobustnessCurve.load("$HOME/curve.npz").values, CURVE.values)
    limpet.save_parameters("~/chip.npz", {"w": np.ones(3)})
    assert limpet.load_parameters({"w": np.zeros(3)}, "~/chip.npz")["w"].tolist() == [1, 1, 1]
    assert limpet.MeasuredChip.of("~/chip.npz").values["w"].tolist() == [1, 1, 1]
    limpet.tensorboard.start_run("~/runs/a").close()
    assert list(limpet.tensorboard.logged_runs("~/runs")) == []
    (tmp_path / "config.yaml").write_text("{hardware: brainscales2, tensorboard: {logdir: $HOME/logs}}")
    assert limpet.load_config("~/config.yaml").tensorboard.logdir == tmp_path / "logs"
    assert limpet.load_config("~/config.yaml", "tensorboard.logdir='~/x'").tensorboard.logdir == tmp_path / "x"
    for logdir in ("$NO_SUCH_OF_TEST/x", "~no_such_user_of_test/x"):
        with pytest.raises(limpet.ConfigError, match=r"tensorboard.logdir = '[$~].*: there is no"):
            limpet.load_config("config.yaml", f"tensorboard.logdir='{logdir}'")
    with pytest.raises(limpet.ConfigError, match="there is no environment variable NO_SUCH_OF_TEST"):
        limpet.load_config("$NO_SUCH_OF_TEST/config.yaml")
    assert {path.name for path in tmp_path.iterdir()} == {"curve.npz", "chip.npz", "config.yaml", "runs"}
