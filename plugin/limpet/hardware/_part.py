"""A part of a chip: a set of leaves, the deviation that falls on them, and the limits that they obey."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .._checked import refusal
from .._errors import LimpetError, PrototypeError
from ..analog._found import InputRanges, OutputBounds, checked_bounds, checked_ranges, require_takers
from ..analog._product import Product, checked_product
from ..arrays._array import UNSAID, Array
from ..deviations._deviation import Deviation, checked_deviation
from ..deviations._exact import Exact
from ..deviations._kinds import label
from ..leaves._adapter import Range
from ..leaves._adapters import ADAPTERS, NAMED_SELECTIONS, adapter_of
from ..leaves._arrays import Arrays, checked_arrays
from ..leaves._paths import listing
from ..leaves._prototype import matrices, prototype, selection, warn_of_lumped
from ._leaf_draw import require_cells
from ._limits import Limits, checked_limits


@dataclass(frozen=True)
class Part:
    """One part of a chip: a set of leaves, and the deviation that falls on them.

    Attributes:
        leaves: which leaves, as one of
            - a path glob, such as "*/kernel";
            - a class of modules, such as `nnx.Linear`, `eqx.nn.Conv2d` or `LinearJax`: what products contract within
              modules of that class;
            - several globs and classes in a list;
            - rules, a mapping of globs and classes to bools, or pairs of them: the last one that matches a leaf
              decides;
            - a selection that has a name: "matrices" (what products contract: kernels and other leaves with two axes or
              more beside stacks of layers, without biases, norms, embeddings and positions), of any model;
              "dynapse-weights" (`w_rec` of DynapSim and `weight` of LinearJax) and
              "dynapse-frozen" (bias currents, capacitances and transistor constants of DynapSim), of a Rockpool
              network;
            - an nnx filter, where the model is an nnx module;
            - a prototype, a tree of bools with the model's structure.
        deviation: the distribution. It may be left out beside a product: then it is `limpet.Exact()`, which leaves
            values as they are.
        limits: the values between which the chip can hold these leaves; None for any.
        array: the physical arrays that they sit on: a `limpet.Array` for all of them, or a mapping by path glob. What
            it leaves open is as the framework's modules say.
        product: what the arrays compute of their inputs: converters and noise around x @ w; None for the exact product.
            It acts within `limpet.products`.
        input_ranges: the ranges of the input converters by leaf path, where their range is "learned": numbers, or
            arrays of shape (matrices, row tiles). `limpet.Hardware.with_ranges` sets them.
        output_bounds: the bounds of the output converters by leaf path, in the place of the product's own.
            `limpet.Hardware.with_bounds` sets them.

    Raises:
        LimpetError: the deviation is none, limits are none or do not go with it, or the array or the product is none.
        PrototypeError: `leaves` is none of these.

    Examples:
        >>> import limpet
        >>> Part({"*/kernel": True, "head/*": False}, limpet.Gaussian(sigma=0.1)).leaves
        (('*/kernel', True), ('head/*', False))
    """

    leaves: Any
    deviation: Deviation = None  # pyright: ignore[reportAssignmentType]
    limits: Limits | None = None
    array: Array | Mapping[str, Array] | Arrays = UNSAID
    product: Product | None = None
    input_ranges: Mapping[str, Any] | InputRanges = ()
    output_bounds: Mapping[str, float] | OutputBounds = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "leaves", checked_leaves(self.leaves))
        checked_product(self.product)
        object.__setattr__(self, "input_ranges", checked_ranges(self.input_ranges))
        object.__setattr__(self, "output_bounds", checked_bounds(self.output_bounds))
        require_takers(self.input_ranges, self.output_bounds, self.product)  # pyright: ignore[reportArgumentType]
        object.__setattr__(self, "array", checked_arrays(self.array))
        if self.deviation is None and self.product is not None:
            object.__setattr__(self, "deviation", Exact())
        checked_deviation(self.deviation)
        require_cells(self.product, self.deviation, self.limits)
        if checked_limits(self.limits) is not None:
            self.limits.require_fit(self.deviation)  # pyright: ignore[reportOptionalMemberAccess]

    def label(self) -> str:
        """The deviation, the limits and the product in a few words."""
        words = [label(self.deviation), self.limits and self.limits.label(), self.product and self.product.label()]
        words += [f"ranges of {len(self.input_ranges)} leaves"] if self.input_ranges else []
        words += [f"bounds of {len(self.output_bounds)} leaves"] if self.output_bounds else []
        return ", ".join(word for word in words if word)

    def leaves_label(self) -> str:
        """The leaves in a line; `not` stands before globs that leave leaves out.

        Examples:
            >>> import limpet
            >>> Part({"*/kernel": True, "head/*": False}, limpet.Gaussian(sigma=0.1)).leaves_label()
            '*/kernel, not head/*'
        """
        if isinstance(self.leaves, tuple):
            return ", ".join(_named(glob) if chosen else f"not {_named(glob)}" for glob, chosen in self.leaves)
        return str(self.leaves)

    def may_hold(self, path: str) -> bool:
        """Whether a leaf of this path may be one of the part's, as far as its rules say without a model."""
        if isinstance(self.leaves, Prototype):
            return bool(selection(self.leaves.tree).get(path))
        if not isinstance(self.leaves, tuple) or not all(isinstance(rule, str) for rule, _ in self.leaves):
            return True
        return next((chosen for glob, chosen in reversed(self.leaves) if fnmatchcase(path, glob)), False)

    def ranges(self, model: Any) -> Mapping[str, Range] | None:
        """The range of each leaf of a model by path, where the limits name a table; else None.

        Raises:
            LimpetError: the table is one of another framework's models.
        """
        if self.limits is None or self.limits.table is None:
            return None
        adapter, table = adapter_of(model), self.limits.table
        if table not in adapter.limits:
            (owner,) = (other.name for other in ADAPTERS if table in other.limits)
            raise LimpetError(
                f"table = {table!r} has the limits of {owner}, got {adapter.name}: lay the hardware over the network "
                f"itself, hardware.on(net), or give low and high"
            )
        return adapter.limits[table](model)

    def prototype(self, model: Any) -> Any:
        """Which leaves of a model the part is: a tree of bools.

        Raises:
            PrototypeError: it selects nothing there, or a rule matches no leaf.
        """
        if isinstance(self.leaves, str):
            adapter = adapter_of(model)
            if self.leaves == "matrices":
                return matrices(model, checked_arrays(self.array))
            if self.leaves not in adapter.selections:
                (owner,) = (other.name for other in ADAPTERS if self.leaves in other.selections)
                raise PrototypeError(
                    f"'{self.leaves}' selects leaves of {owner}, got {adapter.name}: lay the hardware over the network "
                    f"itself, hardware.on(net), or give path globs. The paths are: {listing(adapter.globbed(model))}"
                )
            chosen = adapter.selections[self.leaves](model)
            warn_of_lumped(model, selection(chosen))
            return chosen
        if isinstance(self.leaves, tuple):
            return prototype(model, *self.leaves)
        chosen, leaves = selection(self.leaves.tree), adapter_of(model).leaves(model)
        if stray := [path for path in leaves if path not in chosen]:
            raise PrototypeError(
                f"the model has leaves that the prototype does not describe: {listing(stray)}; the prototype "
                f"describes: {listing(chosen)}"
            )
        if missing := [path for path, selected in chosen.items() if selected and path not in leaves]:
            raise PrototypeError(
                f"the prototype selects leaves that the model has not: {listing(missing)}; the model has: "
                f"{listing(leaves)}"
            )
        return self.leaves.tree


