"""A measurement: a metric of one network on many virtual chips. Curves, sensitivities and evaluations share it."""

from collections.abc import Callable, Hashable, Iterator, Set
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .._checked import shown
from .._errors import LimpetError, MetricError, MismatchNotApplied, PrototypeError, warn_user
from .._jax import is_traced, is_weak, settings
from ..draws._generator import DEFAULT_GENERATOR, Generator
from ..draws._keys import stream, typed_key
from ..flow._probe import ProbeNotes, depends_on
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of, never_read
from ..leaves._paths import is_real, listing
from ..leaves._probed import probed
from ._metric import MetricFn, function_name, named_scalars
from ._monte_carlo import ChipTrace, Program, compiled_program, fetch, tile_bytes, traced
from ._programs import Programs, SameObject

PROGRAMS = Programs()
"""The programs compiled in this process. The second measurement with one metric function compiles nothing."""


class Chip(NamedTuple):
    """One chip: the key of its draw, whether it is the mirror image of that draw, and its number."""

    key: jax.Array
    mirrored: Any
    number: jax.Array


OnChip = Callable[[Callable[[Any], dict[str, jax.Array]], Chip, Any, Any], dict[str, jax.Array]]
"""`on_chip(metric, chip, tree, case)`: what is measured of one chip in one case, scalars by name, and what it gives
beside them, see `Measurement.beside`. `metric` takes a deviated tree."""


