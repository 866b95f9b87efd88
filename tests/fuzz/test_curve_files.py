"""Damaged and made-up curve and tree files: refused in words, or read as what they hold, in little memory."""

import io
import json
import struct
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
from chance import case, cases, damaged

import limpet

BYTES = 10e6
"""Of memory, in which a file of some kilobytes is read or refused."""
VALUES = np.random.default_rng(0).normal(size=(3, 20))
CURVE = limpet.RobustnessCurve("accuracy", [0.0, 0.1, 0.2], VALUES, fingerprint="a3", excluded_chips=(3,))
TREE = {
    "dense/kernel": VALUES.astype(np.float32),
    "dense/bias": np.arange(5, dtype=np.int64),
    "scale": np.float64(3.0),
    "empty": np.empty((0, 3)),
    "columns": np.asfortranarray(VALUES),
}
SHAPES = [
    "(3, 20)",
    "(60,)",
    "(10**14,)",
    "(2**62, 4)",
    "(-1, 60)",
    "(3, 20.0)",
    "()",
    "(True,)",
    "[3, 20]",
    "None",
    "(3",
]
TYPES = ["'<f8'", "'<f4'", "'|O'", "'<U9'", "'|V8'", "'|S0'", "[('a', '<f8')]", "'<f80'", "'<m8[s]'", "3", "'<c16'"]
DESCRIBED = [None, True, 3, -1, 1e400, "x", "loss", [], [1, -2], [2**70], {}, float("nan"), "a\0b", [[1]]]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Contents of good files."""
    folder = tmp_path_factory.mktemp("files")
    CURVE.save(folder / "curve.npz")
    np.savez(folder / "tree.npz", **TREE)
    np.savez_compressed(folder / "compressed.npz", **TREE)
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


def rewritten(content, rng):
    """An archive with one member replaced, renamed, doubled or packed otherwise, its checksums right."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            data, packing = old.read(name), rng.choice([zipfile.ZIP_STORED] * 3 + [zipfile.ZIP_DEFLATED] * 3)
            if name == chosen:
                match rng.randrange(7):
                    case 0:
                        data = damaged(data, rng)
                    case 1:
                        shape, kind, rows = rng.choice(SHAPES), rng.choice(TYPES), rng.choice(["True", "False", "3"])
                        text = f"{{'descr': {kind}, 'fortran_order': {rows}, 'shape': {shape}, }}".encode()
                        data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data[128:]
                    case 2:
                        version = rng.choice([2, 3])
                        data = b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<I", rng.randrange(2**32)) + data[10:]
                    case 3:
                        name = rng.choice(["x", "described.npy", "sigmas.npy", "a/../b.npy", "values", ".npy"])
                    case 4:
                        packing = rng.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
                    case 5:
                        data = bytes(rng.choice([0, 1, 1_000_000]))
                    case _ if name == "described.npy":
                        told = json.loads(str(np.load(io.BytesIO(data))))
                        told[rng.choice([*told, "colour"])] = rng.choice(DESCRIBED)
                        written = io.BytesIO()
                        np.save(written, np.array(json.dumps(told)))
                        data = written.getvalue()
            if name not in new.namelist():
                new.writestr(name, data, packing)
    return made.getvalue()


def hostile(content, rng):
    """The bytes of a file, and whether its checksums are still those of the good one, so that damage can be told."""
    if rng.random() < 0.6:
        return damaged(content, rng), True
    content = rewritten(content, rng)
    return content if rng.random() < 0.7 else damaged(content, rng), False


def test_a_damaged_file_is_refused_in_words_or_read_as_it_was(tmp_path, files):
    read = seen = 0
    tracemalloc.start()
    try:
        for seed, rng in cases(1000):
            with case(seed):
                name = rng.choice([*files, "curve"])
                content, is_damaged = hostile(files[name], rng)
                path = tmp_path / f"{seed}.npz"
                path.write_bytes(content)
                seen += 1
                tracemalloc.reset_peak()
                found: Any
                kind = None
                try:
                    found, said = (
                        limpet.RobustnessCurve.load(path) if name == "curve" else limpet.stored_parameters(path),
                        f"{path}: ",
                    )
                except limpet.LimpetError as error:
                    found, said, kind = None, str(error), type(error)
                assert kind in (None, limpet.MetricError if name == "curve" else limpet.LimpetError)
                assert said.startswith(f"{path}: ")
                assert "\n" not in said
                assert len(said) < 500 + len(str(path))
                if found is not None:
                    read += 1
                    assert str(found)
                    if name == "curve":
                        assert np.isfinite(found.sigmas).all()
                        assert found.to_dict()
                        if is_damaged:
                            np.testing.assert_array_equal(found.values, CURVE.values)
                    elif is_damaged:
                        for leaf in found.keys() & TREE.keys():
                            np.testing.assert_array_equal(found[leaf], TREE[leaf])
                assert tracemalloc.get_traced_memory()[1] < BYTES
                path.unlink()
    finally:
        tracemalloc.stop()
    assert seen == 1 or seen / 50 < read < seen / 2


def test_good_files_are_read(tmp_path, files):
    for name, content in files.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    loaded = limpet.RobustnessCurve.load(tmp_path / "curve.npz")
    assert loaded.to_dict() == CURVE.to_dict()
    for name in ("tree", "compressed"):
        found = limpet.stored_parameters(tmp_path / f"{name}.npz")
        assert found.keys() == TREE.keys()
        for leaf, value in TREE.items():
            np.testing.assert_array_equal(found[leaf], value, strict=True)
            assert found[leaf].flags.writeable