@dataclass(frozen=True, eq=False)
class Prototype:
    """A prototype as the leaves of a part: compares by which paths it selects."""

    tree: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prototype) and selection(self.tree) == selection(other.tree)

    def __hash__(self) -> int:
        return hash(frozenset(selection(self.tree).items()))

    def __repr__(self) -> str:
        return f"prototype of {listing([path for path, chosen in selection(self.tree).items() if chosen], limit=6)}"


def checked_leaves(leaves: Any) -> Any:
    """What a part's leaves are: the name of a selection, a tuple of rules, or a `Prototype`.

    Raises:
        PrototypeError: they are none of these.
    """
    if isinstance(leaves, str):
        return leaves if leaves in NAMED_SELECTIONS else _checked_rules(((leaves, True),), leaves)
    if isinstance(leaves, Prototype):
        return leaves
    if isinstance(leaves, Mapping) and leaves and all(isinstance(chosen, bool) for chosen in leaves.values()):
        return _checked_rules(tuple(leaves.items()), leaves)
    if isinstance(leaves, list | tuple) and leaves and all(map(_is_rule, leaves)):
        return _checked_rules(
            tuple((rule, True) if isinstance(rule, str | type) else tuple(rule) for rule in leaves), leaves
        )
    if isinstance(leaves, type) or (callable(leaves) and not isinstance(leaves, Mapping)):
        return ((leaves, True),)  # an nnx filter; the model tells whether it is one of its own
    try:
        chosen = selection(leaves)
    except (PrototypeError, TypeError, ValueError):
        chosen = {}
    if not chosen or "" in chosen:  # "" is the path of what is no tree
        raise _refused(
            leaves,
            f"allowed are path globs such as '*/kernel', rules such as {{'*/kernel': true, 'head/*': false}}, the "
            f"names {', '.join(map(repr, NAMED_SELECTIONS))}, and a prototype, a tree of bools",
        )
    return Prototype(leaves)


def _checked_rules(rules: tuple[Any, ...], leaves: Any) -> tuple[Any, ...]:
    """Rules that can be meant.

    Raises:
        PrototypeError: one is no glob or nnx filter, is empty, or is a slip of a selection's name; or all say false.
    """
    for glob, _ in rules:
        if not isinstance(glob, str) and not isinstance(glob, type) and not callable(glob):
            raise _refused(leaves, f"{glob!r} is no path glob; allowed are texts such as '*/kernel'")
        if not str(glob).strip():
            raise _refused(leaves, "an empty path matches no leaf; allowed are path globs such as '*/kernel'")
        # One word that looks like a selection's name is a slip far more often than the path of a leaf.
        close = difflib.get_close_matches(str(glob), NAMED_SELECTIONS)
        if close and not isinstance(leaves, Mapping) and not set("*?[/") & set(str(glob)):
            raise _refused(leaves, f"{glob!r} is no selection of leaves; did you mean {' or '.join(close)}?")
    if not any(chosen for _, chosen in rules):
        raise _refused(leaves, "all rules say false, so that nothing would deviate")
    return rules


def _refused(leaves: Any, reason: str) -> LimpetError:
    return refusal("leaves", leaves, reason, PrototypeError)


def _is_rule(rule: Any) -> bool:
    return isinstance(rule, str | type) or (
        isinstance(rule, list | tuple)
        and len(rule) == 2
        and isinstance(rule[1], bool)
        and not isinstance(rule[0], bool)
    )


def _named(glob: Any) -> str:
    return glob.__name__ if isinstance(glob, type) else str(glob)


def described_leaves(leaves: Any) -> Any:
    """A part's leaves as plain values, as a configuration writes them."""
    if isinstance(leaves, tuple):
        return {_named(glob): chosen for glob, chosen in leaves}
    return leaves if isinstance(leaves, str) else selection(leaves.tree)
