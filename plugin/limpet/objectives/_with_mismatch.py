"""A loss under mismatch: one chip for the whole batch, the mean over several, or one for each part of the batch."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from .._errors import LimpetError
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of

Draws = int | Literal["per_example", "per_replica"]
"""How many chips a batch meets: so many, all of them with the whole batch; or one for each example or replica."""


class Injector(Protocol):
    """What draws by step: a `MismatchCallback`, or an `Injection`."""

    def inject(self, params: Any, step: ArrayLike, draw: ArrayLike | None = None) -> Any: ...


def with_mismatch(
    loss_fn: Callable[..., Any],
    mismatch: Recipe | Injector,
    *,
    scale: ArrayLike = 1.0,
    draws: Draws = 1,
    mesh: Mesh | None = None,
    axis: str | None = None,
) -> Callable[..., Any]:
    """The loss under mismatch, a function of nominal parameters; differentiate it in place of the loss.

    Args:
        loss_fn: `loss_fn(params, *args)`, giving an array or a pytree of arrays, such as `(loss, metrics)`. Where
            `draws` divides the batch, it is to be a mean over the leading axis of `args`.
        mismatch: a recipe; or a `MismatchCallback`, which then names draws by step. With one draw, `params` may be a
            Flax nnx module; with several, a tree: the state of one module cannot be written by several at a time.
        scale: factor on every deviation of the recipe, a number >= 0. (What a callback injects has its own.)
        draws: a number K: the mean over K chips, each of which meets the whole batch (K times the work).
            "per_example": a chip for each example; the mean over examples (`loss_fn` sees batches of one).
            "per_replica": a chip for each device along `axis`, which meets that device's part of the batch: K chips a
            step at the work of one.
        mesh: for "per_replica": the mesh over which the batch is sharded.
        axis: the mesh's axis along which it is; None: its first.

    Returns:
        `f(params, key, *args)`: the mean over draws of what `loss_fn` gives; with a callback `f(params, step, *args)`.
        Draw k of several has the key `fold_in(key, k)`, whatever the number of draws, devices or processes.

    Raises:
        LimpetError: `draws` is none of these; `mesh` is missing, or has no such axis; when called: the batch cannot be
            divided.

    Example:
        >>> import limpet
        >>> params, x = {"w": jnp.ones(3)}, jnp.ones((8, 3))
        >>> def loss(params, x):
        ...     return ((x @ params["w"] - 3) ** 2).mean()
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))
        >>> noisy = with_mismatch(loss, mismatch, draws="per_example")
        >>> value, grads = jax.value_and_grad(noisy)(params, jax.random.key(0), x)
        >>> bool(value > 0), grads["w"].shape
        (True, (3,))
    """
    groups = _checked_draws(draws, mesh, axis)
    drawn = _drawer(mismatch, scale, several=draws != 1)

    def once(params: Any, name: Any, *args: Any) -> Any:
        return loss_fn(drawn(params, name, None), *args)

    def several(params: Any, name: Any, *args: Any) -> Any:
        values = jax.vmap(lambda draw: loss_fn(drawn(params, name, draw), *args))(jnp.arange(draws))
        return _mean(values)

    def divided(params: Any, name: Any, *args: Any) -> Any:
        parts = groups or _batch_size(args)
        args = jax.tree.map(lambda leaf: _divided(leaf, parts), args)
        if mesh is not None:
            here = NamedSharding(mesh, PartitionSpec(axis or mesh.axis_names[0]))
            args = jax.lax.with_sharding_constraint(args, here)
        values = jax.vmap(lambda draw, *part: loss_fn(drawn(params, name, draw), *part))(jnp.arange(parts), *args)
        return _mean(values)

    if draws == 1:
        return once
    return several if isinstance(draws, int) else divided


def _drawer(mismatch: Any, scale: ArrayLike, several: bool) -> Callable[[Any, Any, Any], Any]:
    """A function of nominal parameters, what names the draw, and its number, to deviated parameters."""
    if isinstance(mismatch, Hardware) or not (isinstance(mismatch, Recipe) or hasattr(mismatch, "inject")):
        raise LimpetError(
            f"mismatch = {mismatch!r}: give a recipe, hardware.on(model) or limpet.Mismatch(prototype, deviation); or a "
            f"MismatchCallback or an Injection, which draw by step"
        )

    if not isinstance(mismatch, Recipe) and scale != 1.0:
        raise LimpetError(f"scale = {scale!r}: what a callback injects has the scale of its configuration")

    def drawn(params: Any, name: Any, draw: ArrayLike | None) -> Any:
        adapter = adapter_of(params)
        if several and adapter.stateful:
            raise LimpetError(
                f"several draws of {adapter.name}: each would write the state of the one module. Use draws=1, or split "
                f"the module, graph, state = nnx.split(model), and hand over state with a loss that merges it"
            )
        if not isinstance(mismatch, Recipe):
            return mismatch.inject(params, name, draw)
        return mismatch(name if draw is None else jax.random.fold_in(name, draw), params, scale)

    return drawn


def _checked_draws(draws: Any, mesh: Mesh | None, axis: str | None) -> int | None:
    """The number of groups into which the batch is divided; None if it is not divided, or into single examples."""
    if draws == "per_replica":
        if mesh is None:
            raise LimpetError("draws = 'per_replica' needs the mesh over which the batch is sharded")
        name = axis or mesh.axis_names[0]
        if name not in mesh.axis_names:
            raise LimpetError(f"axis = {name!r}: the mesh has {', '.join(map(repr, mesh.axis_names))}")
        return mesh.shape[name]
    if mesh is not None or axis is not None:
        raise LimpetError(f"mesh and axis are for draws = 'per_replica', not for {draws!r}")
    if draws != "per_example" and (isinstance(draws, bool) or not isinstance(draws, int) or draws < 1):
        raise LimpetError(f"draws = {draws!r}: allowed are an integer >= 1, 'per_example' and 'per_replica'")
    return None


def _batch_size(args: Any) -> int:
    sizes = {jnp.shape(leaf)[0] for leaf in jax.tree.leaves(args) if jnp.ndim(leaf)}
    if len(sizes) != 1:
        raise LimpetError(f"draws = 'per_example': arguments of one leading axis are needed, got {sorted(sizes)}")
    return sizes.pop()


def _divided(leaf: Any, parts: int) -> jax.Array:
    shape = jnp.shape(leaf)
    if not shape or shape[0] % parts:
        raise LimpetError(f"an argument of shape {shape} cannot be divided among {parts} chips along its leading axis")
    return jnp.reshape(leaf, (parts, shape[0] // parts, *shape[1:]))


def _mean(values: Any) -> Any:
    return jax.tree.map(lambda value: value.mean(axis=0), values)
