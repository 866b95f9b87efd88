"""The package as a whole: which folder imports which, what an import brings in, public names."""

import ast
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import limpet

ROOT = Path(limpet.__file__).parent
# From the lowest to the highest: a folder imports only from itself and from folders before it.
LIBRARY = (
    "_errors _checked _files _jax arrays flow draws leaves results deviations analog hardware auditing objectives "
    "measure calibration training checks files rockpool typing"
).split()
APPLICATION = "tensorboard config bench dynapse callback cli".split()
LAYERS = (*LIBRARY, *APPLICATION)
FACADES = {
    "limpet",
    *(f"limpet.{room}" for room in "checks deviations files leaves objectives results rockpool typing".split()),
}
"""What the application imports the library through, as a stranger does."""
KNOWS_ROCKPOOL = {"leaves/rockpool.py", "rockpool.py", "dynapse"}
KNOWS_FLAX = {"leaves/flax_nnx.py"}
KNOWS_EQUINOX = {"leaves/equinox.py"}
FILES = [file for file in ROOT.rglob("*.py") if file.parent != ROOT or file.stem in LAYERS]


def folder_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(file: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything of Limpet's that a file imports, at its top or when it is used (not for types)."""
    package = ("limpet", *file.relative_to(ROOT).parent.parts)
    tree = ast.parse(file.read_text())
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module.split(".")[0] == "limpet":
                yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("limpet."))


def public_places() -> dict[str, str]:
    """The module in which each public name is, by the name."""
    stub = ast.parse((ROOT / "__init__.pyi").read_text())
    return {
        alias.name: f"limpet.{node.module}" if node.module else f"limpet.{alias.name}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


PLACES = public_places()


def modules_of(file: Path) -> set[str]:
    """The modules that a file imports; a public name counts as the module in which it is."""
    found = set()
    for module, name in imports_of(file):
        inner = f"{module}.{name}"
        is_module = (ROOT.parent / inner.replace(".", "/")).with_suffix(".py").exists()
        found.add(PLACES.get(name, "limpet") if module == "limpet" else inner if is_module else module)
    return found - {"limpet"}


def test_every_folder_has_its_place_among_the_layers():
    assert {folder_of(file) for file in FILES} <= set(LAYERS)


def test_no_folder_imports_from_one_above_it():
    upward = {
        (file.relative_to(ROOT).as_posix(), module)
        for file in FILES
        for module in modules_of(file)
        if LAYERS.index(module.split(".")[1]) > LAYERS.index(folder_of(file))
    }
    assert not upward


def test_the_application_imports_the_library_as_a_stranger_does():
    private = {
        (file.relative_to(ROOT).as_posix(), f"{module}.{name}")
        for file in FILES
        for module, name in imports_of(file)
        if folder_of(file) in APPLICATION and (module.split(".")[1:2] or [""])[0] not in APPLICATION
        if module not in FACADES or name.startswith("_") or name not in public_names(module)
    }
    assert not private


def public_names(module: str) -> set[str]:
    return {name for name in getattr(import_module(module), "__all__", vars(import_module(module))) if name[0] != "_"}


def test_no_two_files_import_each_other_in_a_circle_not_even_when_they_are_used():
    remaining = {
        ".".join(("limpet", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): modules_of(file)
        for file in FILES
    }
    while True:  # what imports nothing that is left, or is imported by nothing that is left, is in no circle
        wanted = set().union(*remaining.values())
        kept = {name for name, imported in remaining.items() if imported & remaining.keys() and name in wanted}
        if len(kept) == len(remaining):
            break
        remaining = {name: imported for name, imported in remaining.items() if name in kept}
    assert not {name: imported & remaining.keys() for name, imported in remaining.items()}


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (KNOWS_ROCKPOOL, {"DynapSim", "LinearJax", "JaxModule", "rockpool", "If_nmda", "dynapse"}),
        (KNOWS_FLAX, {"flax", "flax.nnx", "flax.errors"}),
        (KNOWS_EQUINOX, {"equinox"}),
    ],
)
def test_only_one_place_knows_each_framework(allowed, words):
    """Neither its names as strings, nor its adapter by import."""
    knowing = set()
    for file in FILES:
        place = file.relative_to(ROOT).as_posix()
        if place in allowed or folder_of(file) in allowed:
            continue
        tree = ast.parse(file.read_text())
        strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        knowing |= {(place, word) for word in words & {text for text in strings if isinstance(text, str)}}
    assert not knowing


INSIDES_OF_JAX = ("jax._src", "jax.core", "jax.extend", "jax.interpreters", "jaxlib", "jax.config")
# By these fields one gets into jaxprs, their equations, tracers and types of values.
FIELDS_OF_JAX = set(
    "eqns invars outvars constvars in_avals out_avals jaxpr aval primitive in_tracers val weak_type vma varying "
    "manual_axis_type memory_stats num_consts num_carry cond_nconsts body_nconsts".split()
)


