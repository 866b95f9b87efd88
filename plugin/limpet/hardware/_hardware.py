"""Hardware: what a chip is, in named parts."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import jax

from .._errors import LimpetError, PrototypeError
from ..analog._found import checked_bounds, checked_ranges, described_found
from ..deviations._kinds import described
from ..deviations._levels import without
from ..leaves._adapters import adapter_of
from ..leaves._arrays import arrays_of, checked_arrays, described_arrays
from ..leaves._paths import listing
from ..leaves._prototype import selection
from ._dtypes import require_finite
from ._leaf_draw import Gradient
from ._mismatch import JoinedMismatch, Mismatch, Recipe, require_levels
from ._part import Part, Prototype, described_leaves


class Hardware:
    """What a chip is: named parts, each a set of leaves with the deviation that falls on them.

    One hardware serves every network that runs on it and everything that is done with it: training redraws some of its
    parts, curves measure all of them, `limpet.freeze` builds one chip. Two networks of one hardware are measured on the
    same virtual chips, whatever they were trained with.

    Args:
        parts: part by name, as a mapping; or as keyword arguments.

    Raises:
        LimpetError: there is no part, or one is no `limpet.Part`.

    Examples:
        >>> import jax.numpy as jnp, limpet
        >>> hardware = Hardware(
        ...     crossbar=limpet.Part("*/kernel", limpet.Gaussian(sigma=0.1)),
        ...     currents=limpet.Part("*/bias", limpet.LogNormal(sigma=0.2)),
        ... )
        >>> params = {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
        >>> mismatch = hardware.on(params)
        >>> mismatch.sigma("dense/kernel"), mismatch.sigma("dense/bias")
        (0.1, 0.2)
        >>> chip = mismatch(limpet.virtual_chip(seed=0, chip=17), params)
        >>> weights_alone = mismatch(limpet.virtual_chip(seed=0, chip=17), params, only=["crossbar"])
        >>> bool((chip["dense"]["kernel"] == weights_alone["dense"]["kernel"]).all())
        True
    """

    def __init__(self, parts: Mapping[str, Part] | None = None, /, **named: Part) -> None:
        self._parts: dict[str, Part] = {**(parts or {}), **named}
        if not self._parts:
            raise LimpetError("hardware has no parts: give one or more, such as weights=limpet.Part(leaves, deviation)")
        for name, part in self._parts.items():
            if not isinstance(part, Part) or not isinstance(name, str):
                raise LimpetError(f"part {name!r} = {part!r}: give limpet.Part(leaves, deviation)")

    @classmethod
    def of(cls, recipe: Recipe) -> "Hardware":
        """The hardware that a recipe by hand stands for: a part for each recipe joined in it."""
        return cls(_parts_of(recipe))

    @property
    def parts(self) -> Mapping[str, Part]:
        """Part by name."""
        return dict(self._parts)

    def on(self, model: Any, *, only: Collection[str] | None = None, gradient: Gradient = "through") -> Recipe:
        """The recipe for one model: decided once, which of its leaves deviate and how.

        Args:
            model: a Rockpool JAX module, a Flax nnx module, or a tree of arrays (or of `jax.ShapeDtypeStruct`).
            only: names of the parts wanted; None for all of them.
            gradient: the way of gradients, as `limpet.Mismatch` has it.

        Raises:
            PrototypeError: a part's leaves do not fit the model, or two parts select the same leaf.
            LimpetError: there is no such part.
        """
        if only is not None:
            self.require_parts(only, "only")
        names = tuple(self._parts) if only is None else tuple(only)
        members, found = [], dict[str, bool]()
        for name in names:
            part = self._parts[name]
            try:
                chosen = part.prototype(model)
            except PrototypeError as error:
                raise PrototypeError(f"hardware.{name}.leaves: {error}") from None
            try:
                said = checked_arrays(part.array)
                arrays = arrays_of(model, said, [path for path, held in selection(chosen).items() if held])
            except LimpetError as error:
                raise type(error)(f"hardware.{name}.array: {error}") from None
            own = {path for path, held in selection(chosen).items() if held}
            of_converters: list[Any] = [
                tuple((path, held) for path, held in said if path in own)
                for said in (part.input_ranges, part.output_bounds)
            ]
            found |= {
                path: path in own or found.get(path, False) for path, _ in (*part.input_ranges, *part.output_bounds)
            }
            try:
                ranges = part.ranges(model)
                members.append(
                    Mismatch(
                        chosen, part.deviation, gradient, part.limits, ranges, arrays, part.product, *of_converters
                    )
                )
            except LimpetError as error:
                raise type(error)(f"hardware.{name}.limits: {error}") from None
        if only is None and (stray := [path for path, held in found.items() if not held]):
            raise PrototypeError(
                f"the hardware holds input_ranges or output_bounds of {listing(stray)}, which are no leaves of its "
                f"parts with such converters: were they found for another network?"
            )
        recipe = JoinedMismatch(tuple(members), names)
        leaves = adapter_of(model).leaves(model)
        require_finite({path: leaves[path] for path in recipe.paths})
        return recipe

    def without(self, *levels: str) -> "Hardware":
        """The hardware without some levels of variation; what the others draw is the same.

        Without "chip" only devices differ, as an EDA tool simulates mismatch alone; without "device" only what devices
        have in common does, as it simulates a process alone. Parts that draw at none of these levels stay as they are.

        Args:
            *levels: the names of levels, as `limpet.Recipe.without` takes them.

        Raises:
            LimpetError: nothing is drawn at such a level.
        """
        require_levels(levels, [part.deviation for part in self._parts.values()])
        return Hardware(
            {name: replace(part, deviation=without(part.deviation, levels)) for name, part in self._parts.items()}
        )

    def without_products(self) -> "Hardware":
        """The hardware whose weights deviate and whose products are exact, as x @ w is computed everywhere."""
        return Hardware(
            {name: replace(part, product=None, input_ranges=(), output_bounds=()) for name, part in self._parts.items()}
        )

    def with_ranges(self, ranges: Mapping[str, Any]) -> "Hardware":
        """The hardware with ranges of the input converters of some leaves, where their range is "learned".

        Args:
            ranges: the ranges by leaf path, as `limpet.input_ranges` gives them, or as they were trained: arrays of
                shape (matrices, row tiles), or numbers.

        Raises:
            LimpetError: no part that may hold such a leaf has input converters whose range is "learned", or a range is
                none.

        Examples:
            >>> import jax, jax.numpy as jnp, limpet, optax
            >>> params, x = {"w": jnp.eye(2)}, jnp.array([[0.5, 3.0]])
            >>> product = limpet.Product(limpet.Converter(bits=8, range="learned"))
            >>> hardware = Hardware(w=limpet.Part("w", limpet.Gaussian(0.1), product=product))
            >>> loss = limpet.with_mismatch(lambda p, x: ((x @ p["w"] - x) ** 2).sum(), hardware.on(params))
            >>> def of_all(trained):
            ...     return loss(trained["net"], jax.random.key(0), x, ranges=trained["ranges"])
            >>> trained = {"net": params, "ranges": {"w": jnp.ones((1, 1))}}
            >>> optimizer = optax.sgd(0.05)
            >>> for _ in range(20):
            ...     updates, _ = optimizer.update(jax.grad(of_all)(trained), optimizer.init(trained))
            ...     trained = optax.apply_updates(trained, updates)
            >>> bool(trained["ranges"]["w"][0, 0] > 1.2)  # inputs of 3 were clipped
            True
            >>> hardware = hardware.with_ranges(trained["ranges"])
        """
        learned = {name for name, part in self._parts.items() if part.product is not None and part.product.learned}
        return self._with_found("input_ranges", dict(checked_ranges(ranges, "ranges")), learned)

    def with_bounds(self, bounds: Mapping[str, float]) -> "Hardware":
        """The hardware with bounds of the output converters of some leaves, in place of the bound of all.

        Args:
            bounds: the bounds by leaf path, in the units of `limpet.Converter.bound`, as `limpet.output_bounds` gives
                them.

        Raises:
            LimpetError: no part that may hold such a leaf has output converters with a bound, or a bound is none.
        """
        bounded = {
            name
            for name, part in self._parts.items()
            if part.product is not None and part.product.outputs is not None and part.product.outputs.bound is not None
        }
        return self._with_found("output_bounds", dict(checked_bounds(bounds, "bounds")), bounded)

    def _with_found(self, key: str, found: Mapping[str, Any], takers: Collection[str]) -> "Hardware":
        parts = dict(self._parts)
        for name in takers:
            own = {path: held for path, held in found.items() if parts[name].may_hold(path)}
            parts[name] = replace(parts[name], **{key: {**dict(getattr(parts[name], key)), **own}})
        if stray := [path for path in found if not any(self._parts[name].may_hold(path) for name in takers)]:
            wanted = "inputs of the range 'learned'" if key == "input_ranges" else "outputs with a bound"
            raise LimpetError(
                f"{listing(map(repr, stray))}: no part with {wanted} holds such a leaf; parts with such converters are "
                f"{listing([name for name in parts if name in takers]) or 'none'}"
            )
        return Hardware(parts)

    def require_parts(self, names: Collection[str], key: str) -> None:
        """Refuse names of parts that there are not.

        Raises:
            LimpetError: names them, and the parts there are.
        """
        unknown = [] if isinstance(names, str) else [repr(name) for name in names if name not in self._parts]
        if unknown or not names or isinstance(names, str):
            reason = f"there is no part {listing(unknown)}" if unknown else "give a list of names of parts"
            raise LimpetError(f"{key} = {names!r}: {reason}; the parts are {', '.join(self._parts)}")

    def described(self) -> dict[str, Any]:
        """The parts as plain values, as a configuration writes them."""
        return {
            name: {"leaves": described_leaves(part.leaves), "deviation": described(part.deviation)}
            | ({"limits": part.limits.described()} if part.limits else {})
            | ({"array": described_arrays(checked_arrays(part.array))} if part.array else {})
            | ({"product": part.product.described()} if part.product else {})
            | {
                key: described_found(found)
                for key in ("input_ranges", "output_bounds")
                if (found := getattr(part, key))
            }
            for name, part in self._parts.items()
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hardware) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(frozenset(self._parts.items()))

    def __repr__(self) -> str:
        parts = [f"{name}: {part.label()} on {part.leaves_label()}" for name, part in self._parts.items()]
        return f"Hardware({'; '.join(parts)})"


def _parts_of(recipe: Recipe) -> dict[str, Part]:
    """The parts that a recipe is made of: under their names, where it has any, else numbered."""
    if recipe.parts:
        return {name: part for name, member in recipe.parts.items() for part in _parts_of(member).values()}
    if isinstance(recipe, Mismatch):
        return {
            "part_0": Part(
                Prototype(jax.tree.map(bool, recipe.prototype)),
                recipe.deviation,
                recipe.limits,
                recipe.array,
                recipe.product,
                recipe.input_ranges,
                recipe.output_bounds,
            )
        }
    assert isinstance(recipe, JoinedMismatch)
    parts: dict[str, Part] = {}
    for member in recipe.members:
        for name, part in _parts_of(member).items():
            free = (f"part_{number}" for number in count(len(parts)) if f"part_{number}" not in parts)
            parts[next(free) if name in parts or isinstance(member, Mismatch) else name] = part
    return parts
