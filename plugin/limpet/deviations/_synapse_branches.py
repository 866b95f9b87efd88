"""Synapses of DYNAP-SE2 after deployment: each weight a sum of branch currents that are known."""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checked import refusal
from .._errors import LimpetError
from ..draws._strength import checked_strength
from ._deviation import Deviation
from ._draw import Draw
from ._log_normal import sigma_of_logarithm
from ._power_of_two import power_of_two
from ._quantize import rounded_to
from ._to_largest import checked_numbers, sign_of

MOST_BRANCHES = 6
"""More would make tables of more than 64 levels."""


@dataclass(frozen=True)
class SynapseBranches(Deviation):
    """`sign * sum_b mask_b * I_b * L_b`: a weight made of some of its core's branch currents, each of which deviates.

    On DYNAP-SE2 the neurons of a core share four currents I_b. Each synapse holds a mask of four bits, which says how
    many of them add up to its weight, and has a transistor of its own for each: L_b is log-normal of median 1, and
    independent for each branch of each synapse. A value is first rounded to the nearest sum that the core has, so that
    a deployed network, whose weights are such sums, stays what it is at strength 0, and a network that is trained is
    trained for them. Gradients pass through the rounding as if it were not there.

    `BinaryBranches` is the same for weights whose currents are yet to be chosen. `limpet.dynapse.deploy` chooses them,
    and makes this deviation.

    Attributes:
        spread: relative standard deviation of one branch's current, a finite number >= 0.
        currents: the branch currents of each core, as weights: what each bit is worth in the leaf's unit. Finite
            numbers >= 0, as many for each core.
        cores: the number of the core of each postsynaptic neuron (the leaf's last axis). May be left out where there
            is one core.
        core_spread: relative standard deviation of what a core has in common: the error of each of its currents,
            the same for all of its synapses in all leaves.

    Raises:
        StrengthError: a spread or a current is no such number.
        LimpetError: another argument is none of these.

    Examples:
        >>> import limpet
        >>> branches = SynapseBranches(spread=0.1, currents=((0.1, 0.2, 0.4, 0.8),))
        >>> mismatch = limpet.Mismatch({"w_rec": True}, branches)
        >>> nominal = mismatch(jax.random.key(0), {"w_rec": jnp.array([[0.31, -0.88]])}, 0.0)
        >>> [f"{weight:.1f}" for weight in nominal["w_rec"][0]]
        ['0.3', '-0.9']
    """

    spread: float
    currents: tuple[tuple[float, ...], ...]
    cores: tuple[int, ...] = ()
    core_spread: float = 0.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        checked_numbers(self, "spread", "core_spread")
        object.__setattr__(self, "currents", _checked_currents(self.currents, f"{name}.currents"))
        cores = np.asarray(self.cores)
        if cores.ndim != 1 or not np.isin(cores, range(len(self.currents))).all():
            most = len(self.currents) - 1
            reason = f"allowed is the number of each neuron's core, 0 to {most}, for which there are currents"
            raise refusal(f"{name}.cores", self.cores, reason)
        if len(self.currents) > 1 and not self.cores:
            raise LimpetError(f"{name}.cores: missing; say the core of each neuron, as there are {len(self.currents)}")
        object.__setattr__(self, "cores", tuple(int(core) for core in cores))

    def deviate(self, draw: Draw, value: jax.Array, strength: jax.Array) -> jax.Array:
        cores = self._cores_of(value)
        levels, masks = (jnp.asarray(table) for table in self._levels(value.dtype))
        # Of each neuron: how many of the bounds between its core's levels lie below a weight.
        bounds = ((levels[:, 1:] + levels[:, :-1]) / 2)[cores]
        size = jnp.abs(value)
        place = sum((size > bounds[..., level]).astype(jnp.int32) for level in range(bounds.shape[-1]))
        mask = masks[cores, place]
        currents = jnp.asarray(self.currents, value.dtype)
        common = draw.shared("the branch currents of each core").normal(
            currents.shape, _exponent(self.core_spread, strength)
        )
        of_core = (currents * power_of_two(common))[cores]
        exponent = _exponent(self.spread, strength)
        moved = jnp.zeros_like(value)
        for branch in range(currents.shape[1]):
            factor = power_of_two(draw.stream(f"branch {branch}").normal(value.shape, exponent))
            change = of_core[..., branch] * factor - currents[cores, branch]
            moved += jnp.where((mask >> branch) & 1, change, 0)
        # NaN is nearest to no sum: it stays, so that training which diverges is seen to.
        level = jnp.where(jnp.isfinite(value), sign_of(value) * levels[cores, place], value)
        return rounded_to(value, level) + sign_of(value) * moved

    def _cores_of(self, value: jax.Array) -> np.ndarray:
        """The core of each place of the last axis; of a scalar, a scalar."""
        neurons = value.shape[-1] if value.ndim else 1
        cores = np.array(self.cores or (0,) * neurons, int)
        if len(cores) != neurons:
            raise LimpetError(
                f"{type(self).__name__}.cores: {len(cores)} of them for a leaf of shape {value.shape}, whose last "
                f"axis has {neurons} places: give the core of each neuron"
            )
        return cores if value.ndim else cores[0]

    def _levels(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """Of each core, the sums of its currents in increasing order, and the mask that gives each."""
        tables = [sums_of(currents) for currents in self.currents]
        return np.array([sums for sums, _ in tables], dtype), np.array([masks for _, masks in tables])


def sums_of(currents: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All sums that some of a core's currents have, in increasing order, and the mask of each: bit b is current b.

    Of masks that have the same sum the smaller one stands first.
    """
    bits = np.array([mask[::-1] for mask in product((0, 1), repeat=len(currents))])
    sums = bits @ np.array(currents, float)
    order = np.argsort(sums, kind="stable")
    return sums[order], order


def _exponent(spread: float, strength: jax.Array) -> jax.Array:
    """The standard deviation of the binary logarithm of a factor."""
    return sigma_of_logarithm(spread * strength) / math.log(2)


def _checked_currents(currents: Any, name: str) -> tuple[tuple[float, ...], ...]:
    rows = [tuple(row) for row in currents if np.ndim(row) == 1] if isinstance(currents, tuple | list) else []
    if not rows or len(rows) != len(currents) or len({*map(len, rows)}) != 1 or not 1 <= len(rows[0]) <= MOST_BRANCHES:
        reason = f"allowed are the currents of each core, as ((0.1, 0.2, 0.4, 0.8),), at most {MOST_BRANCHES} for each"
        raise refusal(name, currents, reason)
    return tuple(tuple(checked_strength(current, name) for current in row) for row in rows)
