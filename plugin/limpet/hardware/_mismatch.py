"""The recipe: who deviates, and how. One idea, used five ways.

- a fresh key per step, inside the jitted update: dynamic mismatch, fresh chips
- one key per chip, before `jit`: frozen mismatch
- `vmap` over keys and scales: the Monte Carlo robustness curve
- several keys in one loss: objectives
- one key per chip with a few parameters trained on top: calibration
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._errors import LimpetError, PrototypeError
from .._jax import is_traced, is_tracing
from ..analog._found import InputRanges, OutputBounds, checked_bounds, checked_ranges, require_learned, require_takers
from ..analog._mark import Chip, Note, fresh_keys, marked
from ..analog._product import Product, checked_product
from ..arrays._array import UNSAID, Array
from ..deviations._crossbar import Crossbar
from ..deviations._deviation import Deviation, checked_deviation, sigma_of
from ..deviations._kinds import label
from ..deviations._levels import levels_of, without
from ..deviations._sourced import by_level
from ..draws._keys import path_hash
from ..leaves._adapter import Leaves, Range
from ..leaves._adapters import adapter_of
from ..leaves._arrays import Arrays, array_at, checked_arrays, require_matches
from ..leaves._paths import listing
from ..leaves._prototype import require_real, selection
from ..results._condition import Condition, condition_of
from ._dtypes import require_countable, require_finite, warn_of_coarse
from ._leaf_draw import Gradient, LeafRule, cells_of, deviate_alike, leaf_keys, path_hashes, require_cells
from ._limits import Limits, checked_limits
from ._sharding import divisions

Rules = Mapping[str, LeafRule | None]
"""By leaf path, how the leaf deviates; None for a leaf that does not."""


class Recipe(ABC):
    """A pure function from a key and a tree to a deviated tree: what `limpet.Hardware.on` and `limpet.Mismatch` make.

    Recipes compare by value, are hashable, and may be passed through `jax.jit` (as static data). `a | b` is both at
    once, over disjoint leaves.
    """

    @property
    @abstractmethod
    def rules(self) -> Rules:
        """How each leaf deviates that the recipe describes."""

    @property
    def parts(self) -> Mapping[str, "Recipe"]:
        """The parts of the hardware by name; empty for a recipe by hand."""
        return {}

    @abstractmethod
    def with_sigma(self, sigma: float) -> Self:
        """The same recipe with every deviation at one sigma (relative standard deviation).

        Raises:
            StrengthError: a leaf's deviation has no relative standard deviation.
        """

    @abstractmethod
    def with_deviation(self, deviation: Deviation) -> Self:
        """The same leaves, all of which deviate by one deviation, without limits."""

    @abstractmethod
    def _without(self, levels: Collection[str]) -> "Recipe":
        """The same recipe without what some levels of variation draw."""

    def without(self, *levels: str) -> "Recipe":
        """The recipe without some levels of variation; what the others draw is the same.

        Args:
            *levels: "device" for what each device has of its own, "core" for what the synapses of a core of DYNAP-SE2
                have in common, "chip" or another name of a `limpet.Shared` or a `limpet.Spatial`, "shared" or "spatial"
                for those without a name.

        Raises:
            LimpetError: nothing is drawn at such a level.
        """
        require_levels(levels, [rule.deviation for rule in self.rules.values() if rule is not None])
        return self._without(levels)

    @abstractmethod
    def by_level(self) -> "Recipe":
        """The same recipe, drawn with mixed keys (see `mixed_key`) where a leaf draws at several levels."""

    @abstractmethod
    def without_products(self) -> "Recipe":
        """The same recipe with exact products: its weights deviate, and x @ w is computed of them as everywhere."""

    @cached_property
    def has_products(self) -> bool:
        """Whether some leaf has a product, so that it has to be used within `limpet.products`."""
        return any(rule.product is not None for rule in self.rules.values() if rule is not None)

    @cached_property
    def learned(self) -> tuple[str, ...]:
        """The paths of the leaves whose input converters have ranges that are trained, or were found."""
        return tuple(path for path, rule in self.rules.items() if rule and rule.product and rule.product.learned)

    @abstractmethod
    def unlimited(self) -> "Recipe":
        """The same recipe without limits: what chips would hold if there were none."""

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The paths of the leaves that deviate."""
        return tuple(path for path, rule in self.rules.items() if rule is not None)

    @cached_property
    def timed(self) -> bool:
        """Whether a chip changes with the time since it was programmed."""
        return any(rule.deviation.timed for rule in self.rules.values() if rule is not None)

    @cached_property
    def random(self) -> bool:
        """Whether anything is drawn; where nothing is, all chips are the same."""
        return any(rule.random for rule in self.rules.values() if rule is not None)

    @cached_property
    def noisy_reads(self) -> bool:
        """Whether each read of a chip gives other values, or other products."""
        return any(rule.noisy_reads for rule in self.rules.values() if rule is not None)

    @cached_property
    def limited(self) -> bool:
        """Whether some leaf has limits."""
        return any(rule.limits is not None for rule in self.rules.values() if rule is not None)

    def sigma(self, path: str) -> float | None:
        """The relative standard deviation of one leaf at scale 1.

        It is 0 for a leaf that does not deviate, and None for one whose deviation has no relative standard deviation.
        """
        rule = self.rules[path]
        return 0.0 if rule is None else sigma_of(rule.deviation)

    @cached_property
    def shared_sigma(self) -> float | None:
        """The sigma of all leaves that deviate, where they share one; else None."""
        sigmas = {self.sigma(path) for path in self.paths}
        return sigmas.pop() if len(sigmas) == 1 else None

    def only(self, *parts: str) -> "Recipe":
        """The recipe of some parts of the hardware. A leaf's draw is the same, whichever parts are drawn beside it.

        Args:
            *parts: names of parts.

        Raises:
            LimpetError: the hardware has no such part, or this is a recipe by hand.
        """
        if unknown := [name for name in parts if name not in self.parts]:
            raise LimpetError(f"there is no part {listing(map(repr, unknown))}; the parts are {listing(self.parts)}")
        if not parts:
            raise LimpetError(f"no part is named; the parts are {listing(self.parts)}")
        return JoinedMismatch(tuple(self.parts[name] for name in parts), parts)

    def __call__(
        self,
        key: jax.Array,
        tree: Any,
        condition: Condition | ArrayLike = 1.0,
        *,
        only: Collection[str] | None = None,
        sharding: Any = None,
        ranges: Mapping[str, ArrayLike] | None = None,
    ) -> Any:
        """One draw.

        The draw of a leaf follows from the key and the leaf's path alone: not from the other leaves, the order of
        flattening, the number of devices or how calls are batched.

        One key is one chip. Members of an ensemble that are stacked along a leading axis and mapped under one key,
        `jax.vmap(mismatch, in_axes=(None, 0))(key, stacked)`, all meet the same chip, as networks that are compared
        should. To give each member a chip of its own, map over keys as well:
        `jax.vmap(mismatch)(jax.random.split(key, members), stacked)`.

        Args:
            key: a JAX random key, shape (). Map over several with `jax.vmap`.
            tree: nominal values: any pytree whose leaf paths the prototype describes, or a part of one (parameters
                without simulation parameters); or a Flax nnx module. Draw from nominal values only: deviations of
                deviated values compound.
            condition: the condition under which the chip is drawn: a `limpet.Condition`, which holds scale, time, read
                and mirror image; or a number, which is the scale, a factor >= 0 on every deviation. All of it may be
                traced, so that a schedule never retraces.
            only: names of the parts of the hardware that are drawn; None for all of them.
            sharding: the division of leaves among devices within `jax.shard_map`: the `PartitionSpec`s that it was
                given as `in_specs` for the tree, one for all leaves or a prefix of the tree. Each device then draws its
                own part of the chip. Without it, leaves that differ from device to device are refused. (Under `jax.jit`
                alone, draws of sharded arrays are right without it.)
            ranges: the ranges of input converters by leaf path, where they are "learned": arrays of shape (matrices,
                row tiles), or scalars, as `limpet.input_ranges` gives them, which optax may train beside the tree. None
                for those that the hardware holds.

        Returns:
            The tree with selected leaves deviated, structure and dtypes kept. Leaves that are not selected are
            returned as the same objects: of an nnx module, the variables, so that what the new module writes in a
            forward pass (batch statistics, random counters) the old one has.

        Raises:
            PrototypeError: the tree has leaves that the prototype does not describe, none that it selects, or a
                selected leaf that holds no real floating-point numbers.
            StrengthError: the scale or the time is negative, NaN, infinite (where its value is known) or no scalar.
            LimpetError: `key` is no random key; there is no part that `only` names; an nnx module with state was
                captured by the function that is being traced; values are beyond limits whose policy is "error" (where
                they are known).
        """
        if only is not None:
            if isinstance(only, str):
                raise LimpetError(f"only = {only!r}: give a list of names of parts; they are {listing(self.parts)}")
            return self.only(*only)(key, tree, condition, sharding=sharding, ranges=ranges)
        _require_key(key)
        condition = condition_of(condition)
        adapter = adapter_of(tree)
        adapter.require_selected(tree, self.paths)
        if ranges is not None:
            require_learned(ranges, self.learned)
        return adapter.with_values(tree, lambda leaves: self.on_leaves(key, leaves, condition, sharding, ranges))

    def __or__(self, other: "Recipe") -> "JoinedMismatch":
        """Both recipes at once, over disjoint leaves.

        Raises:
            PrototypeError: both select the same leaf.
        """
        if not isinstance(other, Recipe):
            return NotImplemented
        names = (*self.parts, *other.parts)
        if self.parts and other.parts and len(set(names)) == len(names):
            return JoinedMismatch((*self.parts.values(), *other.parts.values()), names)
        return JoinedMismatch((self, other))

    def on_leaves(
        self,
        key: jax.Array,
        leaves: Leaves,
        condition: Condition,
        sharding: Any = None,
        ranges: Mapping[str, ArrayLike] | None = None,
    ) -> Leaves:
        """One draw of values by leaf path, for those who hold a tree's leaves; see `__call__`.

        Args:
            key: a random key, shape ().
            leaves: values by leaf path.
            condition: a checked one, see `Condition.checked`.
            sharding: the division among devices, as `__call__` takes it.
            ranges: the ranges of input converters, as `__call__` takes them.
        """
        deviated = self.weights_on_leaves(key, leaves, condition, sharding)
        if not self.has_products:
            return deviated
        if sharding is not None:
            analog = {path: leaves[path] for path in leaves if (rule := self.rules[path]) is not None and rule.product}
            if divided := divisions(analog, key, sharding):
                raise LimpetError(
                    f"leaf '{next(iter(divided))}' has a product, and a device holds a part of its arrays within "
                    f"jax.shard_map: draw and compute under jax.jit, which divides both among devices, or give every "
                    f"device the whole leaf"
                )
        return self.with_products(key, leaves, deviated, condition, ranges=ranges)

    def with_products(
        self,
        key: jax.Array,
        nominal: Leaves,
        deviated: Leaves,
        condition: Condition,
        gains: Leaves | None = None,
        own: bool = True,
        ranges: Mapping[str, ArrayLike] | None = None,
        read_key: jax.Array | None = None,
    ) -> Leaves:
        """Deviated values by leaf path, with marks on those whose arrays have products; see `limpet.products`.

        Args:
            key: the random key of the draw, shape ().
            nominal: nominal values by leaf path.
            deviated: what was drawn of them.
            condition: a checked one.
            gains: digital factors on outputs by leaf path, of shapes that broadcast to the leaves'; None for none.
            own: whether converters have gains and offsets of the chip's own.
            ranges: the ranges of input converters by leaf path; None, and for all other leaves, those that are held.
            read_key: the random key of the draw of what is new at each product; None for `key`.
        """
        rules = {path: rule for path in deviated if (rule := self.rules[path]) is not None and rule.product is not None}
        keys = leaf_keys(key, path_hashes(rules))
        reading = keys if read_key is None else leaf_keys(read_key, path_hashes(rules))
        fresh, marked_leaves = fresh_keys(reading, condition.read), dict(deviated)
        for place, (path, rule) in enumerate(rules.items()):
            value, product = jnp.asarray(nominal[path]), rule.product
            assert product is not None
            note = Note(path, value.shape, product if own else product.alike, rule.array)
            cells: tuple[jax.Array, ...] = ()
            if product.cells == "apart":
                crossbar = rule.deviation
                assert isinstance(crossbar, Crossbar)
                note = replace(note, shares=tuple(crossbar.shares), reference=crossbar.reference)
                cells = tuple(cells_of(keys[place], key, value, condition, rule))
            held = (ranges or {}).get(path, rule.ranges)
            held = None if held is None else jnp.asarray(held, jnp.result_type(float))
            chip = Chip(value, keys[place], key, fresh[place], condition, held, (gains or {}).get(path), cells)
            marked_leaves[path] = marked(deviated[path], chip, note)
        return marked_leaves

    def weights_on_leaves(self, key: jax.Array, leaves: Leaves, condition: Condition, sharding: Any = None) -> Leaves:
        """What a chip's devices hold, by leaf path, apart from what its arrays compute of it; see `on_leaves`."""
        self.require_described(leaves)
        rules = {path: rule for path in leaves if (rule := self.rules[path]) is not None}
        values = {path: _as_array(leaves[path]) for path in rules}
        for path, rule in rules.items():
            if rule.arranged and rule.array.axes not in (None, values[path].ndim):
                raise LimpetError(
                    f"leaf '{path}' has the shape {values[path].shape}, not the {rule.array.axes} axes that it had "
                    f"where the recipe was built: build it from a tree of the shapes that are drawn, or map over "
                    f"an axis of stacked networks with jax.vmap"
                )
        warn_of_coarse({path: rule.deviation.relative_spread for path, rule in rules.items()}, values, condition.scale)
        within_shard_map = jax.sharding.get_abstract_mesh().manual_axes
        divided = divisions(values, key, sharding) if within_shard_map or sharding is not None else {}
        keys, place_of = leaf_keys(key, path_hashes(rules)), {path: place for place, path in enumerate(rules)}
        deviated: dict[str, jax.Array] = {}
        of_devices = {path: rule.drawn for path, rule in rules.items()}
        for paths in _alike(of_devices, values, divided):
            own, held = keys[np.array([place_of[path] for path in paths])], [values[path] for path in paths]
            drawn = deviate_alike(own, key, held, condition, of_devices[paths[0]], divided.get(paths[0]))
            deviated |= zip(paths, drawn, strict=True)
        for path, rule in rules.items():
            if rule.limits is not None and rule.limits.policy == "error":
                rule.limits.require(deviated[path], path)
        return leaves | deviated

    def require_described(self, leaves: Leaves) -> None:
        """Refuse leaves that the recipe does not fit.

        Raises:
            PrototypeError: the recipe does not describe some of them, selects none, or one that cannot deviate
                (infinite values, where they are known).
        """
        stray = [path for path in leaves if path not in self.rules]
        if stray:
            raise PrototypeError(
                f"the tree has leaves that the prototype does not describe: {listing(stray)}; "
                f"the prototype describes: {listing(self.rules)}. Was it built from another network?"
            )
        chosen = [path for path in leaves if self.rules[path] is not None]
        if not chosen:
            raise PrototypeError(
                f"nothing in this tree deviates; selected are: {listing(self.paths)}; the tree has: {listing(leaves)}"
            )
        require_real({path: leaves[path] for path in chosen})
        require_countable({path: leaves[path] for path in chosen})
        require_finite({path: leaves[path] for path in chosen})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.rules == other.rules

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(frozenset(self.rules.items()))


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Mismatch(Recipe):
    """Who deviates, and how: a recipe by hand, built once.

    Attributes:
        prototype: a tree of Python bools, True where a leaf deviates.
        deviation: the distribution by which each selected leaf deviates.
        gradient: "through" is the exact gradient of what was evaluated (of a Gaussian it holds the factor
            1 + sigma * n); "through_value" is the same but for what a deviation takes of all values of a leaf together,
            as their largest, which counts as a constant; "straight_through" is the gradient at the deviated values,
            passed to the nominal ones unchanged.
        limits: the values between which the chip can hold the leaves.
        ranges: the smallest and the largest value by leaf path, where the limits name a table.
        array: the physical arrays that the leaves sit on: a `limpet.Array` for all of them, or a mapping by path glob.
            A recipe by hand knows no framework: what an array leaves open is as `limpet.Array` says for leaves of which
            nothing is known.
        product: what the arrays compute of their inputs, see `limpet.Product`; None for the exact product.
        input_ranges: the ranges of the input converters by leaf path, where they are "learned"; see `limpet.Part`.
        output_bounds: the bounds of the output converters by leaf path, in the place of the product's own.

    Raises:
        PrototypeError: the prototype is empty or no tree of bools.
        LimpetError: the deviation is none, or keeps parameters outside its fields; limits are none, or do not go with
            the deviation; the array is none, or said of no leaf; or the product is none.

    Examples:
        >>> import limpet
        >>> params = {"kernel": jnp.ones((2, 2)), "bias": jnp.zeros(2)}
        >>> mismatch = limpet.Mismatch(limpet.prototype(params, ("kernel", True)), limpet.Gaussian(sigma=0.1))
        >>> mismatch
        Mismatch(gaussian, sigma 0.1 on kernel)
        >>> deviated = jax.jit(mismatch)(jax.random.key(0), params)
        >>> bool((deviated["kernel"] != 1).all()), bool((deviated["bias"] == 0).all())
        (True, True)
    """

    prototype: Any
    deviation: Deviation
    gradient: Gradient = "through"
    limits: Limits | None = None
    ranges: Mapping[str, Range] | None = None
    array: Array | Mapping[str, Array] | Arrays = UNSAID
    product: Product | None = None
    input_ranges: Mapping[str, Any] | InputRanges = ()
    output_bounds: Mapping[str, float] | OutputBounds = ()

    def __post_init__(self) -> None:
        checked_deviation(self.deviation)
        checked_product(self.product)
        object.__setattr__(self, "input_ranges", checked_ranges(self.input_ranges))
        object.__setattr__(self, "output_bounds", checked_bounds(self.output_bounds))
        require_takers(self.input_ranges, self.output_bounds, self.product)  # pyright: ignore[reportArgumentType]
        chosen = selection(self.prototype)
        if stray := [path for path, _ in (*self.input_ranges, *self.output_bounds) if not chosen.get(path)]:
            raise PrototypeError(f"input_ranges, output_bounds: {listing(stray)} are not selected by the prototype")
        object.__setattr__(self, "array", checked_arrays(self.array))
        require_matches(checked_arrays(self.array), selection(self.prototype))
        if checked_limits(self.limits) is not None:
            self.limits.require_fit(self.deviation)  # pyright: ignore[reportOptionalMemberAccess]
        require_cells(self.product, self.deviation, self.limits)
        if (self.ranges is not None) != (self.limits is not None and self.limits.table is not None):
            raise LimpetError(
                f"limits = {self.limits!r}, ranges = {self.ranges!r}: ranges by leaf path are what a table says of a "
                f"network; give limits that name one to a limpet.Part, and lay the hardware over the network"
            )
        if self.gradient not in get_args(Gradient):
            raise LimpetError(f"gradient = {self.gradient!r}: allowed are {', '.join(map(repr, get_args(Gradient)))}")
        _require_distinct_hashes(self.rules)

    @cached_property
    def rules(self) -> Rules:  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
        arrays = dict(checked_arrays(self.array))
        ranges, bounds = dict(self.input_ranges), dict(self.output_bounds)

        def rule(path: str) -> LeafRule:
            limits = self.limits
            if limits is not None and self.ranges is not None:
                limits = Limits(*self.ranges[path], limits.policy) if path in self.ranges else None
            product = self.product
            if product is not None and path in bounds:
                product = product.with_bound(bounds[path])
            return LeafRule(self.deviation, self.gradient, limits, array_at(path, arrays), product, ranges.get(path))

        return {path: rule(path) if chosen else None for path, chosen in selection(self.prototype).items()}

    def with_sigma(self, sigma: float) -> Self:
        return replace(self, deviation=self.deviation.with_sigma(sigma))

    def with_deviation(self, deviation: Deviation) -> Self:
        return replace(self, deviation=deviation, limits=None, ranges=None)

    def unlimited(self) -> Self:
        return replace(self, limits=None, ranges=None)

    def without_products(self) -> Self:
        return replace(self, product=None, input_ranges=(), output_bounds=())

    def _without(self, levels: Collection[str]) -> Self:
        return replace(self, deviation=without(self.deviation, levels))

    def by_level(self) -> Self:
        return replace(self, deviation=by_level(self.deviation))

    def __repr__(self) -> str:
        return f"Mismatch({label(self.deviation)} on {listing(self.paths, limit=6)})"


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class JoinedMismatch(Recipe):
    """Several recipes over disjoint leaves, drawn together: what `a | b` makes, and `limpet.Hardware.on`.

    Attributes:
        members: the recipes joined. A tree may hold the leaves that any of them describes.
        names: the names of the members, where they are parts of a hardware; else empty.

    Raises:
        PrototypeError: two members select the same leaf.
    """

    members: tuple[Recipe, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_disjoint(self.members, self.names)
        _require_distinct_hashes(self.rules)

    @cached_property
    def rules(self) -> Rules:  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
        rules: dict[str, LeafRule | None] = {}
        for member in self.members:
            for path, rule in member.rules.items():
                rules[path] = rules.get(path) or rule
        return rules

    @property
    def parts(self) -> Mapping[str, Recipe]:
        return dict(zip(self.names, self.members, strict=True)) if self.names else {}

    def with_sigma(self, sigma: float) -> Self:
        return replace(self, members=tuple(member.with_sigma(sigma) for member in self.members))

    def with_deviation(self, deviation: Deviation) -> Self:
        return replace(self, members=tuple(member.with_deviation(deviation) for member in self.members))

    def unlimited(self) -> Self:
        return replace(self, members=tuple(member.unlimited() for member in self.members))

    def without_products(self) -> Self:
        return replace(self, members=tuple(member.without_products() for member in self.members))

    def _without(self, levels: Collection[str]) -> Self:
        return replace(self, members=tuple(member._without(levels) for member in self.members))

    def by_level(self) -> Self:
        return replace(self, members=tuple(member.by_level() for member in self.members))

    def __repr__(self) -> str:
        if self.names:
            return f"Hardware({', '.join(f'{name}: {part!r}' for name, part in self.parts.items())})"
        return " | ".join(map(repr, self.members))


def _require_key(key: Any) -> None:
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if typed and key.shape:
        raise LimpetError(f"got {key.shape} keys: a recipe takes one; map over several with jax.vmap")
    if not typed and not (isinstance(key, jax.Array | np.ndarray) and key.dtype == jnp.uint32 and key.ndim == 1):
        raise LimpetError(
            f"key is a {type(key).__name__}: a recipe is called as mismatch(key, tree), with a JAX random key such as "
            f"jax.random.key(0)"
        )


def _alike(rules: Mapping[str, LeafRule], values: Leaves, divided: Collection[str]) -> list[list[str]]:
    """The paths of leaves that may be drawn in one batch: of one rule, shape and dtype.

    On several devices a batch of leaves that are divided in different ways would have to be moved between them. How
    they are divided is not known while a program is traced; leaves whose paths differ by numbers alone, such as those
    of one kind of layer, are divided alike.
    """
    groups: dict[Any, list[str]] = {}
    several = jax.device_count() > 1
    for path, rule in rules.items():
        role = re.sub(r"\d+", "", path) if several else ""
        alone = path if path in divided else ""
        groups.setdefault((rule, values[path].shape, values[path].dtype, role, alone), []).append(path)
    return list(groups.values())


def _as_array(leaf: Any) -> jax.Array:
    """A leaf's values. What a traced function has captured stands behind a barrier, or XLA would compute with it while
    it compiles, slowly."""
    array = jnp.asarray(leaf)
    return jax.lax.optimization_barrier(array) if not is_traced(leaf) and is_tracing() else array


def require_disjoint(members: tuple[Recipe, ...], names: tuple[str, ...]) -> None:
    """Refuse recipes that select the same leaf: it would have to be said which acts first, as a chain does.

    Args:
        members: the recipes.
        names: what the error calls them; empty where they have no names.

    Raises:
        PrototypeError: names the leaf.
    """
    owners: dict[str, int] = {}
    for index, member in enumerate(members):
        for path in member.paths:
            if (first := owners.setdefault(path, index)) != index:
                who = f"by '{names[first]}' and by '{names[index]}'" if names else "twice"
                raise PrototypeError(
                    f"leaf '{path}' is selected {who}: parts, and recipes joined by |, must be disjoint; deviations "
                    f"that act one after another on one leaf are a limpet.Chain"
                )


def require_levels(levels: Collection[str], deviations: Collection[Deviation]) -> None:
    """Refuse names of levels at which nothing is drawn.

    Args:
        levels: names, see `levels_of`.
        deviations: what draws.

    Raises:
        LimpetError: names them, and the levels there are.
    """
    drawn = frozenset().union(*map(levels_of, deviations))
    if unknown := [level for level in levels if level not in drawn]:
        raise LimpetError(f"nothing is drawn at {listing(map(repr, unknown))}; the levels are {listing(sorted(drawn))}")
    if not levels:
        raise LimpetError(f"no level is named; the levels are {listing(sorted(drawn))}")


def _require_distinct_hashes(rules: Rules) -> None:
    """Two leaves with one hash would deviate alike; it happens once in some 10^5 networks of 200 leaves."""
    owners: dict[int, str] = {}
    for path in (path for path, rule in rules.items() if rule is not None):
        if (first := owners.setdefault(path_hash(path), path)) != path:
            raise PrototypeError(
                f"leaves '{first}' and '{path}' have the same hash and would deviate alike: rename one"
            )