class Chips(Protocol):
    """What says which leaves deviate on a chip: a recipe, or chips that were measured. It is hashable."""

    @property
    def paths(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Measurement:
    """What is measured, on which chips.

    Attributes:
        metric_fn: the user's metric.
        recipe: who deviates, and how; or measured chips.
        on_chip: see `OnChip`.
        kind: names `on_chip`: two measurements of one kind, metric and recipe share their programs.
        seed: of the chips.
        generator: of the chips.
        antithetic: numbers 2k and 2k + 1 are chip k and its mirror image.
        mesh: devices that share the chips; None for the default device.
        extra: a pytree of arrays that `on_chip` is given beside each case, as `(case, extra)`; None for none.
        audited: whether a metric that depends on no draw is refused.
        beside: names of results that are no metrics, and may be arrays of any shape.
    """

    metric_fn: MetricFn
    recipe: Recipe | Chips
    on_chip: OnChip
    kind: Hashable
    seed: int = 0
    generator: Generator = DEFAULT_GENERATOR
    antithetic: bool = False
    mesh: Mesh | None = None
    extra: Any = None
    audited: bool = True
    beside: frozenset[str] = frozenset()

    def prepare(self, tree: Any, batch: Any, cases: Any) -> "Prepared":
        """Compile the measurement for one network, or find what was compiled for one like it; nothing is evaluated.

        Args:
            tree: the tree of nominal values.
            batch: handed to the metric; a pytree of arrays.
            cases: a pytree of arrays whose leading axis counts the cases.

        Raises:
            PrototypeError: recipe and tree do not fit.
            MetricError: the metric gives no scalars, or cannot be traced.
            MismatchNotApplied: the metric depends on no draw at all.
        """
        operand, rebuild, constants = divided(tree)
        # The data of the key, because a key itself cannot be put onto the devices of several processes.
        chips_key = jax.random.key_data(stream(self.seed, "chip", self.generator))
        operands = (operand, batch, chips_key, self.extra)
        key = (
            self.kind,
            self.recipe,
            constants,
            _shapes((operands, cases)),
            self.generator,
            self.antithetic,
            self.mesh,
            tile_bytes(),
            tuple(settings()),
        )
        program = PROGRAMS.get(self.metric_fn, key, lambda: self._compiled(operands, cases, rebuild))
        return Prepared(program, operands, cases)

    def _compiled(self, operands: Any, cases: Any, rebuild: Callable[[Any], Any]) -> Program:
        notes, written = ProbeNotes(), set[str]()

        def chip_fn(number: jax.Array, case: Any, operands: Any) -> dict[str, jax.Array]:
            operand, batch, chips, extra = operands

            def metric(deviated: Any) -> dict[str, jax.Array]:
                adapter, watched = adapter_of(deviated), probed(deviated, self.recipe.paths, notes)
                result, paths = adapter.written_by(watched, lambda tree: named_scalars(self.metric_fn, tree, batch))
                written.update(paths)
                return result

            mirrored = number % 2 == 1 if self.antithetic else False
            key = jax.random.fold_in(typed_key(chips, self.generator), number // 2 if self.antithetic else number)
            tree = rebuild(operand)
            return self.on_chip(metric, Chip(key, mirrored, number), tree, case if extra is None else (case, extra))

        trace = traced(chip_fn, operands, cases)
        if self.audited:
            self._require_reached(notes.planted, trace)
        program = compiled_program(trace, operands, cases, self.mesh)
        if written:
            warn_user(
                f"metric_fn '{function_name(self.metric_fn)}' wrote {listing(sorted(written), limit=6)}: the module is "
                f"in training mode, so dropout is on and batch statistics are those of the test batch. Call "
                f"model.eval() at the beginning of the metric",
            )
        return program

    def _require_reached(self, planted: Set[str], trace: ChipTrace) -> None:
        """Refuse metrics of which none depends on a draw; say which of them, and which draws, are without effect."""
        results = zip(trace.results, depends_on(trace.function), strict=True)
        reached = {name: paths for name, paths in results if name not in self.beside}
        lost = sorted(path for path in planted - frozenset().union(*reached.values()) if not never_read(path))
        flat = [name for name, paths in reached.items() if not paths]
        name = function_name(self.metric_fn)
        if planted and len(flat) == len(reached):
            raise MismatchNotApplied(
                f"metric_fn '{name}' does not depend on the draw of {listing(sorted(planted))}, so every chip would "
                f"look perfect. Likely cause: it reads parameters from elsewhere than from the tree that it is given; "
                f"with Rockpool, evaluate net.set_attributes(tree)"
            )
        if planted and flat:
            warn_user(
                f"metric_fn '{name}' gives {listing(map(repr, flat))}, which depends on no draw: it is the same on "
                f"every chip"
            )
        if lost:
            warn_user(
                f"metric_fn '{name}' does not depend on the draw of {listing(lost, limit=6)}: their mismatch costs it "
                f"nothing, on a chip as here, if the network that is deployed does not use them either",
            )


@dataclass(frozen=True)
class Prepared:
    """A measurement of one network, ready to be made.

    Attributes:
        program: what is compiled.
        operands: network, batch and chips, as the program takes them.
        cases: a pytree of arrays whose leading axis counts the cases.
    """

    program: Program
    operands: Any
    cases: Any

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics."""
        return self.program.names

    def rounds(self, first: int, chips: int) -> Iterator[dict[str, jax.Array]]:
        """Evaluate chips `first`, `first + 1`, ... in some rounds; nothing waits for the device.

        Args:
            first: number of the first chip.
            chips: how many.

        Yields:
            Metrics by name, each of shape (cases, chips of this round).
        """
        return self.program.rounds(self.operands, self.cases, first, chips)


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


def checked_recipe(mismatch: Any, tree: Any) -> Recipe:
    """The recipe that the user means by `mismatch`, of which the tree lacks nothing.

    Args:
        mismatch: a recipe, or a hardware.
        tree: the tree of nominal values.

    Raises:
        LimpetError: `mismatch` is neither.
        PrototypeError: recipe and tree do not fit, or the tree lacks leaves that deviate.
    """
    if isinstance(mismatch, Hardware):
        mismatch = mismatch.on(tree)
    if not isinstance(mismatch, Recipe):
        of_config = " (of a configuration, config.hardware)" if hasattr(mismatch, "hardware") else ""
        raise LimpetError(
            f"mismatch = {shown(mismatch)}: give the hardware{of_config} or a recipe, hardware.on(model) or "
            f"limpet.Mismatch(prototype, limpet.Gaussian(sigma=0.1)); a prototype alone says which leaves deviate, but "
            f"not how"
        )
    adapter = adapter_of(tree)
    adapter.require_tree(tree)
    leaves = adapter.leaves(tree)
    missing = [path for path in mismatch.paths if path not in leaves]
    if missing:
        raise PrototypeError(
            f"the tree lacks {listing(missing)}, which deviate on this hardware: measured without them they would "
            f"count as perfect. Hand over the whole tree; with Rockpool, "
            f"limpet.attributes(net.set_attributes(params)). To measure some parts of the hardware alone, use "
            f"mismatch.only(...)"
        )
    return mismatch


def checked_batch(batch: Any) -> Any:
    """A batch that holds something.

    Raises:
        MetricError: an array in it is empty.
    """
    for leaf in jax.tree.leaves(batch):
        if 0 in np.shape(leaf):
            raise MetricError(f"an empty batch (an array of shape {np.shape(leaf)}): there is nothing to measure")
    return batch


def check_count(name: str, value: Any) -> int:
    """A number of chips.

    Raises:
        MetricError: it is no whole number from 1 on.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise MetricError(f"{name} = {value!r}: allowed is a whole number from 1 on")
    if value < 1:
        raise MetricError(f"{name}: at least 1 is needed, got {value}")
    return int(value)


def divided(tree: Any) -> tuple[dict[str, jax.Array], Callable[[Any], Any], Hashable]:
    """The arrays of real numbers in a tree, how to put them back, and what the rest of the tree is.

    Arrays are operands, so that another network of the same shape compiles nothing; Python numbers, functions,
    integers and keys are constants, on which a metric may depend in any way.
    """
    leaves, structure = adapter_of(tree).flattened(tree)
    operand = {
        path: jnp.asarray(leaf)
        for path, leaf in leaves.items()
        if isinstance(leaf, jax.Array | np.ndarray) and is_real(leaf)
    }
    rest = {path: leaf for path, leaf in leaves.items() if path not in operand}
    constants = tuple((path, _constant(leaf)) for path, leaf in rest.items())

    def rebuild(operand: dict[str, jax.Array]) -> Any:
        return structure.unflatten({path: operand.get(path, leaf) for path, leaf in leaves.items()}.values())

    return operand, rebuild, (structure, constants)


def _constant(leaf: Any) -> Hashable:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array | np.ndarray | np.generic) and not is_traced(leaf):
        values = np.asarray(leaf)
        return values.shape, str(values.dtype), values.tobytes()
    return SameObject(leaf)


def _shapes(tree: Any) -> Hashable:
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(
        (np.shape(leaf), str(jnp.result_type(leaf)), is_weak(leaf), _sharding(leaf)) for leaf in leaves
    )


def _sharding(leaf: Any) -> Hashable:
    return getattr(leaf, "sharding", None)
