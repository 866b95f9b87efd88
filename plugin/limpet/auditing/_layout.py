"""The layout of a network as its use shows it: which axes of each leaf count arrays, rows and columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from .._checked import refusal
from .._jax import Function
from ..arrays._array import Array, Layout
from ..flow._probe import ProbeNotes
from ..flow._products import PRODUCT, LeafUse, uses_of
from ..hardware._checked_recipe import checked_recipe
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of, some_leaves
from ..leaves._paths import is_real
from ..leaves._probed import probed
from ._layout_check import agrees, in_words


@dataclass(frozen=True)
class LeafLayout:
    """How a program uses one leaf.

    Attributes:
        path: the leaf.
        shape: the shape of the leaf.
        array: the stack, the outputs and the groups that its first product shows; None where no product contracts it.
        calls: how often the program multiplies by each value of the leaf, a batch counted once; None where no product
            contracts it, or where a loop or an index decides that.
        otherwise: what else the program does with it, in words.
        said: where the hardware says that the leaf sits; None where it says nothing of it, or nothing else.
    """

    path: str
    shape: tuple[int, ...]
    array: Array | None
    calls: Fraction | None
    otherwise: tuple[str, ...]
    said: Layout | None = None

    @property
    def seen(self) -> Layout | None:
        """Where the leaf sits if each matrix is one array."""
        return None if self.array is None else self.array.layout(self.shape)


@dataclass(frozen=True)
class NetworkLayout:
    """How a program uses the leaves of a network: a row for each leaf that it uses; prints as a table."""

    leaves: tuple[LeafLayout, ...]

    @property
    def arrays(self) -> Mapping[str, Array]:
        """The arrays of each leaf that a product contracts, by path, as a `limpet.Part` takes them."""
        return {leaf.path: leaf.array for leaf in self.leaves if leaf.array is not None}

    def __str__(self) -> str:
        header = ["leaf", "shape", "arrays", "calls", "otherwise"]
        rows = [
            [
                leaf.path,
                " x ".join(map(str, leaf.shape)) or "scalar",
                str(leaf.seen or "-"),
                "-" if leaf.array is None else "?" if leaf.calls is None else str(leaf.calls),
                ", ".join(leaf.otherwise) or "-",
            ]
            for leaf in self.leaves
        ]
        if any(leaf.said for leaf in self.leaves):
            header.append("the hardware says")
            rows = [[*row, str(leaf.said or "")] for row, leaf in zip(rows, self.leaves, strict=True)]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (header, *rows)]
        return "\n".join("  ".join(line).rstrip() for line in lines)


def layout(fn: Callable[..., Any], tree: Any, *args: Any, hardware: Hardware | Recipe | None = None) -> NetworkLayout:
    """See where the leaves of a network sit, by what a function does with them.

    The function is traced, never compiled or run. Each leaf is followed through casts, transposes, reshapes, slices,
    masks, scans, loops and calls to the products that contract it: axes along which a product sums are rows, axes along
    which a scan goes or each matrix meets inputs of its own are a stack, all others are columns.

    What it does not see: a product inside a kernel written by hand, such as one of Pallas; what a matrix is that is
    computed from several leaves, such as `a @ b`; and whether a stack under `jax.vmap` whose members all meet the same
    input is one wide array, as which it is shown, or one for each member.

    Args:
        fn: `fn(tree, *args)`, as a loss or a metric is: what it gives is not looked at.
        tree: the parameters: any tree of arrays or of `jax.ShapeDtypeStruct`, a Flax nnx module, or a Rockpool module,
            of which the function is given `limpet.attributes(net)`.
        *args: what else the function takes, such as a batch; arrays may be `jax.ShapeDtypeStruct`.
        hardware: the hardware or the recipe; what it says of a leaf is shown where that differs. None for none.

    Returns:
        What is seen, which prints as a table. Its `arrays` are what to say of leaves, by path.

    Raises:
        LimpetError: `fn` cannot be called.
        PrototypeError: the tree has no leaves, or hardware and tree do not fit.

    Examples:
        >>> import jax, jax.numpy as jnp, limpet
        >>> params = {"layers": {"kernel": jnp.ones((12, 64, 64)), "bias": jnp.ones((12, 64))}}
        >>> def loss(params, x):
        ...     def layer(x, own):
        ...         return jnp.tanh(x @ own["kernel"] + own["bias"]), None
        ...     return jax.lax.scan(layer, x, params["layers"])[0].mean()
        >>> seen = layout(loss, params, jax.ShapeDtypeStruct((8, 64), "float32"))
        >>> print(seen)
        leaf           shape         arrays                calls  otherwise
        layers/bias    12 x 64       -                     -      scanned over axis 0 and added
        layers/kernel  12 x 64 x 64  12 arrays of 64 x 64  1      -
        >>> seen.arrays["layers/kernel"]
        Array(stack=(0,), outputs=(2,), groups=1)
    """
    if not callable(fn):
        raise refusal("fn", fn, "give the function that computes with the network, fn(tree, *args)")
    some_leaves(tree)
    recipe = hardware.on(tree) if isinstance(hardware, Hardware) else hardware
    tree = adapter_of(tree).nominal(tree)
    recipe = None if recipe is None else checked_recipe(recipe, tree)
    notes, (values, structure) = ProbeNotes(), jax.tree.flatten((tree, args))
    traced = [place for place, value in enumerate(values) if isinstance(value, _ARRAYS)]

    def function(given: list[jax.Array]) -> list[Any]:
        for place, value in zip(traced, given, strict=True):
            values[place] = value
        tree, rest = structure.unflatten(values)
        leaves = adapter_of(tree).flattened(tree)[0]
        # Python's numbers stay what they are, because functions may ask for their values.
        watched = [path for path, leaf in leaves.items() if isinstance(leaf, _ARRAYS) and is_real(leaf)]
        tree = probed(tree, watched, notes)
        return [value for value in jax.tree.leaves(fn(tree, *rest)) if isinstance(value, _ARRAYS)]

    uses = uses_of(Function(jax.make_jaxpr(function)([values[place] for place in traced])))
    by_path: dict[str, list[LeafUse]] = {}
    for use in uses:
        by_path.setdefault(use.leaf.path, []).append(use)
    order = adapter_of(tree).flattened(tree)[0]
    return NetworkLayout(tuple(_of(path, by_path[path], recipe) for path in order if path in by_path))


_ARRAYS = jax.Array | np.ndarray | jax.ShapeDtypeStruct


def _of(path: str, uses: list[LeafUse], recipe: Recipe | None) -> LeafLayout:
    shape, products = uses[0].leaf.shape, [use for use in uses if use.how == PRODUCT]
    words = dict.fromkeys(in_words(use) for use in uses if use.how != PRODUCT)
    array, calls = None, None
    if products:
        array, counted = products[0].array, [use.calls for use in products]
        calls = None if None in counted else sum(filter(None, counted), Fraction(0))
        if any(use.array != array for use in products):
            words["contracted along other axes, too"] = None
    rule = recipe.rules.get(path) if recipe is not None else None
    if rule is not None and rule.product is not None and not products:
        words["in no product, though the hardware gives it one"] = None
    seen = LeafLayout(path, shape, array, calls, tuple(words))
    said = None if rule is None else rule.array.layout(shape)
    if said is None or (str(said) == str(seen.seen) and any(agrees(said, use) for use in products)):
        return seen
    return replace(seen, said=said)
