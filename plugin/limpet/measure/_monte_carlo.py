"""The Monte Carlo engine: one compiled program for all cases (strengths, masks, ...) of all virtual chips.

Chips are evaluated in tiles: the chips of a tile are vmapped, and cases are mapped inside a chip, so that its draw is
made once for all of them. A tile's width follows from the function and the shapes of its operands alone, never from how
many chips are asked for or how many devices share them, because XLA orders sums by shape: that is why a chip's value
depends on none of these. A call of the program evaluates as many tiles as it is told, up to a few: that is why a
program serves every number of chips.

On a CPU, XLA runs small operations on one core. Computations that one thread hands over run one after another, those of
several threads at the same time: calls are therefore handed over by one thread for each core (a lane).
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .._jax import Function, Number, device_memory, size_of
from ._programs import Trace, kept, run, traced

ChipFn = Callable[[jax.Array, Any, Any], dict[str, jax.Array]]
"""`chip_fn(number, case, operands)`: the results of one chip in one case, arrays by name; of metrics, scalars."""

WIDEST = {"cpu": 128, "accelerator": 1024}
"""Chips in a tile at most. Wider ones gain little; on a CPU they leave cores idle where few chips are asked for."""
TILES, CALL = 8, 64
"""So many tiles one call evaluates at most, up to so many chips: each call takes time to hand over, but the larger they
are, the longer progress and interrupts wait."""
CPU_TILE_BYTES = 8 * 2**20
"""About what a core's caches hold: beyond it a CPU gets slower."""
ACCELERATOR_SHARE = 0.25
"""The share of a device's memory that a tile may take."""


@dataclass(frozen=True)
class Program:
    """A compiled evaluation of some tiles. It holds neither the function that it was made of nor any array.

    Attributes:
        compiled: a function of captured arrays, operands, cases, the chips' numbers, and how many tiles are wanted.
        width: the number of chips that each device evaluates at a time.
        tiles: the number of tiles that a call evaluates at most.
        mesh: the devices that share a tile; None for the default device.
        findings: the result of the check before it was compiled.
    """

    compiled: Any
    width: int
    tiles: int
    mesh: Mesh | None
    findings: Any


