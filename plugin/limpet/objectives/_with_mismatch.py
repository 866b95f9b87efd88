"""A loss under mismatch: one chip for the whole batch, the mean over several, or one for each part of the batch."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from .._errors import LimpetError
from ..hardware._mismatch import Recipe
from ..results._condition import UNCHANGED, Condition
from ._evaluation import over_draws
from ._step_chips import Injector, StepChips

Draws = int | Literal["per_example", "per_replica"]
"""How many chips a batch meets: so many, all of them with the whole batch; or one for each example or replica."""


def with_mismatch(
    loss_fn: Callable[..., Any],
    mismatch: Recipe | Injector,
    *,
    condition: Condition | ArrayLike = UNCHANGED,
    draws: Draws = 1,
    mesh: Mesh | None = None,
    axis: str | None = None,
) -> Callable[..., Any]:
    """The loss under mismatch, a function of nominal parameters; differentiate it in place of the loss.

    Args:
        loss_fn: `loss_fn(params, *args)`, giving an array or a pytree of arrays, such as `(loss, metrics)`. Where
            `draws` divides the batch, it is to be a mean over the leading axis of `args`.
        mismatch: a recipe; or a `MismatchCallback`, which then names draws by step. `params` may be a Flax nnx module;
            what several draws write in it, such as batch statistics, is averaged.
        condition: the condition of a recipe's chips: a `limpet.Condition`, or a number, the scale; may be traced. (What
            a callback injects has its own.)
        draws: a number K: the mean over K chips, each of which meets the whole batch (K times the work).
            "per_example": a chip for each example; the mean over examples (`loss_fn` sees batches of one).
            "per_replica": a chip for each device along `axis`, which meets that device's part of the batch: K chips a
            step at the work of one.
        mesh: for "per_replica": the mesh over which the batch is sharded.
        axis: the mesh's axis along which it is; None: its first.

    Returns:
        `f(params, key, *args)`: the mean over draws of what `loss_fn` gives; with a callback `f(params, step, *args)`.
        Draw k of several has the key `fold_in(key, k)`, whatever the number of draws, devices or processes. Where input
        converters learn their ranges, it takes these as well, as all objectives do: `f(params, key, *args,
        ranges=ranges)`, see `limpet.Recipe`.

    Raises:
        LimpetError: `draws` is none of these; `mesh` is missing, or has no such axis; when called: the batch cannot be
            divided.

    Examples:
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
    chips = StepChips(mismatch, condition)

    def once(chips: StepChips, params: Any, name: Any, *args: Any) -> Any:
        return chips.computing(lambda params: loss_fn(chips.tree(params, name), *args))(params)

    def several(chips: StepChips, params: Any, name: Any, *args: Any) -> Any:
        def evaluate(tree: Any) -> Any:
            return loss_fn(tree, *args)

        return _mean(
            over_draws(chips, evaluate, lambda tree, draw: chips.tree(tree, name, draw), params, jnp.arange(draws))
        )

    def divided(chips: StepChips, params: Any, name: Any, *args: Any) -> Any:
        parts = groups or _batch_size(args)
        args = jax.tree.map(lambda leaf: _divided(leaf, parts), args)
        if mesh is not None:
            by_part = NamedSharding(mesh, PartitionSpec(axis or mesh.axis_names[0]))
            args = jax.lax.with_sharding_constraint(args, by_part)

        def tree_of(tree: Any, draw: jax.Array) -> Any:
            return chips.tree(tree, name, draw)

        return _mean(over_draws(chips, loss_fn, tree_of, params, jnp.arange(parts), *args))

    if draws == 1:
        return chips.objective(once)
    return chips.objective(several if isinstance(draws, int) else divided)


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
