"""Cases by chance that can be run again: each has a seed of its own, which a failure prints."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

FACTOR = "LIMPET_FUZZ"
"""The environment variable that multiplies how many cases are run: without it a quarter, by `.ci/run` once as many."""
ONLY = "LIMPET_FUZZ_SEED"
"""The environment variable that names one case, to be run alone."""


def cases(count: int) -> Iterator[tuple[int, random.Random]]:
    """The seed of each case, and a source of chance that follows from it. With a larger factor more cases come after.

    Args:
        count: of cases, before it is multiplied.
    """
    only = os.environ.get(ONLY)
    seeds = range(int(count * float(os.environ.get(FACTOR, "0.25")))) if only is None else [int(only)]
    return ((seed, random.Random(seed)) for seed in seeds)


@contextmanager
def case(seed: int) -> Iterator[None]:
    """What a case does; says which one it was that failed."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"This was case {seed}; run it alone by {ONLY}={seed}.")
        raise


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Some bytes of a file changed, lost, doubled, put in, or moved."""

    def anywhere(data: bytearray) -> int:
        return rng.randrange(len(data))

    def flip(data: bytearray) -> None:
        data[anywhere(data)] ^= 1 << rng.randrange(8)

    def replace(data: bytearray) -> None:
        data[anywhere(data)] = rng.randrange(256)

    def cut(data: bytearray) -> None:
        del data[anywhere(data) :]

    def lose(data: bytearray) -> None:
        place = anywhere(data)
        del data[place : place + rng.randrange(1, 40)]

    def append(data: bytearray) -> None:
        data.extend(rng.randbytes(rng.randrange(1, 40)))

    def put_in(data: bytearray) -> None:
        place = anywhere(data)
        data[place:place] = rng.randbytes(rng.randrange(1, 9))

    def enlarge(data: bytearray) -> None:
        place = anywhere(data)
        data[place : place + 4] = b"\xff\xff\xff\x7f"

    def blank(data: bytearray) -> None:
        place = anywhere(data)
        data[place : place + 8] = bytes(8)

    damage = [flip, replace, cut, lose, append, put_in, enlarge, blank]
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        if data:
            rng.choice(damage)(data)
    return bytes(data)
