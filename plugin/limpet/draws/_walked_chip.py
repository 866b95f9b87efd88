"""The name of a chip that a walk in the space of draws came to. JAX is imported when its key is made, not before."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._checked import number, whole
from .._errors import LimpetError
from ._generator import DEFAULT_GENERATOR, MAX_SEED, Generator, checked_generator

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class WalkedChip:
    """A chip that a walk in the space of draws came to, as `limpet.tail_yield` takes it. Its name is the walk.

    The random numbers of a chip are normal ones n, or made of such: u = Phi(n) is uniform. A step of length b takes
    n to `sqrt(1 - b^2) n + b m`, where m are those of a fresh chip; so n stays normal, whatever the number of devices.
    The chip follows from its name: it costs as many draws as the walk had steps, and one.

    Wherever a number of a chip is taken, `limpet.freeze` and `limpet.on_chip`, so is a walked chip; `mismatch(chip.key,
    tree)` draws it as well.

    Attributes:
        seed: the seed of the walk. Its chips are others than the virtual chips of that seed.
        first: the number of the chip at which the walk began.
        steps: the number of the fresh chip and the length b, 0 < b <= 1, of each step.
        generator: the generator of random numbers.

    Raises:
        LimpetError: an argument is none of these.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> chip = WalkedChip(seed=0, first=17, steps=((1041, 0.5), (1210, 0.3)))
        >>> print(chip)
        0:17+1041*0.5+1210*0.3
        >>> params, mismatch = {"w": jnp.ones(3)}, limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))
        >>> bool((limpet.freeze(params, mismatch, chip=chip)["w"] == mismatch(chip.key, params)["w"]).all())
        True
    """

    seed: int
    first: int
    steps: tuple[tuple[int, float], ...] = ()
    generator: Generator = DEFAULT_GENERATOR

    def __post_init__(self) -> None:
        name = type(self).__name__
        whole(f"{name}.seed", self.seed, 0, MAX_SEED)
        whole(f"{name}.first", self.first, 0, MAX_SEED)
        checked_generator(self.generator)
        object.__setattr__(self, "steps", tuple(_checked_step(step, f"{name}.steps") for step in self.steps))

    @property
    def key(self) -> "jax.Array":
        """The random key of the chip, with which a recipe draws it."""
        from ._walk import walk_key

        return walk_key(self.seed, self.first, self.steps, self.generator)

    def __str__(self) -> str:
        return f"{self.seed}:{self.first}" + "".join(f"+{chip}*{length:.9g}" for chip, length in self.steps)


def _checked_step(step: Any, name: str) -> tuple[int, float]:
    try:
        chip, length = step
    except (TypeError, ValueError):
        raise LimpetError(f"{name}: {step!r} is no pair of the number of a fresh chip and a length") from None
    return whole(f"{name}: the fresh chip", chip, 0, MAX_SEED), number(f"{name}: the length", length, 0, 1, above=True)
