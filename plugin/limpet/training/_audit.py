"""The audit: does each draw reach the loss?

Rockpool's own recipe sets mismatch on the module and then lets the loss call `set_attributes(params)`, which erases
the draw: training goes on, noise-free, and nothing tells. The audit makes that an error.

How: on each deviated leaf sits a probe, an identity that leaves nothing in the compiled program. JAX removes dead code
before it lowers a traced function; so a probe whose lowering rule never ran sat on a value that nothing used. That
costs no step time and no second trace, works wherever the step differentiates, and sees what really runs.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .._errors import MismatchNotApplied
from ..draws._keys import step_key
from ..hardware._mismatch import Recipe
from ..leaves import rockpool as _rockpool
from ..leaves._paths import leaves_by_path, listing


@dataclass(eq=False)
class ProbeNotes:
    """What the probes of one traced function saw: where they were planted, and which of them were compiled."""

    planted: set[str] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)


def require_reached(notes: Sequence[ProbeNotes]) -> None:
    """Raise `MismatchNotApplied` for leaves whose probe was planted in a compiled function, but not compiled with it.

    A trace that compiled no probe at all was perhaps never meant to be run (`jax.eval_shape`), and is passed over if
    another one did. Leaves that a simulation is known never to read are no error: the user could do nothing about it.
    """
    compiled = [found for found in notes if found.reached] or notes
    lost = sorted(
        {path for found in compiled for path in found.planted - found.reached if not _rockpool.is_unread(path)}
    )
    if lost:
        raise MismatchNotApplied(
            f"the draw of {listing(lost)} does not reach the loss, which sees the nominal values. Likely cause: "
            f"parameters were set after the draw, as by net.set_attributes(params); set the tree that was drawn "
            f"instead: net.set_attributes(callback.inject(params, step)). If the model does not use these leaves, "
            f"take them out of the prototype."
        )


def plant(tree: Any, paths: Iterable[str], notes: ProbeNotes) -> Any:
    """The same tree with a probe on each of the leaves named.

    Only what is traced takes notes: outside `jit` there is no program to look at.
    """
    leaves, structure = leaves_by_path(tree)
    here = leaves.keys() & set(paths)
    return structure.unflatten(
        _probe.bind(leaf, path=path, notes=notes, tangent=False) if path in here else leaf
        for path, leaf in leaves.items()
    )


@dataclass(frozen=True)
class LeafAudit:
    """What the audit found of one selected leaf.

    Attributes:
        path: the leaf.
        sigma_asked: relative standard deviation asked for.
        sigma_realised: root mean square of the relative deviation over one draw; NaN where all values are 0.
        count: number of nonzero values that it was taken over.
        reaches_loss: whether the loss depends on the draw.
    """

    path: str
    sigma_asked: float
    sigma_realised: float
    count: int
    reaches_loss: bool


@dataclass(frozen=True)
class AuditReport:
    """The audit of one loss, a row for each selected leaf; prints as a table."""

    leaves: tuple[LeafAudit, ...]

    def __str__(self) -> str:
        width = max([len("leaf"), *(len(leaf.path) for leaf in self.leaves)])
        rows = [f"{'leaf':{width}}  sigma asked  realised   values  reaches the loss"]
        for leaf in self.leaves:
            reaches = "yes" if leaf.reaches_loss else "no"
            rows.append(
                f"{leaf.path:{width}}  {leaf.sigma_asked:11.4g}  {leaf.sigma_realised:8.4g}  {leaf.count:7d}  {reaches}"
            )
        return "\n".join(rows)


def audit(loss_fn: Callable[..., Any], params: Any, mismatch: Recipe, *args: Any, seed: int = 0) -> AuditReport:
    """Check that every selected leaf's draw reaches the loss, and what strength it has there.

    The loss is traced once and lowered, never compiled or run.

    Args:
        loss_fn: `loss_fn(tree, *args)`, giving the loss or `(loss, auxiliary)`.
        params: the tree of nominal values that the recipe describes, or a part of it.
        mismatch: the recipe.
        *args: what else the loss takes (a batch, ...).
        seed: of the draw that `sigma_realised` is taken from.

    Returns:
        A report with a row for each selected leaf of `params`.

    Raises:
        MismatchNotApplied: the loss does not depend on the draw of some leaf; names the leaves and the likely cause.
        PrototypeError: recipe and tree do not fit.

    Example:
        >>> import jax.numpy as jnp, limpet
        >>> params = {"kernel": jnp.ones(1000), "bias": jnp.zeros(1000)}
        >>> mismatch = limpet.Mismatch(limpet.prototype(params, ("kernel", True)), limpet.Gaussian(sigma=0.1))
        >>> print(audit(lambda tree, x: (tree["kernel"] * x + tree["bias"]).sum(), params, mismatch, 2.0))
        leaf    sigma asked  realised   values  reaches the loss
        kernel          0.1   0.09927     1000  yes
        >>> audit(lambda tree, x: params["kernel"].sum() * x, params, mismatch, 2.0)
        Traceback (most recent call last):
        limpet.MismatchNotApplied: the draw of kernel does not reach the loss, which ...
    """
    nominal, _ = leaves_by_path(params)
    deviated, _ = leaves_by_path(mismatch(step_key(seed, 0), params))
    selected = [path for path in mismatch.paths if path in nominal]
    notes = ProbeNotes()

    arrays, structure = jax.tree.flatten((params, args))
    traced = [index for index, leaf in enumerate(arrays) if isinstance(leaf, jax.Array | np.ndarray)]

    def probed_loss(values: list[jax.Array]) -> Any:
        leaves = list(arrays)
        for index, value in zip(traced, values, strict=True):
            leaves[index] = value
        tree, rest = structure.unflatten(leaves)
        loss = loss_fn(plant(tree, selected, notes), *rest)
        return loss[0] if isinstance(loss, tuple) else loss

    jax.jit(probed_loss).lower([arrays[index] for index in traced])
    require_reached([notes])
    return AuditReport(
        tuple(
            _audited(path, mismatch.sigma(path), nominal[path], deviated[path], path in notes.reached)
            for path in selected
        )
    )


def _audited(path: str, sigma: float, nominal: Any, deviated: jax.Array, reaches_loss: bool) -> LeafAudit:
    before, after = (np.asarray(jnp.asarray(values), np.float64) for values in (nominal, deviated))
    moved = (after - before)[before != 0] / before[before != 0]
    realised = float(np.sqrt(np.mean(moved**2))) if moved.size else float("nan")
    return LeafAudit(path, sigma, realised, moved.size, reaches_loss)


_probe = Primitive("limpet_probe")
"""The identity. `tangent` marks the copy that differentiation makes of it, which is no draw of its own."""


def _trace_probe(value: Any, *, path: str, notes: ProbeNotes, tangent: bool) -> Any:
    if not tangent:
        notes.planted.add(path)
    return value


def _lower_probe(ctx: Any, value: Any, *, path: str, notes: ProbeNotes, tangent: bool) -> list[Any]:
    notes.reached.add(path)
    return [value]


def _differentiate_probe(primals: Any, tangents: Any, *, tangent: bool, **rest: Any) -> tuple[Any, Any]:
    (value,), (rate,) = primals, tangents
    rate = rate if type(rate) is ad.Zero else _probe.bind(rate, tangent=True, **rest)
    return _probe.bind(value, tangent=tangent, **rest), rate


def _transpose_probe(cotangent: Any, value: Any, *, path: str, notes: ProbeNotes, tangent: bool) -> list[Any]:
    if type(cotangent) is not ad.Zero:
        notes.reached.add(path)  # a gradient comes back along this leaf, even if the loss itself is thrown away
    return [cotangent]


_probe.def_impl(lambda value, **_: value)
_probe.def_abstract_eval(_trace_probe)
mlir.register_lowering(_probe, _lower_probe)
batching.defvectorized(_probe)
ad.primitive_jvps[_probe] = _differentiate_probe
ad.primitive_transposes[_probe] = _transpose_probe
