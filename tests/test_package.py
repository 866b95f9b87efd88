"""The package as a whole: imports, floors, public names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import limpet

ROOT = Path(limpet.__file__).parent
FLOORS = [
    {
        "_generator",
        "_fast_bits",
        "_normal",
        "_paths",
        "_random",
        "_curve",
        "_interval",
        "_compare",
        "_leaf_costs",
        "_progress",
        "_errors",
    },
    {"_mismatch", "_leaf_draw", "_nnx", "_prototype", "_deviation", "_rockpool"},
    {"_with_mismatch", "_track_mismatch", "_robustness", "_monte_carlo", "_sensitivity", "_chip", "_audit"},
    {"tensorboard"},
    {"_callback", "_hparams", "_resume", "_run_log", "_config", "_config_file", "_schedule", "_section"},
    {"__init__", "__main__", "cli"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(file: Path) -> set[str]:
    """The rooms of limpet that a file imports."""
    depth = len(file.relative_to(ROOT).parts)
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            rooms |= {node.module.partition(".")[0]} if node.module else {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("limpet."):
            rooms.add(node.module.split(".")[1])
    return rooms


IMPORTS: dict[str, set[str]] = {}
for path in ROOT.rglob("*.py"):
    IMPORTS.setdefault(room_of(path), set()).update(imports_of(path))


def test_every_room_has_a_floor():
    assert set(IMPORTS) == set(FLOOR_OF)


def test_no_room_imports_from_above():
    upward = {(room, other) for room, rooms in IMPORTS.items() for other in rooms if FLOOR_OF[other] > FLOOR_OF[room]}
    assert not upward


def test_no_circle():
    remaining = {room: rooms - {room} for room, rooms in IMPORTS.items()}
    while free := {room for room, rooms in remaining.items() if not rooms & remaining.keys()}:
        remaining = {room: rooms for room, rooms in remaining.items() if room not in free}
    assert not remaining


def test_only_one_room_knows_rockpool():
    others = [file for file in ROOT.rglob("*.py") if room_of(file) != "_rockpool"]
    knowing = {
        node.value
        for file in others
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and node.value in {"DynapSim", "LinearJax", "JaxModule", "rockpool"}
    }
    assert not knowing


def test_the_static_and_the_lazy_names_agree():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    static = {
        (node.module, alias.name)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert static == {(room, name) for name, room in limpet._HOME.items()}
    assert all(getattr(limpet, name) is not None for name in limpet.__all__)
    assert set(limpet.__all__) <= set(dir(limpet))
    with pytest.raises(AttributeError, match="no attribute 'mismtach'"):
        _ = limpet.mismtach


@pytest.mark.parametrize(
    ("use", "absent"),
    [
        ("limpet", "jax rockpool flax tensorboard matplotlib pydantic scipy tensorflow torch"),
        ("limpet.Mismatch, limpet.prototype, limpet.freeze", "rockpool flax tensorboard matplotlib pydantic"),
        ("limpet.MismatchCallback, limpet.load_config", "rockpool flax matplotlib tensorflow torch scipy.stats"),
        ("limpet.RobustnessCurve('a', [0.1], [[1.0]]).mean()", "jax rockpool"),
        ("import limpet.tensorboard", "jax rockpool flax tensorflow torch matplotlib plotly scipy.stats"),
    ],
)
def test_imports_are_silent_and_bring_in_no_more_than_is_used(use, absent):
    code = f"import limpet, sys; {use}; print(sorted(set({absent.split()!r}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    assert ran.stderr == ""
