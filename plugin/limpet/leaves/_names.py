"""What the names and shapes of leaves tell, where no module is at hand: Flax Linen's variables, an `nnx.State`, plain
trees.

Linen names the weights of a layer `kernel`, inputs before outputs, and its bias `bias`, whose shape is that of the
outputs. So a bias tells which axes of the kernel beside it are outputs, and which count layers: those that both have.
"""

from collections.abc import Mapping, Sequence

from ..arrays._array import Array

Axes = tuple[int, ...]
Shape = tuple[int, ...]
Placed = tuple[Axes, Axes]
"""The axes of a leaf that are stacks, and those that are outputs."""

_BIAS = {"kernel": "bias", "w": "b"}
"""The names of weights, inputs before outputs, and of the bias beside them: Flax's, and Haiku's."""

_VECTORS = frozenset("bias scale offset gamma beta mean var".split())
"""Names of leaves that have one axis in one layer."""

_DIGITAL = _VECTORS | frozenset("cls cls_token mask_token negative_slope wpe".split())
"""Names of leaves that no product contracts."""

_DIGITAL_ENDS = frozenset("embedding embeddings bias scale".split())
"""Last words of such names, as in `token_embedding` and `relative_position_bias`."""

_POSITIONS = frozenset("pos position positions positional posemb".split())
_TABLES = frozenset("embed emb encoding encodings table".split()) | _POSITIONS
"""First and last words of such names, as in `pos_embed` and `positions`."""

_NO_PARAMETERS = frozenset("batch_stats cache intermediates".split())
"""Collections of Linen's variables that hold no weights."""

_LAYERS = frozenset("layers layer blocks block stack stages stage experts expert".split())
"""Names of axes that count layers, where axes have names (`nn.scan` and `nn.vmap` give one by `metadata_params`)."""


def digital_by_name(shapes: Mapping[str, Shape]) -> list[str]:
    """The paths whose names say that no product contracts the leaf.

    Args:
        shapes: the shapes of all leaves.

    Examples:
        >>> digital_by_name({"Dense_0/kernel": (8, 6), "Dense_0/bias": (6,), "posembed_input/pos_embedding": (9, 8)})
        ['Dense_0/bias', 'posembed_input/pos_embedding']
    """

    def says_so(path: str) -> bool:
        *parents, name = path.lower().split("/")
        words = name.split("_")
        return (
            name in _DIGITAL
            or words[-1] in _DIGITAL_ENDS
            or (words[0] in _POSITIONS and words[-1] in _TABLES)
            or (_name(path) == "b" and not _is_factor(path, shapes))
            or not _NO_PARAMETERS.isdisjoint(parents[:1])
            or parents[-1:] == ["scales"]  # of nnx.WeightNorm
        )

    return [path for path in shapes if says_so(path)]


def arrays_by_name(
    shapes: Mapping[str, Shape], axis_names: Mapping[str, Sequence[object]], said: Mapping[str, Array]
) -> dict[str, Array]:
    """Where values sit, for the leaves whose names and shapes tell it.

    Args:
        shapes: the shapes of all leaves.
        axis_names: the names of axes, for the leaves whose axes have some.
        said: the arrays of leaves of which the classes of modules say them.

    Examples:
        >>> arrays_by_name({"Dense_0/kernel": (12, 64, 256), "Dense_0/bias": (12, 256)}, {}, {})["Dense_0/kernel"]
        Array(stack=(0,), outputs=(2,))
    """
    layers = _common_layers(shapes, _named_layers(shapes, axis_names), said)
    inner = {path: _without(shape, layers.get(path, ())) for path, shape in shapes.items()}
    placed: dict[str, Placed] = {path: ((), (len(inner[path]) - 1,)) for path in layers if inner[path]}
    for path, shape in inner.items():
        name, last = _name(path), len(shape) - 1
        if name in _BIAS and shape:
            bias = _beside(path, _BIAS[name])
            bias = "" if bias in shapes and _is_factor(bias, shapes) else bias
            of_layer = _layer(shape, inner.get(bias), _heads(path, inner))
            placed |= {leaf: axes for leaf, axes in zip((path, bias), of_layer, strict=True) if leaf in inner}
        elif name in _VECTORS and last > 0:
            placed.setdefault(path, (tuple(range(last)), (last,)))
        elif name == "embedding" and last > 0:  # as where it is used again behind the last layer
            placed[path] = tuple(range(last - 1)), (last - 1,)
    whole = {path: _put_back(axes, layers.get(path, ()), len(shapes[path])) for path, axes in placed.items()}
    return {path: Array(stack=stack, outputs=outputs) for path, (stack, outputs) in whole.items()} | dict(said)


