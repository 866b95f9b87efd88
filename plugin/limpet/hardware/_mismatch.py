"""The recipe: who deviates, and how. One idea, used three ways.

- a fresh key per step, inside the jitted update: dynamic mismatch
- one key per chip, before `jit`: frozen mismatch
- `vmap` over keys and scales: the Monte Carlo robustness curve
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from .._errors import LimpetError, PrototypeError, StrengthError
from ..deviations._deviation import Deviation, checked_strength
from ..draws._keys import path_hash
from ..leaves import flax_nnx as _nnx
from ..leaves import rockpool as _rockpool
from ..leaves._paths import leaves_by_path, listing
from ..leaves._prototype import require_real, selection
from ._leaf_draw import Gradient, LeafRule, deviate, path_hashes


class Recipe(ABC):
    """A pure function from a key and a tree to a deviated tree: a `Mismatch`, or several joined by `|`.

    Recipes compare by value, are hashable, and may be passed through `jax.jit` (as static data).
    """

    @abstractmethod
    def _rules(self) -> Mapping[str, LeafRule | None]:
        """The rule of each leaf described, by path."""

    @cached_property
    def plan(self) -> Mapping[str, LeafRule | None]:
        """The rule of each leaf described, by path; None for a leaf that does not deviate."""
        rules = self._rules()
        _require_distinct_hashes(rules)
        return rules

    @abstractmethod
    def with_sigma(self, sigma: float) -> Self:
        """The same recipe with every deviation at one sigma (relative standard deviation)."""

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The paths of the leaves that deviate."""
        return tuple(path for path, rule in self.plan.items() if rule is not None)

    def sigma(self, path: str) -> float:
        """The relative standard deviation of one leaf at scale 1; 0 for a leaf that does not deviate."""
        rule = self.plan[path]
        return 0.0 if rule is None else rule.deviation.sigma

    def __call__(self, key: jax.Array, tree: Any, scale: ArrayLike = 1.0) -> Any:
        """One draw.

        The draw of a leaf follows from the key and the leaf's path alone: not from the other leaves, the order of
        flattening, the number of devices or how calls are batched.

        Args:
            key: a JAX random key, shape (). Map over several with `jax.vmap`.
            tree: nominal values: any pytree whose leaf paths the prototype describes, or a part of one (parameters
                without simulation parameters); or a Flax nnx module. Draw from nominal values only: deviations of
                deviated values compound.
            scale: factor on every sigma, a scalar >= 0; may be traced, so that a schedule never retraces.

        Returns:
            The tree with selected leaves deviated, structure and dtypes kept. Leaves that are not selected are
            returned as the same objects: of an nnx module, the variables, so that what the new module writes in a
            forward pass (batch statistics, random counters) the old one has.

        Raises:
            PrototypeError: the tree has leaves that the prototype does not describe, none that it selects, or a
                selected leaf that holds no real floating-point numbers.
            StrengthError: `scale` is negative, NaN, infinite (where its value is known) or no scalar.
            LimpetError: an nnx module with state was captured by the function that is being traced.
        """
        if _rockpool.is_module(tree):
            raise PrototypeError(
                f"got the module {type(tree).__name__}: a recipe deviates trees; pass limpet.attributes(net), "
                f"or make one chip of the network with limpet.freeze(net, mismatch, chip=0)"
            )
        _require_key(key)
        scale = _checked_scale(scale)
        if _nnx.is_module(tree):
            _nnx.require_selected(tree, self.paths)
            return _nnx.with_values(tree, lambda leaves: leaves_by_path(self(key, _nnx.nested(leaves), scale))[0])
        leaves, structure = leaves_by_path(tree)
        self._require_described(leaves)
        rules = {path: rule for path in leaves if (rule := self.plan[path]) is not None}
        deviated = {
            path: deviate(key, hashed, jnp.asarray(leaves[path]), scale, rule)
            for (path, rule), hashed in zip(rules.items(), path_hashes(list(rules), key), strict=True)
        }
        return structure.unflatten((leaves | deviated).values())

    def __or__(self, other: "Recipe") -> "JoinedMismatch":
        """Both recipes at once, over disjoint leaves."""
        if not isinstance(other, Recipe):
            return NotImplemented
        return JoinedMismatch((self, other))

    def _require_described(self, leaves: Mapping[str, Any]) -> None:
        stray = [path for path in leaves if path not in self.plan]
        if stray:
            raise PrototypeError(
                f"the tree has leaves that the prototype does not describe: {listing(stray)}; "
                f"the prototype describes: {listing(self.plan)}. Was it built from another network?"
            )
        chosen = [path for path in leaves if self.plan[path] is not None]
        if not chosen:
            raise PrototypeError(
                f"nothing in this tree deviates; selected are: {listing(self.paths)}; the tree has: {listing(leaves)}"
            )
        require_real({path: leaves[path] for path in chosen})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.plan == other.plan

    def __hash__(self) -> int:
        return hash(frozenset(self.plan.items()))


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Mismatch(Recipe):
    """Who deviates, and how: a pure recipe, built once.

    Attributes:
        prototype: a tree of Python bools, True where a leaf deviates.
        deviation: the distribution by which each selected leaf deviates.
        gradient: "through" is the exact gradient of what was evaluated (it holds the factor 1 + sigma * n);
            "straight_through" is the gradient at the deviated values, passed to the nominal ones unchanged.

    Raises:
        PrototypeError: the prototype is empty or no tree of bools.

    Example:
        >>> import limpet
        >>> params = {"kernel": jnp.ones((2, 2)), "bias": jnp.zeros(2)}
        >>> mismatch = limpet.Mismatch(limpet.prototype(params, ("kernel", True)), limpet.Gaussian(sigma=0.1))
        >>> mismatch
        Mismatch(Gaussian(sigma=0.1) on kernel)
        >>> deviated = jax.jit(mismatch)(jax.random.key(0), params)
        >>> bool((deviated["kernel"] != 1).all()), bool((deviated["bias"] == 0).all())
        (True, True)
    """

    prototype: Any
    deviation: Deviation
    gradient: Gradient = "through"

    def __post_init__(self) -> None:
        if not isinstance(self.deviation, Deviation):
            raise StrengthError(f"deviation = {self.deviation!r}: give a deviation such as limpet.Gaussian(sigma=0.1)")
        if self.gradient not in get_args(Gradient):
            raise LimpetError(f"gradient = {self.gradient!r}: allowed are 'through' and 'straight_through'")
        _ = self.plan

    def _rules(self) -> Mapping[str, LeafRule | None]:
        rule = LeafRule(self.deviation, self.gradient)
        return {path: rule if chosen else None for path, chosen in selection(self.prototype).items()}

    def with_sigma(self, sigma: float) -> Self:
        return replace(self, deviation=replace(self.deviation, sigma=sigma))

    def __repr__(self) -> str:
        return f"Mismatch({self.deviation!r} on {listing(self.paths, limit=6)})"


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class JoinedMismatch(Recipe):
    """Several recipes over disjoint leaves, drawn together; what `a | b` makes.

    Attributes:
        parts: the recipes joined. A tree may hold the leaves that any of them describes.

    Raises:
        PrototypeError: two parts select the same leaf.
    """

    parts: tuple[Recipe, ...]

    def __post_init__(self) -> None:
        _ = self.plan

    def _rules(self) -> Mapping[str, LeafRule | None]:
        plan: dict[str, LeafRule | None] = {}
        for part in self.parts:
            for path, rule in part.plan.items():
                if rule is not None and plan.get(path) is not None:
                    raise PrototypeError(f"leaf '{path}' is selected twice: recipes joined by | must be disjoint")
                plan[path] = plan.get(path) or rule
        return plan

    def with_sigma(self, sigma: float) -> Self:
        return replace(self, parts=tuple(part.with_sigma(sigma) for part in self.parts))

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.parts))


