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
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .._errors import LimpetError
from .._jax import Function, Number, device_memory, is_tracing, size_of

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
    """A compiled evaluation of some tiles. It holds neither the function that it was made of nor any network.

    Attributes:
        compiled: takes operands, cases, the chips' numbers and how many tiles of them are wanted.
        width: how many chips each device evaluates at a time.
        tiles: how many tiles a call evaluates at most.
        mesh: the devices that share a tile; None for the default device.
        names: of the results.
    """

    compiled: Any
    width: int
    tiles: int
    mesh: Mesh | None
    names: tuple[str, ...]

    def rounds(self, operands: Any, cases: Any, first: int, chips: int) -> Iterator[dict[str, jax.Array]]:
        """Evaluate chips `first`, `first + 1`, ... call by call; nothing waits for the device.

        A call is handed over when it is asked for: see `ahead`.

        Args:
            operands: handed to the chip function; a pytree of arrays of the shapes compiled for.
            cases: a pytree of arrays whose leading axis counts the cases.
            first: number of the first chip.
            chips: how many.

        Yields:
            Results by name, each of shape (cases, chips of this call, *shape of one chip's).
        """
        _require_untraced()
        if self.mesh is not None:
            operands, cases = jax.device_put((operands, cases), NamedSharding(self.mesh, PartitionSpec()))
        tile = self.width * (1 if self.mesh is None else self.mesh.size)
        # Every core gets a share, also where one call could evaluate all chips.
        size = tile * min(self.tiles, -(-chips // (tile * len(_lanes()))))
        for turn, start in enumerate(range(first, first + chips, size)):
            wanted = min(size, first + chips - start)
            numbers = _numbers(start, tile * self.tiles, self.mesh)
            arguments = (operands, cases, numbers, _replicated(np.int32(-(-wanted // tile)), self.mesh))
            if self.mesh is None and _platform() == "cpu":
                values = _lanes()[turn % len(_lanes())].submit(self.compiled, *arguments).result()
            else:
                values = self.compiled(*arguments)
            yield {name: metric[:, :wanted] for name, metric in values.items()}


@dataclass(frozen=True)
class ChipTrace:
    """A chip function, traced.

    Attributes:
        function: the traced function of the number of a chip, a case and the operands.
        results: shape and dtype of each result by name, in the order of the results.
    """

    function: Function
    results: Mapping[str, jax.ShapeDtypeStruct]


def traced(chip_fn: ChipFn, operands: Any, cases: Any) -> ChipTrace:
    """Trace a chip function once.

    Args:
        chip_fn: see `ChipFn`; jittable.
        operands: a pytree of arrays.
        cases: a pytree of arrays whose leading axis counts the cases.
    """
    _require_untraced()
    case = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf)), cases)
    number = jax.ShapeDtypeStruct((), jnp.uint32)
    # Without shardings: on which devices operands lie is no business of one chip's function.
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), operands)
    jaxpr, results = jax.make_jaxpr(chip_fn, return_shape=True)(number, case, shapes)
    # Sorted, because that is the order in which JAX flattens a dict.
    return ChipTrace(Function(jaxpr), {name: results[name] for name in sorted(results)})


def compiled_program(trace: ChipTrace, operands: Any, cases: Any, mesh: Mesh | None = None) -> Program:
    """Choose the width of a tile for a traced chip function, and compile it once.

    Args:
        trace: of the chip function.
        operands: a pytree of arrays, of the shapes traced for.
        cases: a pytree of arrays whose leading axis counts the cases, likewise.
        mesh: devices that share the chips; None for the default device.
    """
    # Under JAX's default, explicit axes, even a slice of the result would need a sharding of its own.
    mesh = None if mesh is None else Mesh(mesh.devices, mesh.axis_names)
    width = _width(trace.function)
    # Several devices take a tile each: which of a longer row of chips each had evaluated would have to be sorted out.
    tiles = max(1, min(TILES, CALL // width)) if mesh is None else 1
    count = len(jax.tree.leaves(cases)[0])

    def values(operands: Any, cases: Any, numbers: jax.Array, wanted: jax.Array) -> dict[str, jax.Array]:
        def chip(number: jax.Array) -> list[jax.Array]:
            return jax.lax.map(lambda case: trace.function(*jax.tree.leaves((number, case, operands))), cases)

        def evaluated(numbers: jax.Array) -> list[jax.Array]:
            return jax.vmap(chip)(numbers)

        def skipped(numbers: jax.Array) -> list[jax.Array]:
            return [jnp.zeros((width, count, *result.shape), result.dtype) for result in trace.results.values()]

        if tiles == 1:
            results = evaluated(numbers)
        else:
            rows = jax.lax.map(
                lambda tile: jax.lax.cond(tile[0] < wanted, evaluated, skipped, tile[1]),
                (jnp.arange(tiles), numbers.reshape(tiles, width)),
            )
            results = [result.reshape(tiles * width, *result.shape[2:]) for result in rows]
        return {name: jnp.swapaxes(result, 0, 1) for name, result in zip(trace.results, results, strict=True)}

    if mesh is not None:
        axes = tuple(mesh.axis_names)
        values = jax.shard_map(
            values,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(axes), PartitionSpec()),
            out_specs=PartitionSpec(None, axes),
            check_vma=False,
        )
        operands, cases = jax.device_put((operands, cases), NamedSharding(mesh, PartitionSpec()))
    numbers = _numbers(0, tiles * width * (1 if mesh is None else mesh.size), mesh)
    program = jax.jit(values).lower(operands, cases, numbers, _replicated(np.int32(1), mesh)).compile()
    return Program(program, width, tiles, mesh, tuple(trace.results))


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


def _require_untraced() -> None:
    """Refuse to measure while a function is traced: programs are compiled and run here, and a trace has no values.

    Raises:
        LimpetError: a function is being traced.
    """
    if is_tracing():
        raise LimpetError(
            "virtual chips are measured within a function that JAX is tracing (jax.jit, jax.grad, jax.vmap, "
            "jax.lax.scan): measure outside of it, or through jax.pure_callback"
        )


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


def _replicated(value: np.int32, mesh: Mesh | None) -> jax.Array:
    if mesh is None:
        return jnp.asarray(value)
    return jax.device_put(value, NamedSharding(mesh, PartitionSpec()))


@cache
def _lanes() -> tuple[ThreadPoolExecutor, ...]:
    """One thread for each core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return tuple(ThreadPoolExecutor(1, thread_name_prefix=f"limpet-lane-{lane}") for lane in range(cores))


def _platform() -> str:
    return jax.local_devices()[0].platform
