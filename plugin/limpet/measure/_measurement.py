"""A measurement: a metric of one network on many virtual chips. Curves, sensitivities and evaluations share it."""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import MetricError, MismatchNotApplied, warn_user
from .._jax import Function
from ..auditing._layout_check import looks_at_arrays, otherwise_than_said, warn_of_layout
from ..draws._keys import typed_key
from ..flow._probe import ProbeNotes
from ..flow._products import uses_of
from ..flow._uses import depends_on
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of, never_read
from ..leaves._paths import is_real, listing, require_there
from ..leaves._probed import probed
from ..results._condition import Condition
from ._chips import HUNDRED, Chips
from ._metric import MetricFn, function_name, named_scalars
from ._monte_carlo import Prepared, fetch, prepared


class Chip(NamedTuple):
    """One chip: the key of its draw, its number, and whether it is the mirror image of that draw."""

    key: jax.Array
    number: jax.Array
    mirrored: Any

    def under(self, condition: Condition) -> Condition:
        """The condition of this chip, of those that all chips of a case have in common."""
        if self.mirrored is False:
            return condition
        mirrored = False if condition.mirrored is None else condition.mirrored
        return condition._replace(mirrored=self.mirrored ^ mirrored)


OnChip = Callable[[Callable[..., dict[str, jax.Array]], Chip, Any, Any, Any], dict[str, jax.Array]]
"""`on_chip(metric, chip, tree, case, extra)`: what is measured of one chip in one case, scalars by name, and what it
gives beside them, see `Measurement.beside`. `metric` takes a deviated tree, and perhaps a function of the batch that
gives the one to measure on."""


@dataclass(frozen=True)
class Measurement:
    """What is measured, on which chips.

    Attributes:
        metric_fn: the user's metric.
        paths: the paths of the leaves that deviate on a chip.
        on_chip: the function that measures one chip, see `OnChip`.
        chips: the virtual chips, or numbers of measured ones.
        extra: a pytree of arrays that `on_chip` is given; None for none.
        audited: whether a metric that depends on no draw is refused.
        beside: names of results that are no metrics, and may be arrays of any shape.
        recipe: the recipe whose arrays are held against the use that the metric makes of leaves; None for none.
    """

    metric_fn: MetricFn
    paths: tuple[str, ...]
    on_chip: OnChip
    chips: Chips = HUNDRED
    extra: Any = None
    audited: bool = True
    beside: frozenset[str] = frozenset()
    recipe: Recipe | None = None

    def prepare(self, tree: Any, batch: Any, cases: Any) -> Prepared:
        """Compile the measurement for one network, or find what was compiled for one like it; nothing is evaluated.

        Args:
            tree: the tree of nominal values.
            batch: the argument of the metric; a pytree of arrays.
            cases: a pytree of arrays whose leading axis counts the cases.

        Raises:
            PrototypeError: recipe and tree do not fit.
            MetricError: the metric gives no scalars, or cannot be traced.
            MismatchNotApplied: the metric depends on no draw at all.
        """
        operand, rebuild = divided(tree)
        chips, notes, written = self.chips, ProbeNotes(), set[str]()

        def chip_fn(number: jax.Array, case: Any, operands: Any) -> dict[str, jax.Array]:
            operand, batch, data, extra = operands

            def metric(deviated: Any, of: Callable[[Any], Any] = lambda batch: batch) -> dict[str, jax.Array]:
                adapter, watched = adapter_of(deviated), probed(deviated, self.paths, notes)
                result, paths = adapter.written_by(watched, lambda tree: named_scalars(self.metric_fn, tree, of(batch)))
                written.update(paths)
                return result

            draw = number // 2 if chips.antithetic else number
            key = jax.random.fold_in(typed_key(data, chips.generator), draw)
            chip = Chip(key, number, number % 2 == 1 if chips.antithetic else False)
            return self.on_chip(metric, chip, rebuild(operand), case, extra)

        def check(results: Mapping[str, Any], function: Function) -> _Findings:
            layout = {}
            if self.recipe is not None and looks_at_arrays(self.recipe):
                layout = otherwise_than_said(self.recipe, uses_of(function))
            if not self.audited:
                return _Findings(layout=layout)
            found = self._found(notes.planted, dict(zip(results, depends_on(function), strict=True)))
            return found._replace(layout=layout)

        found = prepared(chip_fn, self._operands(operand, batch), cases, chips.mesh, check)
        self._warn(found.program.findings, written)
        return found

    def of(self, found: Prepared, batch: Any) -> Prepared:
        """The same measurement with another batch of the same shapes."""
        return replace(found, operands=self._operands(found.operands[0], batch))

    def _operands(self, operand: dict[str, jax.Array], batch: Any) -> Any:
        # The data of the key, because a key itself cannot be put onto the devices of several processes.
        return operand, batch, jax.random.key_data(self.chips.key), self.extra

    def _found(self, planted: Set[str], depends: Mapping[str, frozenset[str]]) -> "_Findings":
        """Refuse metrics of which none depends on a draw; find which of them, and which draws, are without effect."""
        reached = {name: paths for name, paths in depends.items() if name not in self.beside}
        lost = sorted(path for path in planted - frozenset().union(*reached.values()) if not never_read(path))
        flat = [name for name, paths in reached.items() if not paths]
        if planted and len(flat) == len(reached):
            raise MismatchNotApplied(
                f"metric_fn '{function_name(self.metric_fn)}' does not depend on the draw of "
                f"{listing(sorted(planted))}, so every chip would look perfect. Likely cause: it reads parameters from "
                f"elsewhere than from the tree that it is given; with Rockpool, evaluate net.set_attributes(tree)"
            )
        return _Findings(tuple(flat) if planted else (), tuple(lost))

    def _warn(self, findings: "_Findings", written: Set[str]) -> None:
        if self.recipe is not None:
            warn_of_layout(self.recipe, findings.layout)
        name = f"metric_fn '{function_name(self.metric_fn)}'"
        if findings.flat:
            warn_user(
                f"{name} gives {listing(map(repr, findings.flat))}, which depends on no draw: it is the same on every "
                f"chip"
            )
        if findings.lost:
            warn_user(
                f"{name} does not depend on the draw of {listing(findings.lost, limit=6)}: their mismatch costs it "
                f"nothing, on a chip as here, if the network that is deployed does not use them either"
            )
        if written:
            warn_user(
                f"{name} wrote {listing(sorted(written), limit=6)}: the module is in training mode, so dropout is on "
                f"and batch statistics are those of the test batch. Call model.eval() at the beginning of the metric"
            )