def insides_of_jax(source: str) -> set[str]:
    """What a file uses of JAX beyond its documented public API."""
    names, fields = set(), set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=imported):
                names |= {alias.name for alias in imported}
            case ast.ImportFrom(module=str(module), names=imported, level=0):
                names |= {f"{module}.{alias.name}" for alias in imported}
            case ast.Attribute(value=ast.Name("jax"), attr=name):
                names.add(f"jax.{name}")
            case ast.Attribute(attr=field):
                fields.add(field)
            case ast.Call(func=ast.Name("getattr" | "hasattr"), args=[_, ast.Constant(str(field)), *_]):
                fields.add(field)
    return fields & FIELDS_OF_JAX | {
        inside for inside in INSIDES_OF_JAX for name in names if f"{name}.".startswith(f"{inside}.")
    }


def test_only_one_file_uses_jax_beyond_its_public_api():
    found = {file.relative_to(ROOT).as_posix(): insides_of_jax(file.read_text()) for file in FILES}
    assert {place for place, inside in found.items() if inside} == {"_jax.py"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from jax.extend.core import Literal", {"jax.extend"}),
        ("import jax.core", {"jax.core"}),
        ("from jax import core", {"jax.core"}),
        ("jax.core.Tracer", {"jax.core"}),
        ("traced.eqns[0]", {"eqns"}),
        ("getattr(kind, 'vma', ())", {"vma"}),
        ("jax.config.jax_enable_x64", {"jax.config"}),
        ("from jax.sharding import Mesh; jax.typeof(value).shape; jax.lax.scan", set()),
    ],
)
def test_uses_of_jax_beyond_its_public_api_are_recognised(source, found):
    assert insides_of_jax(source) == found


def test_public_names_are_all_there_and_unknown_ones_are_refused():
    assert all(getattr(limpet, name) is not None for name in limpet.__all__)
    assert set(limpet.__all__) <= set(dir(limpet))
    with pytest.raises(AttributeError, match="mismtach"):
        _ = limpet.mismtach


def test_no_public_name_is_a_folder_s_as_well():
    """Importing the folder would put it in the place of the function."""
    for name in limpet.__all__:
        assert isinstance(getattr(limpet, name), ModuleType) == (
            (ROOT / name).is_dir() or (ROOT / f"{name}.py").exists()
        )


def test_errors_are_shown_under_their_public_names():
    for name in limpet.__all__:
        if isinstance(error := getattr(limpet, name), type) and issubclass(error, Exception):
            assert f"{error.__module__}.{error.__qualname__}" == f"limpet.{name}"


@pytest.mark.parametrize(
    ("use", "absent"),
    [
        ("limpet", "jax rockpool flax tensorboard matplotlib pydantic scipy tensorflow torch"),
        ("limpet.Mismatch, limpet.prototype, limpet.Hardware", "rockpool flax tensorboard matplotlib pydantic"),
        (
            "limpet.Injection, limpet.Evaluator, limpet.freeze, limpet.calibrate, limpet.LoopAudit",
            "rockpool flax tensorboard matplotlib pydantic rich plotly yaml scipy.stats",
        ),
        ("from limpet import checks, files, results", "jax rockpool flax tensorboard pydantic"),
        ("limpet.MismatchCallback, limpet.load_config", "rockpool flax matplotlib tensorflow torch scipy.stats"),
        ("limpet.fit_measurements, limpet.bench_chip", "rockpool flax plotly matplotlib openpyxl pyarrow scipy.stats"),
        ("limpet.RobustnessCurve('a', [0.1], [[1.0]], higher_is_better=True).mean()", "jax rockpool"),
        ("import limpet.tensorboard", "jax rockpool flax tensorflow torch matplotlib plotly scipy.stats"),
    ],
)
def test_imports_are_silent_and_bring_in_no_more_than_is_used(use, absent):
    code = f"import limpet, sys; {use}; print(sorted(set({absent.split()!r}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    assert ran.stderr == ""


def test_no_function_takes_more_than_twelve_parameters():
    """Arguments that travel together are one value, as `limpet.Chips` and `limpet.Condition` are."""
    longest = {
        f"{file.relative_to(ROOT).as_posix()}: {node.name}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
        and len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]) > 12
    }
    assert not longest


def test_names_in_docstrings_are_there():
    """What `help(limpet.Additive)` names can be looked up under that name."""
    missing = set()
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and (text := ast.get_docstring(node)):
                for name in re.findall(r"`(limpet(?:\.\w+)+)", text):
                    owner, _, attribute = name.rpartition(".")
                    owner = pkgutil.resolve_name(owner)
                    # What only instances have is among the attributes that the class describes.
                    if not hasattr(owner, attribute) and f"  {attribute}:" not in (owner.__doc__ or ""):
                        missing.add((file.relative_to(ROOT).as_posix(), name))
    assert not missing


def test_entries_of_docstrings_begin_with_a_noun():
    """An entry says "seed: the number that names the chips", never "seed: of the chips" or "seed: likewise"."""
    clipped = re.compile(
        r"^\s+\*{0,2}\w+: (of|by|from|on|in|under|between|among|beside|with|at|to|within|likewise|see)\b", re.MULTILINE
    )
    found = []
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                for section in re.findall(r"^(?:Args|Attributes):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
                    found += [f"{file.name}, {node.name}:{entry.group(0)}" for entry in clipped.finditer(section)]
    assert not found
