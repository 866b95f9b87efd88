"""Trained parameters from a file, put into a model."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._errors import LimpetError, warn_user
from .._files import path_of
from ..leaves._adapters import adapter_of, some_leaves
from ..leaves._paths import is_real, leaves_by_path, listing
from ..results._npz_file import arrays_of

OPTIMIZER_WORDS = frozenset(
    "opt opt_state optimizer optimizer_state optim adam sgd mu nu trace momentum momentum_buffer velocity "
    "exp_avg exp_avg_sq sum_of_squares acc_grads grads gradients updates v_row v_col inner_state inner_states".split()
)
"""What optimizers call their state, which holds an array of the same name and shape for each that they train."""


def load_parameters(model: Any, path: str | Path) -> Any:
    """A model with trained parameters in place of its own.

    Where the model has a leaf that the file has not, and the file an array of that shape that the model has not, a
    warning names both: a layer that was renamed would stay as it was initialised.

    Args:
        model: a Rockpool JAX module, a Flax nnx module, or a tree of arrays.
        path: an .npz whose keys are leaf paths, as `numpy.savez(path, **{"0_LinearJax/weight": ...})` writes it; or the
            directory of an Orbax checkpoint: of a step, of an item in it, or of a `CheckpointManager`, whose newest
            step is taken. It may hold a part of the model's leaves, which are then all that is replaced; and more than
            the model has beside them: of a training state, the part called `params` is taken, not the optimizer's
            moments, which have the same names.

    Returns:
        A new model; the argument is not changed.

    Raises:
        LimpetError: the file cannot be read, none of its leaves is the model's, only an optimizer's state (its moments,
            its trace) has their names, it holds them more than once, a leaf's shape or type differs, or it is a
            checkpoint and Orbax is not installed (`limpet[orbax]`).

    Examples:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "params.npz"
        >>> np.savez(file, **{"dense/kernel": np.ones((2, 2))})
        >>> load_parameters({"dense": {"kernel": np.zeros((2, 2)), "bias": np.zeros(2)}}, file)["dense"]["kernel"].sum()
        np.float64(4.0)
    """
    some_leaves(model)  # None has none; to `stored_parameters` it is no model
    return adapter_of(model).loaded(model, stored_parameters(path, model))


def stored_parameters(path: str | Path, model: Any = None) -> dict[str, Any]:
    """The values that a file holds, by leaf path.

    Args:
        path: a file or directory as `load_parameters` takes it; without a model, an .npz.
        model: the model whose leaves are looked for; None for all arrays that an .npz holds.

    Raises:
        LimpetError: the file cannot be read, or does not fit the model; see `load_parameters`.
    """
    path = path_of(path)
    if model is None:
        return {**_read_npz(path)}
    own = some_leaves(model)
    stored = _orbax(path) if path.is_dir() else _read_npz(path)
    # A count of steps stands in many places of a training state.
    prefix = _prefix([name for name, leaf in own.items() if is_real(leaf)] or own, stored, path)
    values = {name: stored[f"{prefix}{name}"] for name in own if f"{prefix}{name}" in stored}
    _warn_of_renamed(path, own, {name.removeprefix(prefix): stored[name] for name in stored if name.startswith(prefix)})
    return {name: _fitting(name, value, own[name], path) for name, value in values.items()}


def _read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays by leaf path from an .npz.

    Raises:
        LimpetError: the file is missing, no .npz, damaged, or holds anything but arrays.
    """
    if not Path(path).exists():
        raise LimpetError(f"{path}: there is no such file")
    try:
        tree = {name: _known_to_jax(value) for name, value in arrays_of(path).items()}
    except LimpetError as error:
        raise LimpetError(f"{path}: is no .npz of arrays by leaf path ({error})") from None
    if not tree:
        raise LimpetError(f"{path}: holds no arrays")
    return tree


def _known_to_jax(value: np.ndarray) -> np.ndarray:
    """An array in the byte order of this machine, and in double precision where it has more: JAX knows no other."""
    known = {np.longdouble: np.float64, np.clongdouble: np.complex128}.get(value.dtype.type, value.dtype)
    return value.astype(np.dtype(known).newbyteorder("="), copy=False)


