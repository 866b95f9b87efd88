"""Trained parameters from a file, put into a model."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import LimpetError
from ..leaves._adapters import adapter_of
from ..leaves._paths import is_real, leaves_by_path, listing


def load_parameters(model: Any, path: str | Path) -> Any:
    """A model with trained parameters in place of its own.

    Args:
        model: a Rockpool JAX module, a Flax nnx module, or a tree of arrays.
        path: an .npz whose keys are leaf paths, as `numpy.savez(path, **{"0_LinearJax/weight": ...})` writes it; or the
            directory of an Orbax checkpoint (of a step, of an item in it, or of a `CheckpointManager`, whose newest step
            is taken). It may hold a part of the model's leaves, and more than the model has beside them: of a training
            state, the part is taken whose paths are the model's.

    Returns:
        A new model; the argument is not changed.

    Raises:
        LimpetError: the file cannot be read, none of its leaves is the model's, or a shape differs.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "params.npz"
        >>> np.savez(file, **{"dense/kernel": np.ones((2, 2))})
        >>> load_parameters({"dense": {"kernel": np.zeros((2, 2)), "bias": np.zeros(2)}}, file)["dense"]["kernel"].sum()
        np.float64(4.0)
    """
    adapter = adapter_of(model)
    own = adapter.leaves(model)
    stored = _orbax(Path(path)) if Path(path).is_dir() else read_npz(path)
    values = _part_for(own.keys(), stored)
    if not values:
        raise LimpetError(
            f"{path}: holds none of the model's leaves; it holds {listing(stored)}; the model has {listing(own)}"
        )
    for name, value in values.items():
        if is_real(own[name]) and np.shape(value) != np.shape(own[name]):
            raise LimpetError(
                f"{path}: leaf '{name}' has shape {np.shape(value)}, where the model's has {np.shape(own[name])}: it is of "
                f"another network"
            )
    return adapter.loaded(model, values)


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays by leaf path from an .npz.

    Raises:
        LimpetError: the file is missing, no .npz, or holds anything but arrays.
    """
    if not zipfile.is_zipfile(path):
        raise LimpetError(f"{path}: {'is no .npz file' if Path(path).exists() else 'there is no such file'}")
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            tree = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise LimpetError(f"{path}: is no .npz of arrays by leaf path ({error})") from None
    if not tree:
        raise LimpetError(f"{path}: holds no arrays")
    return tree


def _part_for(paths: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored values under the prefix at which most of the paths are found."""
    prefixes = {""} | {name[: -len(path)] for name in stored for path in paths if name.endswith(f"/{path}")}
    best = max(sorted(prefixes), key=lambda prefix: sum(f"{prefix}{path}" in stored for path in paths))
    return {path: stored[f"{best}{path}"] for path in paths if f"{best}{path}" in stored}


def _orbax(directory: Path) -> dict[str, Any]:
    try:
        import orbax.checkpoint as ocp
    except ImportError:
        raise LimpetError(f"{directory}: to read an Orbax checkpoint, install orbax-checkpoint") from None
    item = _item(directory.absolute())
    try:
        tree = ocp.PyTreeCheckpointer().restore(item)
    except Exception as error:  # Orbax raises whatever its storage layers raise
        raise LimpetError(f"{directory}: is no Orbax checkpoint ({type(error).__name__}: {error})") from None
    return leaves_by_path(tree)[0]


def _item(directory: Path) -> Path:
    """The directory of the item that holds arrays, within a step, within a manager's newest step."""
    steps = [child for child in directory.iterdir() if child.is_dir() and child.name.isdigit()]
    if steps:
        return _item(max(steps, key=lambda step: int(step.name)))
    if (directory / "_METADATA").exists() or (directory / "manifest.ocdbt").exists():
        return directory
    items = [child for child in directory.iterdir() if child.is_dir() and (child / "_METADATA").exists()]
    if len(items) != 1:
        raise LimpetError(
            f"{directory}: holds {len(items) or 'no'} items of arrays"
            f"{': ' + ', '.join(sorted(item.name for item in items)) if items else ''}; name the directory of one"
        )
    return items[0]
