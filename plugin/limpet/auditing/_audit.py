"""The audit: does each draw reach the loss?

Rockpool's own recipe sets mismatch on the module and then lets the loss call `set_attributes(params)`, which erases
the draw: training goes on, noise-free, and nothing tells. The audit makes that an error, by probes on the deviated
leaves (`flow/_probe.py`).
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import MismatchNotApplied
from .._jax import Function
from ..draws._keys import step_key
from ..flow._probe import ProbeNotes
from ..flow._products import uses_of
from ..flow._uses import depends_on
from ..hardware._checked_recipe import checked_recipe
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of, never_read
from ..leaves._paths import listing
from ..leaves._probed import probed
from ._layout_check import looks_at_arrays, otherwise_than_said, warn_of_layout


def require_reached(planted: Set[str], reached: Set[str]) -> None:
    """Refuse leaves whose draw does not reach the loss.

    Leaves that a simulation is known never to read are no error: the user could do nothing about it.

    Raises:
        MismatchNotApplied: names the leaves, and the likely cause.
    """
    if lost := sorted(path for path in planted - reached if not never_read(path)):
        raise MismatchNotApplied(
            f"the draw of {listing(lost)} does not reach the loss, which sees the nominal values. Likely cause: "
            f"parameters were set after the draw, as by net.set_attributes(params); set the tree that was drawn "
            f"instead: net.set_attributes(callback.inject(params, step)). If the model does not use these leaves, "
            f"take them out of the prototype."
        )


@dataclass(frozen=True)
class LeafAudit:
    """What the audit found of one selected leaf.

    Attributes:
        path: the path of the leaf in the tree.
        sigma_asked: relative standard deviation asked for, as the deviation says it; None where its strength is no
            relative standard deviation.
        sigma_realised: root mean square of the relative deviation over one draw; NaN where all values are 0.
        count: number of nonzero values that it was taken over.
        reaches_loss: whether the loss depends on the draw.
    """

    path: str
    sigma_asked: float | None
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
            asked = "-" if leaf.sigma_asked is None else f"{leaf.sigma_asked:.4g}"
            reaches = "yes" if leaf.reaches_loss else "no"
            rows.append(f"{leaf.path:{width}}  {asked:>11}  {leaf.sigma_realised:8.4g}  {leaf.count:7d}  {reaches}")
        return "\n".join(rows)


def audit(
    loss_fn: Callable[..., Any], params: Any, mismatch: Recipe | Hardware, *args: Any, seed: int = 0
) -> AuditReport:
    """Check that every selected leaf's draw reaches the loss, and what strength it has there.

    The loss is traced once, never compiled or run, and followed back to the draws through every operation, loop and
    condition. What it gives beside the loss is not looked at. It cannot be seen that a number makes a draw disappear,
    as in 0 * x or x - x; and a draw that only one branch of a condition reads, or that decides how often a loop runs,
    counts as reaching the loss. Leaves that the loss uses otherwise than the hardware says that they sit on arrays are
    named in a warning; `limpet.layout` shows all of them.

    Args:
        loss_fn: `loss_fn(tree, *args)`, giving the loss or `(loss, auxiliary)`.
        params: the tree of nominal values that the recipe describes.
        mismatch: the recipe by which leaves deviate, or the hardware that gives one.
        *args: what else the loss takes (a batch, ...).
        seed: the seed of the draw that `sigma_realised` is taken from.

    Returns:
        A report with a row for each selected leaf of `params`.

    Raises:
        MismatchNotApplied: the loss does not depend on the draw of some leaf; names the leaves and the likely cause.
        PrototypeError: recipe and tree do not fit.

    Examples:
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
    recipe = checked_recipe(mismatch, params)
    adapter = adapter_of(params)
    nominal = adapter.leaves(params)
    deviated = adapter.leaves(recipe.without_products()(step_key(seed, 0), params))
    selected = [path for path in recipe.paths if path in nominal]
    notes = ProbeNotes()

    arrays, structure = jax.tree.flatten((params, args))
    traced = [index for index, leaf in enumerate(arrays) if isinstance(leaf, jax.Array | np.ndarray)]

    def probed_loss(values: list[jax.Array]) -> Any:
        leaves = list(arrays)
        for index, value in zip(traced, values, strict=True):
            leaves[index] = value
        tree, rest = structure.unflatten(leaves)
        loss = loss_fn(probed(tree, selected, notes), *rest)
        return loss[0] if isinstance(loss, tuple) else loss

    function = Function(jax.make_jaxpr(probed_loss)([arrays[index] for index in traced]))
    found = depends_on(function)
    if looks_at_arrays(recipe):
        warn_of_layout(recipe, otherwise_than_said(recipe, uses_of(function)))
    reached = frozenset().union(*found)
    require_reached(notes.planted, reached)
    return AuditReport(
        tuple(_audited(path, recipe.sigma(path), nominal[path], deviated[path], path in reached) for path in selected)
    )


def _audited(path: str, sigma: float | None, nominal: Any, deviated: jax.Array, reaches_loss: bool) -> LeafAudit:
    before, after = (np.asarray(jnp.asarray(values), np.float64) for values in (nominal, deviated))
    moved = (after - before)[before != 0] / before[before != 0]
    realised = float(np.sqrt(np.mean(moved**2))) if moved.size else float("nan")
    return LeafAudit(path, sigma, realised, moved.size, reaches_loss)