class _Findings(NamedTuple):
    """What was found in a traced metric.

    Attributes:
        flat: metrics that depend on no draw.
        lost: leaves whose draw no metric depends on.
        layout: leaves that the metric uses otherwise than the hardware says that they sit, by path, in words.
    """

    flat: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    layout: Mapping[str, str] = {}


def gathered(rounds: Iterator[dict[str, jax.Array]], advance: Callable[[int], None]) -> dict[str, np.ndarray]:
    """The values of all rounds, shape (cases, chips) by name; after Ctrl-C those of the first rounds, or none."""
    finished: list[dict[str, np.ndarray]] = []
    try:
        for values in rounds:
            finished.append(fetch(values))
            advance(next(iter(finished[-1].values())).shape[1])
    except KeyboardInterrupt:
        if not finished:
            return {}
    return {name: np.concatenate([values[name] for values in finished], axis=1) for name in finished[0]}


def require_filled(batch: Any) -> Any:
    """A batch that holds something.

    Raises:
        MetricError: an array in it is empty.
        PrototypeError: one was donated, and is gone.
    """
    for leaf in jax.tree.leaves(batch):
        require_there({"an array of the batch": leaf})
        if 0 in np.shape(leaf):
            raise MetricError(f"an empty batch (an array of shape {np.shape(leaf)}): there is nothing to measure")
    return batch


def on_device(batch: Any) -> Any:
    """A batch that holds something, copied to the device: once, not in every round.

    Raises:
        MetricError: an array in it is empty.
    """
    # A CPU's device takes an aligned NumPy array as it lies, and would see what is written into it later.
    held = jax.tree.map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, require_filled(batch))
    return jax.device_put(held)


def divided(tree: Any) -> tuple[dict[str, jax.Array], Callable[[Any], Any]]:
    """The arrays of real numbers in a tree, and how to put them back.

    These arrays are operands, so that another network of the same shape compiles nothing; Python numbers, functions,
    integers and keys stay in the tree, because a metric may depend on them in any way.
    """
    leaves, structure = adapter_of(tree).flattened(tree)
    operand = {
        # A copy of a NumPy array, which the user may change while chips are still measured.
        path: jnp.array(leaf) if isinstance(leaf, np.ndarray) else leaf
        for path, leaf in leaves.items()
        if isinstance(leaf, jax.Array | np.ndarray) and is_real(leaf)
    }

    def rebuild(operand: dict[str, jax.Array]) -> Any:
        return structure.unflatten({path: operand.get(path, leaf) for path, leaf in leaves.items()}.values())

    return operand, rebuild
