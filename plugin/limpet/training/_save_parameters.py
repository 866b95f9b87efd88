"""The values of a model in a file, by leaf path."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import LimpetError
from ..leaves._adapters import some_leaves
from ..leaves._paths import require_there
from ..results._npz_file import write_arrays


def save_parameters(path: str | Path, model: Any, note: Mapping[str, Any] | None = None) -> list[str]:
    """Write the values of a model by leaf path, as `load_parameters` and `limpet.MeasuredChip.of` read them.

    Args:
        path: the .npz to write.
        model: a Rockpool JAX module, a Flax nnx module, or a tree of arrays.
        note: plain values that are kept beside the arrays, as the archive's comment in JSON.

    Returns:
        The paths of leaves that hold no numbers (functions, random keys), which are left out. bfloat16 is written as
        float32, which holds the same values.

    Raises:
        LimpetError: the name does not end in .npz, the model has no leaves, or a leaf is a shape without values, or was
            donated and is gone.

    Examples:
        >>> import tempfile, limpet
        >>> file = Path(tempfile.mkdtemp()) / "trained.npz"
        >>> save_parameters(file, {"w": jnp.ones(2), "activation": jnp.tanh})
        ['activation']
        >>> limpet.load_parameters({"w": jnp.zeros(2)}, file)["w"].tolist()
        [1.0, 1.0]
    """
    values: dict[str, np.ndarray] = {}
    left_out: list[str] = []
    leaves = some_leaves(model)
    require_there(leaves)
    for name, leaf in leaves.items():
        if isinstance(leaf, jax.ShapeDtypeStruct):
            raise LimpetError(f"leaf '{name}' is a shape without values; needed are arrays")
        value = _numbers(leaf)
        if value is None:
            left_out.append(name)
        else:
            values[name] = value
    write_arrays(path, values, note, compressed=False)
    return left_out


def _numbers(leaf: Any) -> np.ndarray | None:
    """A leaf as an array that .npz can name; None where it holds no numbers."""
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    if jnp.issubdtype(dtype, jax.dtypes.prng_key) or np.dtype(dtype).kind in "OSUM":
        return None
    if np.dtype(dtype).kind != "V":
        return np.asarray(leaf)
    if not jnp.issubdtype(dtype, np.number):  # what an .npz makes of bfloat16
        return None
    return np.asarray(jnp.asarray(leaf, jnp.float32))  # bfloat16 and the like