@dataclass(frozen=True)
class Prepared:
    """A chip function, compiled, with all that it is called with but the chips.

    Attributes:
        program: the compiled program.
        names: the names of the results.
        trace: the chip function as it was traced.
        operands: the operands of the chip function; others of their shapes will do.
        cases: the cases.
    """

    program: Program
    names: tuple[str, ...]
    trace: Trace
    operands: Any
    cases: Any

    def rounds(self, first: int, chips: int) -> Iterator[dict[str, jax.Array]]:
        """Evaluate chips `first`, `first + 1`, ... call by call; nothing waits for the device.

        A call is handed over when it is asked for: see `ahead`.

        Args:
            first: the number of the first chip.
            chips: the number of chips.

        Yields:
            Results by name, each of shape (cases, chips of this call, *shape of one chip's).
        """
        program = self.program
        operands = _replicated(_flat(self.trace, self.operands, self.cases), program.mesh)
        tile = program.width * (1 if program.mesh is None else program.mesh.size)
        # Every core gets a share, also where one call could evaluate all chips.
        size = tile * min(program.tiles, -(-chips // (tile * len(_lanes()))))
        for turn, start in enumerate(range(first, first + chips, size)):
            wanted = min(size, first + chips - start)
            numbers = _numbers(start, tile * program.tiles, program.mesh)
            arguments = (*operands, numbers, _replicated(np.int32(-(-wanted // tile)), program.mesh))

            def values(arguments: Any = arguments, wanted: int = wanted) -> list[jax.Array]:
                return [metric[:, :wanted] for metric in program.compiled(*arguments)]

            if program.mesh is None and _platform() == "cpu":
                metrics = _lanes()[turn % len(_lanes())].submit(run, values).result()
            else:
                metrics = run(values)
            yield dict(zip(self.names, metrics, strict=True))


def prepared(
    chip_fn: ChipFn,
    operands: Any,
    cases: Any,
    mesh: Mesh | None = None,
    check: Callable[[Mapping[str, Any], Function], Any] = lambda results, function: None,
) -> Prepared:
    """Compile a chip function, or find what was compiled for one that comes to the same; nothing is evaluated.

    Args:
        chip_fn: the function of one chip, jittable, see `ChipFn`.
        operands: a pytree of arrays.
        cases: a pytree of arrays whose leading axis counts the cases.
        mesh: devices that share the chips; None for the default device.
        check: a check of what was traced, before it is compiled: of its results by name, and of its operations. What it
            finds is kept with the program.
    """
    case = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf)), cases)
    # Without shardings: on which devices operands lie is no business of one chip's function.
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), operands)
    trace = traced(chip_fn, jax.ShapeDtypeStruct((), jnp.uint32), case, shapes)
    # Sorted, because that is the order in which JAX flattens a dict.
    results = {name: trace.results[name] for name in sorted(trace.results)}
    # Under JAX's default, explicit axes, even a slice of the result would need a sharding of its own.
    mesh = None if mesh is None else Mesh(mesh.devices, mesh.axis_names)
    leaves = _flat(trace, operands, cases)

    def build() -> Program:
        findings = check(results, trace.written)
        return _compiled(trace, list(results.values()), leaves, mesh, findings)

    program = kept(trace, leaves, (mesh, tile_bytes(), _platform()), build)
    return Prepared(program, tuple(results), trace, operands, cases)


def _flat(trace: Trace, operands: Any, cases: Any) -> tuple[list[jax.Array], ...]:
    """Captured arrays, operands and cases, as a program takes them."""
    return tuple(list(map(jnp.asarray, jax.tree.leaves(part))) for part in (trace.captured, operands, cases))


def _compiled(
    trace: Trace, results: Sequence[jax.ShapeDtypeStruct], leaves: Any, mesh: Mesh | None, findings: Any
) -> Program:
    """Choose the width of a tile for a traced chip function, and compile it once."""
    width, count = _width(trace.function), len(leaves[2][0])
    # Several devices take a tile each: which of a longer row of chips each had evaluated would have to be sorted out.
    tiles = max(1, min(TILES, CALL // width)) if mesh is None else 1

    def values(captured: Any, operands: Any, cases: Any, numbers: jax.Array, wanted: jax.Array) -> list[jax.Array]:
        def chip(number: jax.Array) -> list[jax.Array]:
            return jax.lax.map(lambda case: trace(captured, (number, *case, *operands)), cases)

        def evaluated(numbers: jax.Array) -> list[jax.Array]:
            return jax.vmap(chip)(numbers)

        def skipped(numbers: jax.Array) -> list[jax.Array]:
            return [jnp.zeros((width, count, *result.shape), result.dtype) for result in results]

        if tiles == 1:
            found = evaluated(numbers)
        else:
            rows = jax.lax.map(
                lambda tile: jax.lax.cond(tile[0] < wanted, evaluated, skipped, tile[1]),
                (jnp.arange(tiles), numbers.reshape(tiles, width)),
            )
            found = [row.reshape(tiles * width, *row.shape[2:]) for row in rows]
        return [jnp.swapaxes(result, 0, 1) for result in found]

    if mesh is not None:
        axes = tuple(mesh.axis_names)
        alike = PartitionSpec()
        values = jax.shard_map(
            values,
            mesh=mesh,
            in_specs=(alike, alike, alike, PartitionSpec(axes), alike),
            out_specs=PartitionSpec(None, axes),
            check_vma=False,
        )
    numbers = _numbers(0, tiles * width * (1 if mesh is None else mesh.size), mesh)
    program = jax.jit(values).lower(*_replicated(leaves, mesh), numbers, _replicated(np.int32(1), mesh)).compile()
    return Program(program, width, tiles, mesh, findings)


def ahead(rounds: Iterator[Any]) -> Iterator[Any]:
    """The same rounds, each handed out when enough of the next have been started to keep every core busy."""
    waiting: deque[Any] = deque()
    for started in rounds:
        waiting.append(started)
        if len(waiting) > len(_lanes()):
            yield waiting.popleft()
    yield from waiting


def fetch(values: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    """A round's values on the host, gathered where other processes hold a part of them."""
    if all(value.is_fully_addressable for value in values.values()):
        return jax.device_get(values)
    from jax.experimental import multihost_utils

    return jax.device_get(multihost_utils.process_allgather(values, tiled=True))


def tile_bytes() -> float:
    """The temporary memory that a tile may take."""
    limit = None if _platform() == "cpu" else device_memory()
    return CPU_TILE_BYTES if limit is None else ACCELERATOR_SHARE * limit


def _width(function: Function) -> int:
    """The largest power of two of chips whose values fit into a tile's memory."""
    fitting = max(tile_bytes() / max(_peak_bytes(function), 1), 1)
    return min(2 ** int(np.log2(fitting)), WIDEST["cpu" if _platform() == "cpu" else "accelerator"])


def _peak_bytes(function: Function) -> int:
    """The most bytes that the intermediate values of a traced function take at one time, one chip alone.

    It is counted operation by operation, a value from the operation that makes it to the last one that reads it. XLA
    fuses some operations and needs less; asking XLA would mean to compile twice.
    """
    operations = list(function.operations)
    last_use: dict[Any, int] = {}
    for index, read in enumerate([*(operation.operands for operation in operations), function.results]):
        last_use |= {variable: index for variable in read if not isinstance(variable, Number)}
    live: dict[Any, int] = {}
    peak = 0
    for index, operation in enumerate(operations):
        live |= {variable: size_of(variable) for variable in operation.results}
        inside = max(map(_peak_bytes, operation.functions), default=0)
        peak = max(peak, sum(live.values()) + inside)
        live = {variable: size for variable, size in live.items() if last_use.get(variable, -1) > index}
    return peak


def _numbers(start: int, size: int, mesh: Mesh | None) -> jax.Array:
    numbers = np.arange(start, start + size, dtype=np.uint32)
    if mesh is None:
        return jnp.asarray(numbers)
    sharding = NamedSharding(mesh, PartitionSpec(tuple(mesh.axis_names)))
    return jax.make_array_from_callback((size,), sharding, lambda index: numbers[index])


def _replicated(values: Any, mesh: Mesh | None) -> Any:
    """Arrays as each device of a mesh has them."""
    if mesh is None:
        return jax.tree.map(jnp.asarray, values)
    return jax.device_put(values, NamedSharding(mesh, PartitionSpec()))


@cache
def _lanes() -> tuple[ThreadPoolExecutor, ...]:
    """One thread for each core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return tuple(ThreadPoolExecutor(1, thread_name_prefix=f"limpet-lane-{lane}") for lane in range(cores))


def _platform() -> str:
    return jax.local_devices()[0].platform