def _prefix(paths: Iterable[str], stored: Mapping[str, Any], source: str | Path) -> str:
    """What stands before the model's leaf paths in a file, such as `params/` in a training state.

    Raises:
        LimpetError: the file holds none of the leaves, or only an optimizer's state of them; or it holds them under
            several names, none of which is `params`.
    """
    paths = list(paths)
    prefixes = {""} | {name[: -len(path)] for name in stored for path in paths if name.endswith(f"/{path}")}
    held = {prefix: sum(f"{prefix}{path}" in stored for path in paths) for prefix in prefixes}
    of_optimizer = set(filter(_of_optimizer, held))
    if held.keys() - of_optimizer == {""} and not held[""] and of_optimizer:
        raise LimpetError(
            f"{source}: holds the model's leaves under {listing(sorted(of_optimizer), limit=6)} alone, which is an "
            f"optimizer's state and no weights; save the parameters, or both under names of their own"
        )
    held = {prefix: count for prefix, count in held.items() if prefix not in of_optimizer}
    most = max(held.values())
    if not most:
        raise LimpetError(
            f"{source}: holds none of the model's leaves; it holds {listing(stored, limit=10)}; the model has "
            f"{listing(paths, limit=10)}"
        )
    candidates = [prefix for prefix in held if held[prefix] == most]
    if len(candidates) > 1:  # the moments of an optimizer have the names of what it trains
        named = [prefix for prefix in candidates if prefix in ("", "params/") or prefix.endswith("/params/")]
        shallowest = min((prefix.count("/") for prefix in named), default=0)
        candidates = [prefix for prefix in named if prefix.count("/") == shallowest] or candidates
    if len(candidates) > 1:
        raise LimpetError(
            f"{source}: holds the model's leaves {len(candidates)} times, under {listing(sorted(candidates))}; save "
            f"the trained ones alone, or under the name params"
        )
    return candidates[0]


def _of_optimizer(path: str) -> bool:
    return not OPTIMIZER_WORDS.isdisjoint(path.lower().replace(".", "").split("/"))


def _warn_of_renamed(source: Path, own: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Warn of leaves that stay as they are, where the file holds arrays of their shape under other names."""
    missing = {name: np.shape(leaf) for name, leaf in own.items() if name not in stored and is_real(leaf)}
    foreign = {
        name: np.shape(value)
        for name, value in stored.items()
        # What stands below a leaf, as a calibrated gain does, is no other name of another leaf.
        if is_real(value) and name not in own and name.rpartition("/")[0] not in own and not _of_optimizer(name)
    }
    alike = [name for name, shape in missing.items() if shape and shape in foreign.values()]
    if alike:
        candidates = [name for name, shape in foreign.items() if shape in {missing[name] for name in alike}]
        warn_user(
            f"{source}: has no {listing(alike, limit=6)}, which stay as they are in the model; it holds arrays of that "
            f"shape which the model has not: {listing(candidates, limit=6)}. If leaves were renamed, rename them in "
            f"the file as well"
        )


def _fitting(name: str, value: Any, own: Any, source: str | Path) -> Any:
    """A stored value that can stand for a leaf: of its shape, of real numbers where it is, and no wider than it.

    Raises:
        LimpetError: it cannot.
    """
    if not is_real(own):
        return value
    if np.shape(value) != np.shape(own):
        raise LimpetError(
            f"{source}: leaf '{name}' has shape {np.shape(value)}, where the model's has {np.shape(own)}: it is of "
            f"another network"
        )
    if not is_real(value):
        kind = getattr(value, "dtype", type(value).__name__)
        raise LimpetError(f"{source}: leaf '{name}' holds {kind}, where the model's holds real numbers")
    width = jnp.dtype(getattr(own, "dtype", np.float64))
    if jnp.dtype(getattr(value, "dtype", np.float64)).itemsize <= width.itemsize:
        return value
    return np.asarray(value).astype(width)


def _orbax(directory: Path) -> dict[str, Any]:
    """The arrays of an Orbax checkpoint by leaf path; those of several items stand under the items' names."""
    try:
        import orbax.checkpoint as ocp
    except ImportError:
        raise LimpetError(
            f"{directory}: to read an Orbax checkpoint, install Orbax: python -m pip install 'limpet[orbax]'"
        ) from None
    items = _items(directory.absolute())
    if not items:
        raise LimpetError(
            f"{directory}: is no Orbax checkpoint: name the directory of a step, of an item in it, or of a "
            f"CheckpointManager"
        )
    leaves: dict[str, Any] = {}
    for item in items:
        try:
            tree = ocp.PyTreeCheckpointer().restore(item)
        except Exception as error:  # Orbax raises whatever its storage layers raise
            reason = " ".join(str(error).split())[:200]
            raise LimpetError(f"{item}: cannot be read by Orbax ({type(error).__name__}: {reason})") from None
        prefix = "" if len(items) == 1 else f"{item.name}/"
        # Orbax writes an nnx variable as a mapping of one entry, `value`.
        leaves |= {f"{prefix}{path.removesuffix('/value')}": leaf for path, leaf in leaves_by_path(tree)[0].items()}
    return leaves


def _items(directory: Path) -> list[Path]:
    """The directories of the items that hold arrays: itself, within a step, or within a manager's newest step."""
    steps = [child for child in directory.iterdir() if child.is_dir() and child.name.isdigit()]
    if steps:
        return _items(max(steps, key=lambda step: int(step.name)))
    if _holds_arrays(directory):
        return [directory]
    return sorted(child for child in directory.iterdir() if child.is_dir() and _holds_arrays(child))


def _holds_arrays(directory: Path) -> bool:
    return (directory / "_METADATA").exists() or (directory / "manifest.ocdbt").exists()
