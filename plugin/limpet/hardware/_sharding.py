"""Draws within `jax.shard_map`, where a function sees the part of a leaf that one device holds, and nothing else."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from .._errors import LimpetError, warn_user
from .._jax import varying
from ..draws._shard import Shard
from ..leaves._paths import leaves_by_path, listing

TOLD = (
    "give sharding=, the PartitionSpecs by which shard_map divides the leaves (its in_specs for them), or "
    "sharding=PartitionSpec() where every device holds the whole leaf; or draw outside of shard_map, under jax.jit"
)


class Division(NamedTuple):
    """How a leaf is divided among the devices of a `shard_map`: by which mesh axes, for each axis of the leaf."""

    axes: tuple[tuple[str, ...], ...]

    def gathered(self, value: jax.Array) -> jax.Array:
        """The whole leaf, from the parts of all devices."""
        for axis, names in enumerate(self.axes):
            if names:
                value = jax.lax.all_gather(value, names, axis=axis, tiled=True)
        return value

    def shard(self, shape: tuple[int, ...]) -> Shard:
        """Where this device's part lies, for a part of the shape given."""
        sizes = jax.sharding.get_abstract_mesh().shape
        whole = tuple(
            size * math.prod(sizes[name] for name in names) for size, names in zip(shape, self.axes, strict=True)
        )
        first = tuple(
            jax.lax.axis_index(names).astype(jnp.uint32) * jnp.uint32(size) if names else jnp.uint32(0)
            for size, names in zip(shape, self.axes, strict=True)
        )
        return Shard(shape, whole, first)


def divisions(leaves: Mapping[str, Any], key: jax.Array, sharding: Any) -> Mapping[str, Division]:
    """How each leaf is divided among devices, within `shard_map`; leaves that are not are left out.

    Args:
        leaves: values by path, those that deviate.
        key: the key of the draw.
        sharding: what the user says of it: PartitionSpecs in a prefix of the tree, one for all, or None.

    Raises:
        LimpetError: `sharding` does not fit the leaves or the mesh, or is not given where leaves differ from device to
            device.
    """
    mesh = jax.sharding.get_abstract_mesh()
    manual = set(mesh.manual_axes)
    if sharding is not None:
        specs = _checked_specs(sharding)
        found = {path: _division(path, leaf, specs, mesh) for path, leaf in leaves.items()}
        return {path: division for path, division in found.items() if any(division.axes)}
    _require_undivided(leaves, key, manual)
    return {}


def _checked_specs(sharding: Any) -> dict[str, PartitionSpec]:
    specs, _ = leaves_by_path(sharding)
    for path, spec in specs.items():
        if not isinstance(spec, PartitionSpec):
            where = f" of '{path}'" if path else ""
            raise LimpetError(
                f"sharding{where} = {spec!r}: allowed are PartitionSpecs, as shard_map's in_specs has them"
            )
    return specs


def _division(path: str, leaf: Any, specs: Mapping[str, PartitionSpec], mesh: Any) -> Division:
    above = [prefix for prefix in specs if prefix in ("", path) or path.startswith(f"{prefix}/")]
    if not above:
        raise LimpetError(f"sharding: none is given for leaf '{path}'; given are: {listing(specs)}")
    spec = specs[max(above, key=len)]
    if len(spec) > leaf.ndim:
        raise LimpetError(f"sharding of '{path}' = {spec}: the leaf has {leaf.ndim} axes")
    entries = [entry if isinstance(entry, tuple) else (entry,) for entry in (*spec, *[None] * (leaf.ndim - len(spec)))]
    named = [tuple(name for name in entry if isinstance(name, str)) for entry in entries]
    if unknown := {name for names in named for name in names} - set(mesh.axis_names):
        raise LimpetError(
            f"sharding of '{path}' = {spec}: {listing(sorted(unknown))} is no axis of a shard_map around the draw; the "
            f"axes are {listing(mesh.axis_names)}"
        )
    # Along axes that are not manual, even within a shard_map an array is whole.
    return Division(tuple(tuple(name for name in names if name in mesh.manual_axes) for names in named))


def _require_undivided(leaves: Mapping[str, Any], key: jax.Array, manual: set[str]) -> None:
    """Refuse leaves that differ from device to device under one key: parts of one leaf would all deviate alike.

    Whether a value differs between devices JAX knows unless `check_vma=False` is said.
    """
    if not varying(jax.lax.axis_index(min(manual))):
        warn_user(
            "a draw within shard_map(check_vma=False), or pmap: whether each device holds a whole leaf or a part of it "
            f"cannot be seen, and parts of a leaf would all deviate alike: {TOLD}"
        )
        return
    for path, leaf in leaves.items():
        if axes := varying(leaf) - varying(key):
            raise LimpetError(
                f"leaf '{path}' differs between the devices along the axes {listing(sorted(axes))} of a shard_map, and "
                f"the key does not: were it a part of a larger leaf, all parts would deviate alike: {TOLD}"
            )
