"""The generators by name, and the version of what they draw: what must be known to rebuild a chip. Imports no JAX."""

from typing import Any, Literal, get_args

from .._errors import LimpetError

Generator = Literal["fast", "threefry2x32"]
"""What draws are made with: `limpet.fast`; or JAX's default, which is cryptographic and many times slower on a CPU."""

DEFAULT_GENERATOR: Generator = "fast"

MAX_SEED = 2**32 - 1
"""The largest seed, number of a chip and number of a step."""

DRAWS_VERSION = 3
"""Goes up whenever the same seed, chip and generator come to give another chip. The chips of "threefry2x32" are those
of version 1, which knew no other; those of "fast" came with version 2, and changed with 3 before any release."""


def checked_generator(generator: Any) -> Generator:
    """The generator's name, or a `LimpetError`."""
    if generator not in get_args(Generator):
        raise LimpetError(f"generator = {generator!r}: allowed are {', '.join(map(repr, get_args(Generator)))}")
    return generator
