"""The condition under which a chip is drawn and looked at. JAX is imported when a condition is checked, not before."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._checked import shown, whole
from .._errors import LimpetError, StrengthError
from ..draws._generator import MAX_SEED
from ..draws._strength import checked_strength
from ._duration import place_of, seconds

if TYPE_CHECKING:
    import jax
    from jax.typing import ArrayLike


class Condition(NamedTuple):
    """The condition under which a chip is drawn and looked at: how strongly it deviates, how old it is, which read.

    One chip under several conditions stays one chip: its devices keep their random numbers.

    Attributes:
        scale: the factor on every deviation, a scalar >= 0, which may be traced. One below 0 is refused; where it is
            traced, so that nobody can know, it counts as 0, no deviation, and not as the mirror image.
        time: the time since the chip was programmed, in seconds or as a text such as "1 day"; may be traced. None is
            right after programming, and known to be when the draw is compiled.
        read: the number of the read, an integer >= 0, which may be traced: read noise is drawn anew for each read, all
            else is the chip's own.
        mirrored: True for the mirror image of the chip, in which every random number has the opposite sign; may be
            traced.

    Examples:
        >>> import jax, jax.numpy as jnp, limpet
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Drift(exponent=0.05, spread=0.0))
        >>> chip = limpet.virtual_chip(seed=0, chip=3)
        >>> day = limpet.Condition(time="1 day")
        >>> print(f"{mismatch(chip, {'w': jnp.ones(3)}, day)['w'][0]:.3f}")
        0.658
    """

    scale: "ArrayLike" = 1.0
    time: "ArrayLike | str | None" = None
    read: "ArrayLike" = 0
    mirrored: "ArrayLike | None" = False

    @property
    def sign(self) -> "jax.Array | None":
        """-1.0 for the mirror image of a chip and 1.0 otherwise; None where it is known to be no mirror image."""
        import jax.numpy as jnp

        return None if self.mirrored is None else jnp.where(self.mirrored, -1.0, 1.0)

    def checked(self) -> "Condition":
        """The same condition as scalars that a compiled function takes; `mirrored` is None where it is known False.

        Raises:
            StrengthError: `scale` or `time` is negative, NaN, infinite (where its value is known) or no scalar.
            LimpetError: `mirrored` is no bool, or `read` no integer >= 0.
        """
        time = seconds(self.time, "time") if isinstance(self.time, str) else self.time
        return Condition(
            _checked_scalar(self.scale, "scale"),
            None if time is None else _checked_scalar(time, "time"),
            _checked_read(self.read),
            _checked_mirrored(self.mirrored),
        )


UNCHANGED = Condition()
"""The condition where nothing is said: the hardware as it is described."""


def condition_of(given: Any, name: str = "condition") -> Condition:
    """The condition that is meant: one itself, or a number, which is a scale. It is checked; see `Condition.checked`.

    Args:
        given: the user's own argument.
        name: the name of the argument.

    Raises:
        LimpetError: it is neither.
    """
    if isinstance(given, Condition):
        return given.checked()
    if isinstance(given, str | tuple | list | dict) or given is None:
        raise LimpetError(
            f"{name} = {shown(given)}: give limpet.Condition(scale=..., time=...), or a number, the scale"
        )
    return Condition(given).checked()


def known_condition(given: Any, name: str = "condition") -> Condition:
    """The condition that is meant, see `condition_of`, as Python numbers.

    Raises:
        LimpetError: it is none, or is being traced, where a number is needed.
    """
    from .._jax import is_traced

    condition_of(given, name)
    condition = given if isinstance(given, Condition) else Condition(given)
    if any(map(is_traced, condition)):
        raise LimpetError(f"{name} = {shown(given)}: virtual chips are measured outside of functions that JAX traces")
    time = seconds(condition.time, "time") if isinstance(condition.time, str) else condition.time
    return Condition(
        float(np.asarray(condition.scale)),
        None if time is None else float(np.asarray(time)),
        int(np.asarray(condition.read)),
        bool(np.asarray(condition.mirrored or False)),
    )


def condition_label(condition: Condition) -> str:
    """A condition of Python numbers in a few words.

    Examples:
        >>> condition_label(Condition(0.5, 86400.0))
        'scale 0.5, 1 day after programming'
    """
    words = [f"scale {condition.scale:g}"]
    words += (
        [] if condition.time is None else [f"{place_of('time', float(np.asarray(condition.time)))} after programming"]
    )
    words += [f"read {condition.read}"] if condition.read else []
    return ", ".join([*words, *(["mirrored"] if condition.mirrored else [])])


def _checked_scalar(given: Any, name: str) -> Any:
    import jax.numpy as jnp

    from .._jax import is_traced

    if np.ndim(given) != 0:
        raise StrengthError(f"{name} has shape {np.shape(given)}: it is a scalar; map over several with jax.vmap")
    scalar = jnp.asarray(given, jnp.result_type(float))
    if is_traced(given):
        return jnp.where(scalar < 0, 0, scalar) if name == "scale" else scalar
    checked_strength(given, name)
    return scalar


def _checked_read(read: Any) -> Any:
    from .._jax import is_traced

    if type(read) is np.uint32 or (is_traced(read) and not read.ndim):
        return read
    return np.uint32(whole("read", read, 0, MAX_SEED))


def _checked_mirrored(mirrored: Any) -> Any:
    import jax.numpy as jnp

    if mirrored is False or mirrored is None:
        return None
    if not isinstance(mirrored, bool) and (getattr(mirrored, "dtype", None) != np.bool_ or np.ndim(mirrored)):
        raise LimpetError(f"mirrored = {mirrored!r}: allowed is one bool")
    return jnp.asarray(mirrored)