def _named_layers(shapes: Mapping[str, Shape], axis_names: Mapping[str, Sequence[object]]) -> dict[str, Axes]:
    """The axes whose names say that they count layers, by path; a bias without names has those of its kernel."""
    found = {
        path: tuple(axis for axis, name in enumerate(names) if name in _LAYERS)
        for path, names in axis_names.items()
        if len(names) == len(shapes.get(path, ()))
    }
    for path, axes in list(found.items()):
        bias = _beside(path, _BIAS.get(_name(path), ""))
        sizes = dict(enumerate(shapes.get(bias, ())))
        if all(sizes.get(axis) == shapes[path][axis] for axis in axes) and len(sizes) > len(axes):
            found.setdefault(bias, axes)
    return {path: axes for path, axes in found.items() if axes}


def _common_layers(
    shapes: Mapping[str, Shape], known: Mapping[str, Axes], said: Mapping[str, Array]
) -> dict[str, Axes]:
    """The axes that count layers, by path: those that are known, and those that all leaves below one place of the tree
    have in common.

    Args:
        shapes: the shapes of all leaves.
        known: axes that are known to count layers.
        said: the arrays of leaves of which the classes of modules say them.
    """
    left = {
        path: [axis for axis in range(len(shape)) if axis not in known.get(path, ())] for path, shape in shapes.items()
    }
    above = {path: path.split("/")[:-1] for path in shapes if path not in known}
    telling = (parents for path, parents in above.items() if _tells_of_layers(path, left[path], said))
    places = {tuple(parents[:depth]) for parents in telling for depth in range(len(parents) + 1)}
    for place in sorted(places, key=len):
        here = {path: left[path] for path, parents in above.items() if tuple(parents[: len(place)]) == place}
        while (position := _common_position(here, shapes, said)) is not None:
            for rest in here.values():
                del rest[position]
    return {path: tuple(axis for axis in range(len(shape)) if axis not in left[path]) for path, shape in shapes.items()}


def _common_position(
    leaves: Mapping[str, Sequence[int]], shapes: Mapping[str, Shape], said: Mapping[str, Array]
) -> int | None:
    """Where the axes of all leaves below one place count layers, as by `nn.scan` over a block; None for nowhere.

    Args:
        leaves: the axes of each leaf that are not known to count layers.
        shapes: the shapes of all leaves.
        said: the arrays of leaves of which the classes of modules say them.
    """
    digital = set(
        digital_by_name({path: shape for path, shape in shapes.items() if path in leaves and path not in said})
    )
    others = [path for path in leaves if path not in said and path not in digital]
    classes = [path for path in leaves if path in said]
    # A scale alone tells of layers only where every matrix has an axis more, too.
    if not any(_tells_of_layers(path, axes, said) for path, axes in leaves.items()):
        return None
    if not classes and not (others and all(len(leaves[path]) > 2 for path in others)):
        return None
    if any(len(leaves[path]) < 2 for path in digital):
        return None
    for position in range(min(map(len, leaves.values()))):
        sizes = {shapes[path][axes[position]] for path, axes in leaves.items()}
        if len(sizes) == 1 and all(leaves[path][position] in (said[path].stack or ()) for path in classes):
            return position
    return None


def _tells_of_layers(path: str, axes: Sequence[int], said: Mapping[str, Array]) -> bool:
    """Whether a leaf has an axis more than one layer gives it: the class of its module says so, or it is the scale of a
    norm that has two."""
    if path in said:
        return bool(said[path].stack)
    return _name(path) in ("scale", "gamma") and len(axes) > 1