def _require_key(key: Any) -> None:
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if typed and key.shape:
        raise LimpetError(f"got {key.shape} keys: a recipe takes one; map over several with jax.vmap")
    if not typed and not (isinstance(key, jax.Array | np.ndarray) and key.dtype == jnp.uint32 and key.ndim == 1):
        raise LimpetError(f"key = {key!r}: a recipe takes a JAX random key, such as jax.random.key(0)")


def _checked_scale(scale: Any) -> jax.Array:
    if not isinstance(scale, Tracer):
        if np.ndim(scale) != 0:
            raise StrengthError(f"scale has shape {np.shape(scale)}: it is a scalar; map over several with jax.vmap")
        checked_strength(scale, "scale")
    elif scale.ndim:
        raise StrengthError(f"scale has shape {scale.shape}: it is a scalar; map over several with jax.vmap")
    return jnp.asarray(scale, jnp.result_type(float))


def _require_distinct_hashes(plan: Mapping[str, LeafRule | None]) -> None:
    """Two leaves with one hash would deviate alike; it happens once in some 10^5 networks of 200 leaves."""
    owners: dict[int, str] = {}
    for path in (path for path, rule in plan.items() if rule is not None):
        if (first := owners.setdefault(path_hash(path), path)) != path:
            raise PrototypeError(
                f"leaves '{first}' and '{path}' have the same hash and would deviate alike: rename one"
            )
