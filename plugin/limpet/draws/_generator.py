"""The generators by name, and the version of what they draw: what must be known to rebuild a chip. Imports no JAX."""

from typing import Any, Literal, get_args

from .._errors import LimpetError

Generator = Literal["fast", "threefry2x32"]
"""What draws are made with: `limpet.fast`; or JAX's default, which is cryptographic and many times slower on a CPU."""

DEFAULT_GENERATOR: Generator = "fast"

MAX_SEED = 2**32 - 1
"""The largest seed, number of a chip and number of a step."""

DRAWS_VERSION = 4
"""The version of what is drawn: it goes up when the same seed, chip and generator come to give another chip.

Words of versions 3 and 4 are equal; since 4, values made of them are promised within two units in the last place of a
leaf's largest value, and normal numbers that several values have in common are exact in the tails."""


def checked_generator(generator: Any) -> Generator:
    """The generator's name, or a `LimpetError`."""
    if generator not in get_args(Generator):
        raise LimpetError(f"generator = {generator!r}: allowed are {', '.join(map(repr, get_args(Generator)))}")
    return generator