def _layer(kernel: Shape, bias: Shape | None, heads: int | None) -> tuple[Placed, Placed]:
    """Where the axes of a kernel belong, and those of the bias beside it.

    Args:
        kernel: its shape.
        bias: its shape; None for none.
        heads: the number of output axes, for a kernel of an attention layer with heads, which has three axes.
    """
    axes, last = tuple(range(len(kernel))), len(kernel) - 1
    if heads is not None:
        stack = len(kernel) - 3
        return (axes[:stack], axes[-heads:]), (axes[:stack], axes[stack : stack + heads])
    if not bias:
        return ((), (last,)), ((), ())
    if (found := _matched(kernel, bias)) is not None:
        return found
    for axis in range(1, len(bias)):  # layers that are stacked along another axis than the first
        if kernel[axis : axis + 1] == bias[axis : axis + 1]:
            inner = _matched(_without(kernel, (axis,)), _without(bias, (axis,)))
            if inner is not None:
                return _put_back(inner[0], (axis,), len(kernel)), _put_back(inner[1], (axis,), len(bias))
    if len(kernel) > len(bias) and kernel[last - 1] == bias[-1]:  # nn.ConvTranspose(transpose_kernel=True)
        stack = axes[: len(bias) - 1]
        if kernel[: len(stack)] == bias[:-1]:
            return (stack, (last - 1,)), (stack, (len(bias) - 1,))
    return ((), (last,)), ((), tuple(range(len(bias))))


def _matched(kernel: Shape, bias: Shape) -> tuple[Placed, Placed] | None:
    """Stacks are the first axes of both, outputs the last ones of both; several stacks rather than several outputs."""
    axes = tuple(range(len(kernel)))
    for stack in reversed(range(len(bias))):
        outputs = len(bias) - stack
        if len(bias) < len(kernel) and kernel[:stack] + kernel[-outputs:] == bias:
            return (axes[:stack], axes[-outputs:]), (axes[:stack], axes[stack : len(bias)])
    return None


def _heads(path: str, shapes: Mapping[str, Shape]) -> int | None:
    """The number of output axes of a kernel of an attention layer whose kernels have three axes: heads and their width
    are outputs of `query`, `key` and `value`, and inputs of `out`. None for another kernel."""
    layer, _, name = path.rpartition("/")
    attention, _, role = layer.rpartition("/")
    if role not in ("query", "key", "value", "out"):
        return None
    query, out = (shapes.get("/".join(filter(None, (attention, of, name))), ()) for of in ("query", "out"))
    if len(query) < 3 or len(query) != len(out) or query[-2:] != out[-3:-1]:
        return None
    return 1 if role == "out" else 2


def _is_factor(path: str, shapes: Mapping[str, Shape]) -> bool:
    """Whether a leaf is named as a bias is, but is a matrix, such as the second of `a @ b`: no leaf beside it has all
    of its axes and more, as the weights of its layer would have."""
    shape, place = shapes[path], path.rpartition("/")[0]
    beside = [other for leaf, other in shapes.items() if leaf.rpartition("/")[0] == place]
    has_weights = any(len(other) > len(shape) and _in_order(shape, other) for other in beside)
    return _name(path) == "b" and len(shape) > 1 and 1 not in shape and not has_weights


def _in_order(some: Shape, sizes: Shape) -> bool:
    """Whether some sizes are found among others, in their order."""
    left = iter(sizes)
    return all(size in left for size in some)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _beside(path: str, name: str) -> str:
    return "/".join(filter(None, (path.rpartition("/")[0], name)))


def _without(shape: Shape, axes: Axes) -> Shape:
    """A shape without some axes."""
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _put_back(placed: Placed, layers: Axes, ndim: int) -> Placed:
    """Axes of a leaf, from those of the same leaf without some axes, which are stacks."""
    own = [axis for axis in range(ndim) if axis not in layers]
    stack, outputs = (tuple(own[axis] for axis in axes) for axes in placed)
    return tuple(sorted(stack + layers)), outputs
