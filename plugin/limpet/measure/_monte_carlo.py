"""The Monte Carlo engine: one compiled function for all cases (strengths, masks, ...) of all virtual chips.

Chips are evaluated in tiles: a tile is vmapped, tiles follow one another in the compiled function, and cases are mapped
inside a chip, so that a chip's draw is made once for all of them. A tile is as wide as the memory that the compiled
function reports allows. Its width is settled before anything is evaluated and the same for every round and every
device, because XLA orders sums by shape: that is why a chip's value depends neither on how many chips are handed over
at a time nor on how many devices share them.

On a CPU, XLA runs small operations on one core. Computations that one thread hands over run one after another, those of
several threads at the same time: rounds are therefore handed over by one thread for each core (a lane).
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

ChipFn = Callable[[jax.Array, Any, Any], dict[str, jax.Array]]
"""`chip_fn(number, case, operands)`: the metrics of one chip in one case, scalars by name."""

FIRST_WIDTH = 32
WIDEST = {"cpu": 256, "accelerator": 1024}  # chips in a tile; wider gains little and leaves several devices idle
CPU_TILE_BYTES = 8 * 2**20  # about what the caches hold: beyond it a CPU gets slower
ACCELERATOR_SHARE = 0.25  # of the device's memory
ROUNDS = 16  # how often progress moves, unless the user says otherwise


class MonteCarlo:
    """An evaluation of many chips, compiled once for operands of one shape.

    Args:
        chip_fn: see `ChipFn`; jittable.
        cases: a pytree of arrays whose leading axis counts the cases.
        chips: how many chips will be asked for; sizes the rounds.
        chunk: how many chips go to the device at a time, rounded up to whole tiles; None: a sixteenth of them. It sets
            how often progress moves and an interrupt is heard, never a result.
        mesh: devices that share the chips; None: the default device.
    """

    def __init__(
        self, chip_fn: ChipFn, cases: Any, *, chips: int, chunk: int | None = None, mesh: Mesh | None = None
    ) -> None:
        self._chip_fn = chip_fn
        self._cases = cases
        self._chunk = chunk or -(-chips // ROUNDS)
        # Under JAX's default, explicit axes, even a slice of the result would need a sharding of its own.
        self._mesh = None if mesh is None else Mesh(mesh.devices, mesh.axis_names)
        self._width: int | None = None
        self._compiled: dict[Any, Any] = {}

    def rounds(self, operands: Any, first: int, chips: int) -> Iterator[dict[str, jax.Array]]:
        """Evaluate chips `first`, `first + 1`, ... round by round; nothing waits for the device.

        A round is handed over when it is asked for: see `ahead`.

        Args:
            operands: handed to `chip_fn`; a pytree of arrays.
            first: number of the first chip.
            chips: how many.

        Yields:
            Metrics by name, each of shape (cases, chips of this round).
        """
        compiled = self._compile(operands)
        if self._mesh is not None:
            operands = jax.device_put(operands, NamedSharding(self._mesh, PartitionSpec()))
        size = self._round_size(self._mesh)
        for turn, start in enumerate(range(first, first + chips, size)):
            numbers = self._numbers(start, size, self._mesh)
            if self._mesh is None and _platform() == "cpu":
                values = _lanes()[turn % len(_lanes())].submit(compiled, operands, numbers).result()
            else:
                values = compiled(operands, numbers)
            wanted = min(size, first + chips - start)
            yield values if wanted == size else {name: found[:, :wanted] for name, found in values.items()}

    def _compile(self, operands: Any) -> Any:
        leaves, structure = jax.tree.flatten(operands)
        shapes = (
            structure,
            tuple((np.shape(leaf), jnp.result_type(leaf), getattr(leaf, "sharding", None)) for leaf in leaves),
        )
        if shapes not in self._compiled:
            program = self._settle_width(operands) if self._width is None else None
            self._compiled[shapes] = program or self._lower(operands, self._mesh)
        return self._compiled[shapes]

    def _settle_width(self, operands: Any) -> Any:
        """Choose the width of a tile, from what the program for one device reports; that program, if it is of use.

        Neither the number of chips nor that of devices enters, so that no value depends on them.
        """
        self._width = FIRST_WIDTH
        program = self._lower(operands, None)
        fitting = 2 ** int(np.log2(max(FIRST_WIDTH * _tile_bytes() / max(_temporary_bytes(program), 1), 1)))
        fitting = min(fitting, WIDEST["cpu" if _platform() == "cpu" else "accelerator"])
        # A tile twice as wide is not worth compiling again.
        if FIRST_WIDTH <= fitting <= 2 * FIRST_WIDTH:
            return program if self._mesh is None else None
        self._width = fitting
        return None

    def _lower(self, operands: Any, mesh: Mesh | None) -> Any:
        width = self._width
        assert width is not None

        def values(operands: Any, numbers: jax.Array) -> dict[str, jax.Array]:
            def chip(number: jax.Array) -> dict[str, jax.Array]:
                return jax.lax.map(lambda case: self._chip_fn(number, case, operands), self._cases)

            tiles = jax.lax.map(jax.vmap(chip), numbers.reshape(-1, width))
            return {name: found.reshape(numbers.size, -1).T for name, found in tiles.items()}

        if mesh is not None:
            axes = tuple(mesh.axis_names)
            values = jax.shard_map(
                values,
                mesh=mesh,
                in_specs=(PartitionSpec(), PartitionSpec(axes)),
                out_specs=PartitionSpec(None, axes),
                check_vma=False,
            )
        return jax.jit(values).lower(operands, self._numbers(0, self._round_size(mesh), mesh)).compile()

    def _round_size(self, mesh: Mesh | None) -> int:
        assert self._width is not None
        tiles = self._width * (1 if mesh is None else mesh.size)
        return -(-self._chunk // tiles) * tiles

    @staticmethod
    def _numbers(start: int, size: int, mesh: Mesh | None) -> jax.Array:
        numbers = np.arange(start, start + size, dtype=np.uint32)
        if mesh is None:
            return jnp.asarray(numbers)
        sharding = NamedSharding(mesh, PartitionSpec(tuple(mesh.axis_names)))
        return jax.make_array_from_callback((size,), sharding, lambda index: numbers[index])


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


@cache
def _lanes() -> tuple[ThreadPoolExecutor, ...]:
    """One thread for each core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return tuple(ThreadPoolExecutor(1, thread_name_prefix=f"limpet-lane-{lane}") for lane in range(cores))


def _platform() -> str:
    return jax.local_devices()[0].platform


def _tile_bytes() -> float:
    """The temporary memory that a tile may take."""
    limit = None if _platform() == "cpu" else (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return CPU_TILE_BYTES if limit is None else ACCELERATOR_SHARE * limit


def _temporary_bytes(program: Any) -> int:
    analysis = program.memory_analysis()
    return CPU_TILE_BYTES if analysis is None else analysis.temp_size_in_bytes
