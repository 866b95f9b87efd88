"""Reading .npz files that are damaged or lie: one line, and no more memory than the file can fill."""

import errno
import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

import limpet
from limpet.cli import main

CURVE = limpet.RobustnessCurve("accuracy", [0.0, 0.1], np.linspace(0, 1, 400).reshape(2, 200))
HEADER = b"\x93NUMPY\x01\x00\x76\x00"


def archive(values, packing=zipfile.ZIP_DEFLATED, **members):
    """A file of a curve whose member `values` has these bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("values.npy", values, packing)
        for name, array in {"sigmas": np.zeros(2), "described": np.array('{"metric": "accuracy"}'), **members}.items():
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array)
    return made.getvalue()


def header(shape, descr="'<f8'", rows=False):
    text = f"{{'descr': {descr}, 'fortran_order': {rows}, 'shape': {shape}, }}"
    return HEADER + text.ljust(117).encode() + b"\n"


def saved():
    made = io.BytesIO()
    np.savez_compressed(made, sigmas=CURVE.sigmas, values=CURVE.values, described=np.array('{"metric": "accuracy"}'))
    return made.getvalue()


def with_byte(content, place, byte):
    return content[:place] + bytes([byte]) + content[place + 1 :]


def in_directory(content, offset, byte):
    """A byte of the first entry of the archive's directory replaced."""
    return with_byte(content, content.index(b"PK\x01\x02") + offset, byte)


FILES = {
    "a flipped bit": (with_byte(saved(), 1800, 0x55), "damaged: BadZipFile"),
    "an encrypted member": (in_directory(saved(), 8, 1), "is encrypted"),
    "a way of compression that there is not": (in_directory(saved(), 10, 99), "compressed in a way that numpy.savez"),
    "a way of compression of others": (archive(header((2, 2)) + bytes(32), zipfile.ZIP_LZMA), "compressed in a way"),
    "a member larger than it can be": (in_directory(saved(), 27, 0x7F), "is said to be larger than it can be"),
    "a header that asks for terabytes": (archive(header((10**6, 10**6))), r"shape (1000000, 1000000) of float64"),
    "a header that asks for less": (archive(header((1, 2)) + bytes(32)), "are not the 32 bytes that it holds"),
    "a negative shape": (
        archive(header((-2, -2)) + bytes(32)),
        "shape (-2, -2) of float64",
    ),
    "a shape of no sense": (archive(header("'x'") + bytes(32)), "shape is not valid"),
    "objects": (archive(header((2, 2), "'|O'") + bytes(32)), "holds Python objects"),
    "a type that there is not": (archive(header((2, 2), "'<f80'") + bytes(32)), "descr is not a valid dtype"),
    "a header of no sense": (archive(HEADER + b"(" * 118), "damaged: TokenError"),
    "a header of 4 GB": (archive(b"\x93NUMPY\x02\x00\xff\xff\xff\xff"), "EOF: reading array header"),
    "no header": (archive(b"no"), "damaged: ValueError: EOF: reading magic string"),
    "a cut archive": (saved()[:200], "is no .npz, or damaged"),
    "texts for values": (archive(header((2, 2), "'<U2'") + bytes(32)), "values = array([['', '']"),
    "complex values": (archive(header((2, 1), "'<c16'") + bytes(32)), "values = array([[0.+0.j]"),
    "another shape": (archive(header((4,)) + bytes(32)), "values of shape (strengths, chips)"),
    "sigmas that are none": (
        archive(header((2, 2)) + bytes(32), sigmas=np.array([0, np.nan])),
        "allowed are finite numbers >= 0",
    ),
    "no JSON": (archive(header((2, 2)) + bytes(32), described=np.array("[" * 100_000)), "holds no robustness curve"),
    "a list": (archive(header((2, 2)) + bytes(32), described=np.array("[1]")), "holds no robustness curve"),
    "no metric": (archive(header((2, 2)) + bytes(32), described=np.array("{}")), "its description names no metric"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_is_said_in_one_line(tmp_path, capsys, name):
    content, message = FILES[name]
    path = tmp_path / "curve.npz"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(limpet.MetricError) as caught:
        limpet.RobustnessCurve.load(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert message in str(caught.value)
    assert main(["gate", str(path), "--sigma", "0.1", "--target", "0.5", "--yield", "0.5"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    for name, message in (("pipe.npz", "it is no file"), ("none.npz", "there is no such file"), (".", "it is no file")):
        with pytest.raises(limpet.MetricError, match=message):
            limpet.RobustnessCurve.load(tmp_path / name)


@pytest.mark.parametrize("name", ["a flipped bit", "a header that asks for terabytes", "an encrypted member"])
@pytest.mark.parametrize("command", ["check CONFIG --tree", "chips --config CONFIG --chip 1 -o OUT"])
def test_commands_say_so_of_a_tree(tmp_path, capsys, name, command):
    (tmp_path / "config.yaml").write_text("hardware: {w: {leaves: '*', sigma: 0.1}}")
    (tmp_path / "tree.npz").write_bytes(FILES[name][0])
    command = command.replace("CONFIG", str(tmp_path / "config.yaml")).replace("OUT", str(tmp_path / "out.npz"))
    assert main([*command.split(), str(tmp_path / "tree.npz")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path, monkeypatch):
    path = tmp_path / "curve.npz"
    CURVE.save(path)

    def full(member, array, allow_pickle):
        member.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.lib.format.write_array", full)
    with pytest.raises(OSError, match="No space left"):
        limpet.RobustnessCurve("accuracy", [0.1], [[0.5]]).save(path)
    np.testing.assert_array_equal(limpet.RobustnessCurve.load(path).values, CURVE.values)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "curve.npz").symlink_to(tmp_path / "elsewhere" / "curve.npz")
    CURVE.save(tmp_path / "curve.npz")
    assert (tmp_path / "curve.npz").is_symlink()
    np.testing.assert_array_equal(limpet.RobustnessCurve.load(tmp_path / "curve.npz").values, CURVE.values)
