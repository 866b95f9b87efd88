"""The layout that the hardware says, held against what a traced program does with the leaves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._errors import warn_user
from ..arrays._array import Array, Layout
from ..flow._products import CONTRACTED, GATHERED, PRODUCT, LeafUse
from ..flow._view import SCANNED
from ..hardware._mismatch import Recipe
from ..leaves._paths import listing

NO_PRODUCT = frozenset((GATHERED, "added", "multiplied by values", CONTRACTED))
"""Uses that are no product of a matrix with data, whatever else is not known of the program."""
BESIDE = frozenset(("reduced", "compared", "given as a result"))
"""Uses that say nothing of whether a leaf is a matrix: it may be regularised, or shown."""
MOST = 3
"""The leaves of which one warning speaks in full."""

_SAID: set[Any] = set()
"""The leaves that a warning spoke of, by rule, path and words."""


def otherwise_than_said(recipe: Recipe, uses: Sequence[LeafUse], differentiated: bool = False) -> dict[str, str]:
    """The leaves whose arrays are others than the hardware says, by path, in words.

    Leaves whose deviation and product do not depend on arrays are left alone.

    Args:
        recipe: who deviates, and how.
        uses: what a program does with the leaves, in its order.
        differentiated: whether the program holds backward passes, too.
    """
    rules = {path: rule for path, rule in recipe.rules.items() if rule is not None and rule.arranged}
    return contradictions(uses, {path: rule.array for path, rule in rules.items()}, differentiated)


def warn_of_layout(recipe: Recipe, found: Mapping[str, str]) -> None:
    """Warn of leaves whose arrays are others than the hardware says, once for each rule and leaf.

    Args:
        recipe: who deviates, and how.
        found: the leaves that `otherwise_than_said` found.
    """
    new = {path: words for path, words in found.items() if (recipe.rules[path], path, words) not in _SAID}
    _SAID.update((recipe.rules[path], path, words) for path, words in new.items())
    if new:
        more = list(new)[MOST:]
        others = [f"and others of the kind: {listing(more, limit=6)}"] if more else []
        warn_user("; ".join([*list(new.values())[:MOST], *others]))


def looks_at_arrays(recipe: Recipe) -> bool:
    """Whether some leaf deviates so that it matters where it sits."""
    return any(rule is not None and rule.arranged for rule in recipe.rules.values())


def contradictions(
    uses: Sequence[LeafUse], arrays: Mapping[str, Array], differentiated: bool = False
) -> dict[str, str]:
    """What is used otherwise than it is said to sit, by path, in words.

    A leaf may sit on more arrays than its use needs, such as a head on an array of its own; and one of its products is
    enough that agrees.

    Args:
        uses: what a program does with leaves, in its order.
        arrays: where leaves are said to sit, by path.
        differentiated: whether the program holds backward passes, too. Those multiply by transposed matrices, so that
            the first product of a leaf alone counts.
    """
    by_path: dict[str, list[LeafUse]] = {}
    for use in uses:
        said = arrays.get(use.leaf.path)
        if said is not None and said.axes in (None, len(use.leaf.shape)):
            by_path.setdefault(use.leaf.path, []).append(use)
    is_network = any(use.how == PRODUCT for use in uses)
    found = {}
    for path, of in by_path.items():
        contracted = [use for use in of if use.how in (PRODUCT, CONTRACTED)]
        counting = contracted[:1] if differentiated else contracted
        products = [use for use in counting if use.how == PRODUCT]
        said, shape = arrays[path], of[0].leaf.shape
        if products and not any(agrees(said.layout(shape), use) for use in products):
            found[path] = f"{path} {shape} {_otherwise(said, products[0])}"
        elif not products and is_network and _is_matrix(said.layout(shape)):
            known = dict.fromkeys(in_words(use) for use in of if use.how not in BESIDE)
            if known and all(use.how in NO_PRODUCT | BESIDE for use in of):
                found[path] = (
                    f"{path} {shape} meets no product with data: it is {' and '.join(known)}, but taken for "
                    f"{said.layout(shape)}; if no crossbar holds it, leave it out of the part"
                )
    return found


def agrees(said: Layout, use: LeafUse) -> bool:
    """Whether a product uses a leaf as it is said to sit; axes of one value, and unclear ones, say nothing."""
    seen = _layout_of(use)
    told = {axis for axis, size in enumerate(said.shape) if size > 1} - use.unclear
    if not told.intersection(seen.stack) <= set(said.stack) or _split(said, seen, told):
        return False
    if _is_matrix(said) and (told - set(said.stack)) & (set(said.outputs) ^ set(seen.outputs)):
        return False
    return said.groups % seen.groups == 0


def _split(said: Layout, seen: Layout, told: set[int]) -> bool:
    """Whether no array that is said holds more than one row of a matrix, as where the stack of others is said of it."""
    rows = told & set(seen.inputs)
    return bool(rows) and rows <= set(said.stack)


def _layout_of(use: LeafUse) -> Layout:
    assert use.array is not None
    return use.array.layout(use.leaf.shape)


def _is_matrix(layout: Layout) -> bool:
    return sum(layout.shape[axis] > 1 for axis in layout.inputs + layout.outputs) > 1


def _otherwise(said: Array, use: LeafUse) -> str:
    """What a product makes of a leaf, beside what is said of it, and what to say."""
    shape, seen = use.leaf.shape, _layout_of(use)
    before = said.layout(shape)
    told = {axis for axis, size in enumerate(shape) if size > 1} - use.unclear
    kept = set(before.stack) - (told & set(seen.inputs) if _split(before, seen, told) else set())
    stack = tuple(sorted({*seen.stack, *kept} - use.unclear))
    outputs = tuple(axis for axis in seen.outputs if axis not in stack)
    now = replace(said, stack=stack, outputs=outputs, groups=seen.groups).layout(shape)
    how = _ways(use, [axis for axis in stack if axis not in before.stack])
    if now.outputs != tuple(axis for axis in before.outputs if axis not in stack) or kept != set(before.stack):
        how.append(f"sums over {_axes(now.inputs)} and gives {_axes(now.outputs)}")
    if now.groups != before.groups:
        how.append(f"is used in {now.groups} groups")
    plain = before if now.stack == before.stack else Array(stack=stack).layout(shape)
    say = [f"stack={stack}"] if now.stack != before.stack else []
    say += [f"outputs={now.outputs}"] if now.outputs != plain.outputs else []
    say += [f"groups={now.groups}"] if now.groups != before.groups else []
    beside = tuple(axis for axis in now.outputs if axis in before.inputs) if len(now.outputs) > 1 else ()
    own = f" (or stack={tuple(sorted({*stack, *beside}))}, if each is an array of its own)" if beside else ""
    alike = str(now) == str(before) and now.stack == before.stack
    wrong = f"{before}, whose outputs are along {_axes(before.outputs)}" if alike else before
    return f"{' and '.join(how)}: {now}, taken for {wrong}; say array=limpet.Array({', '.join(say)}){own}"


def _ways(use: LeafUse, axes: Collection[int]) -> list[str]:
    """How a program goes along axes that count arrays."""
    steps = dict(use.steps)
    scanned = [axis for axis in axes if steps.get(axis) == SCANNED]
    picked = [axis for axis in axes if axis in steps and axis not in scanned]
    beside = [axis for axis in axes if axis not in steps]
    return [
        *([f"is scanned over {_axes(scanned)}"] if scanned else []),
        *([f"is picked from along {_axes(picked)}"] if picked else []),
        *([f"meets inputs of their own along {_axes(beside)}"] if beside else []),
    ]


def _axes(axes: Collection[int]) -> str:
    return f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes)) or 'none'}"


def in_words(use: LeafUse) -> str:
    """What a use is that is no product."""
    scanned = [axis for axis, how in use.steps if how == SCANNED]
    return f"scanned over {_axes(scanned)} and {use.how}" if scanned else use.how
