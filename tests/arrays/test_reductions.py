"""Numbers of arrays, columns and leaves, against loops over what NumPy cuts out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import limpet
from limpet import Array
from limpet.arrays._array import tiles
from limpet.arrays._reductions import reduced, reduced_shape, spread, standard_deviation, total

SHAPE = (2, 7, 3, 6)
LAYOUTS = {
    "one array": Array(),
    "a stack": Array(stack=0),
    "a stack, outputs first": Array(stack=-1, outputs=0),
    "even tiles": Array(stack=(0, 1), columns=2),
    "uneven tiles": Array(stack=0, rows=8, columns=4),
    "groups of uneven tiles, outputs amid": Array(outputs=(3, 0), groups=2, rows=5, columns=4),
    "one row": Array(stack=(0, 1, 2), columns=4),
    "all rows": Array(outputs=(), rows=100),
}
NOISE = limpet.Additive(0.1)
VALUES = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def places_of(array: Array, per: str) -> list[np.ndarray]:
    """The places in the leaf, counted flat, of each array, of each column, or of all: cut out by hand."""
    flat = np.arange(VALUES.size).reshape(SHAPE)
    if per == "tensor":
        return [flat.ravel()]
    stack = [axis % 4 for axis in array.stack or ()]
    last = max(axis for axis in range(4) if axis not in stack)
    outputs = sorted(axis % 4 for axis in ((last,) if array.outputs is None else array.outputs))
    inputs = [axis for axis in range(4) if axis not in stack + outputs]
    sizes = [int(np.prod([SHAPE[axis] for axis in axes])) for axes in (stack, inputs, outputs)]
    found = []
    for matrix in flat.transpose(*stack, *inputs, *outputs).reshape(sizes):
        for group in np.split(matrix, array.groups or 1, axis=1):
            for rows in np.split(group, np.cumsum(tiles(sizes[1], array.rows))[:-1]):
                for block in np.split(rows, np.cumsum(tiles(group.shape[1], array.columns))[:-1], axis=1):
                    found += list(block.T) if per == "column" and inputs else [block.ravel()]
    return found


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("per", ["array", "column", "tensor"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_numbers_are_those_of_what_is_cut_out(name, per, devices, monkeypatch):
    """On one device tiles are cut out, on several they stay where they are."""
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    layout, places = LAYOUTS[name].layout(SHAPE), places_of(LAYOUTS[name], per)
    assert per != "array" or layout.arrays == len(places)
    for reduction, by_hand in ((jnp.max, np.max), (jnp.min, np.min), (jnp.sum, np.sum)):
        numbers = reduced(jnp.asarray(VALUES), layout, per, reduction)
        assert numbers.shape == reduced_shape(layout, per)
        found, expected = np.asarray(spread(numbers, layout, per)).ravel(), np.empty(VALUES.size)
        for of in places:
            expected[of] = by_hand(VALUES.ravel()[of])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    deviations = spread(standard_deviation(jnp.asarray(VALUES), layout, per), layout, per)
    for of in places:
        np.testing.assert_allclose(np.asarray(deviations).ravel()[of], VALUES.ravel()[of].std(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["a stack", "groups of uneven tiles, outputs amid"])
def test_gradients_of_such_numbers_are_their_derivatives(name):
    """Of the sum over all values i of w_i s(i), s(i) the sum of squares of its array: 2 v_j times its sum of w."""
    layout, weights = LAYOUTS[name].layout(SHAPE), np.cos(np.arange(VALUES.size)).reshape(SHAPE)
    for per in ("array", "column"):

        def weighted(values, per=per):
            return (spread(total(values**2, layout, per), layout, per) * weights).sum()

        expected = np.empty(VALUES.size)
        for of in places_of(LAYOUTS[name], per):
            expected[of] = 2 * VALUES.ravel()[of] * weights.ravel()[of].sum()
        found = np.asarray(jax.grad(weighted)(jnp.asarray(VALUES))).ravel()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "array", "words"),
    [
        ((12, 64, 256), Array(stack=0), "12 arrays of 64 x 256"),
        ((3, 3, 16, 32), Array(groups=4), "4 arrays of 144 x 8"),
        ((1200, 1000), Array(rows=512, columns=512), "6 arrays of 400 x 500"),
        ((1201, 3), Array(rows=512), "3 arrays of 400 to 401 x 3"),
        ((7,), Array(), "1 array of 1 x 7"),
        ((), Array(), "1 array of 1 x 1"),
        ((12, 7), Array(stack=0), "12 arrays of 1 x 7"),
        ((0, 4), Array(rows=2), "1 array of 0 x 4"),
    ],
)
def test_a_layout_says_its_arrays(shape, array, words):
    assert str(array.layout(shape)) == words
    assert array.settled(shape).layout(shape) == array.layout(shape)


@pytest.mark.parametrize(("size", "most"), [(1024, 512), (1025, 512), (7, 7), (1, 512), (1000, 3)])
def test_tiles_are_as_few_and_as_even_as_possible_the_larger_ones_first(size, most):
    """As aihwkit and its lightning cut them: the first `size mod n` are one larger."""
    cut = tiles(size, most)
    assert sum(cut) == size
    assert len(cut) == -(-size // most)
    assert max(cut) <= most
    assert list(cut) == sorted(cut, reverse=True)
    assert cut.count(size // len(cut) + 1) == size % len(cut)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: Array(stack=0.5),
            r"Array\.stack = 0\.5: allowed are a whole number, which counts an axis, and a tuple",
        ),
        (lambda: Array(stack=(0, 1), outputs=(1,)), "axis 1 is both in the stack and an output"),
        (lambda: Array(stack=0, outputs=-3).layout((2, 3, 4)), "axis 0 of a leaf of shape .2, 3, 4. is both"),
        (lambda: Array(rows=0), r"Array\.rows = 0: allowed is a whole number from 1 on"),
        (lambda: Array(groups=3).layout((4, 8)), r"Array\.groups = 3: a leaf of shape \(4, 8\) has 8 outputs"),
        (
            lambda: Array(stack="layers"),
            r"Array\.stack = 'layers': allowed are a whole number, which counts an axis, and",
        ),
        (lambda: Array(stack=0).layout(()), r"Array\.stack = \(0,\): a leaf of shape \(\) has no axis"),
        (lambda: Array(axes=2).layout((4, 8, 3)), r"Array\.axes = 2: a leaf of shape \(4, 8, 3\) has 3"),
        (
            lambda: limpet.Hardware(a=limpet.Part("*", limpet.Gaussian(0.1), array={"kernel": Array(stack=0)})).on(
                {"w": jnp.ones((3, 3))}
            ),
            r"hardware\.a\.array: array is said of 'kernel', which matches no leaf; the paths are: w",
        ),
        (lambda: Array(stack=2).layout((4, 8)), r"Array\.stack = \(2,\): a leaf of shape \(4, 8\) has axes 0 to 1"),
        (lambda: Array(outputs=(1, -1)).layout((4, 8)), "is named twice"),
        (lambda: limpet.Part("*", limpet.Gaussian(0.1), array=512), r"array = 512: allowed are limpet\.Array"),
        (lambda: limpet.Part("*", limpet.Gaussian(0.1), array={"*": 3}), "allowed are limpet"),
        (lambda: limpet.Mismatch({"w": True}, NOISE, array={"v": Array()}), "array is said of 'v', which matches no"),
        (lambda: limpet.clip_bounds({"w": jnp.eye(3)}, array={"layrs/*": Array(stack=0)}), "'layrs/.', which matches"),
        (
            lambda: limpet.clip_weights(array={"b*": Array()}).update(
                {"w": jnp.eye(3)}, limpet.clip_weights().init({}), {"w": jnp.eye(3)}
            ),
            "array is said of 'b.', which matches no leaf; the paths are: w",
        ),
        (
            lambda: limpet.Hardware(a=limpet.Part("*", limpet.Additive(0.1), array=Array(stack=2))).on(
                {"w": jnp.ones((3, 3))}
            ),
            r"hardware\.a\.array: leaf 'w': Array\.stack = \(2,\)",
        ),
        (
            lambda: limpet.Hardware(a=limpet.Part("*", NOISE)).on({"w": jnp.ones((3, 3))})(
                jax.random.key(0), {"w": jnp.ones((5, 3, 3))}
            ),
            r"leaf 'w' has the shape \(5, 3, 3\), not the 2 axes that it had where the recipe was built",
        ),
    ],
)
def test_what_is_no_array_is_refused(ask, message):
    with pytest.raises(limpet.LimpetError, match=message):
        ask()
