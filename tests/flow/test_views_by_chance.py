"""Random ways of a leaf to a product: the axes that are found to count arrays, rows and columns are what they count.

The same moves are done to the numbers of the leaf's values. Where a product multiplies a value by some input, into some
output, these are read off; of two neighbours along an axis of the leaf, those in one column have other inputs, those in
one row other outputs, and those in two arrays both.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from chance import case, cases
from leaf_uses import uses_in

SHAPES = [(4, 6), (2, 3, 4), (3, 2, 2, 4), (6, 8), (4, 1, 6), (12,)]


def reshaped(rng, shape):
    factors = [prime for size in shape for prime in factors_of(size)]
    cuts = sorted(rng.sample(range(len(factors) + 1), min(len(factors), rng.randint(0, 3))))
    parts = [factors[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    new = tuple(math.prod(part) for part in parts)
    return lambda xp, value: value.reshape(new)


def factors_of(size):
    for prime in (2, 3, 5, 7):
        if size % prime == 0:
            return [prime, *factors_of(size // prime)]
    return []


def transposed(rng, shape):
    order = rng.sample(range(len(shape)), len(shape))
    return lambda xp, value: xp.transpose(value, order)


def reversed_(rng, shape):
    axis = rng.randrange(len(shape))
    return lambda xp, value: xp.flip(value, axis)


def doubled_and_split(rng, shape):
    """What is joined with itself and divided again."""
    axis = rng.randrange(len(shape))
    return lambda xp, value: xp.split(xp.concatenate([value, value], axis), 2, axis)[0]


def put_into_a_new_axis(rng, shape):
    axis = rng.randrange(len(shape) + 1)
    return lambda xp, value: xp.expand_dims(value, axis)


def through_a_scan(rng, shape):
    def move(xp, value):
        if xp is np:
            return value
        return jax.lax.scan(lambda carry, row: (carry, row), 0, value)[1]

    return move


def mapped(rng, shape):
    def move(xp, value):
        if len(shape) < 2:
            return value
        return np.stack([row.T for row in value]) if xp is np else jax.vmap(jnp.transpose)(value)

    return move


KINDS = {(True, False): "inputs", (False, True): "outputs", (True, True): "stack"}
"""By whether the input and the output are others."""

MOVES = [reshaped, reshaped, transposed, reversed_, doubled_and_split, put_into_a_new_axis, through_a_scan, mapped]


def moved(rng, shape):
    """A random way, the numbers of the leaf's values at its end, and the shape there."""
    numbers, moves = np.arange(math.prod(shape)).reshape(shape), []
    for _ in range(rng.randint(0, 5)):
        move = rng.choice(MOVES)(rng, numbers.shape)
        numbers = move(np, numbers)
        moves.append(move)

    def way(value):
        for move in moves:
            value = move(jnp, value)
        return value

    return way, numbers


def test_axes_count_what_they_are_found_to_count():
    for seed, rng in cases(240):
        with case(seed):
            compare(rng)


def compare(rng):
    shape = rng.choice(SHAPES)
    way, numbers = moved(rng, shape)
    axes = rng.sample(range(numbers.ndim), numbers.ndim)
    summed = tuple(axes[: rng.randint(1, len(axes))])
    stacked = tuple(axes[len(summed) :][: rng.randint(0, 2)])
    inputs = jnp.ones([numbers.shape[axis] for axis in (*stacked, *summed)] + [2])
    places = tuple(range(len(stacked))), tuple(range(len(stacked), len(stacked) + len(summed)))

    def network(tree, x):
        return jax.lax.dot_general(way(tree["w"]), x, ((summed, places[1]), (stacked, places[0])))

    (use,) = uses_in(network, {"w": jnp.ones(shape)}, inputs)
    if use.array is None:  # a product that sums over one value
        assert all(numbers.shape[axis] == 1 for axis in summed)
        return
    layout = use.array.layout(shape)
    kind_of = {axis: kind for kind in ("stack", "inputs", "outputs") for axis in getattr(layout, kind)}
    met = {
        number: (str([index[axis] for axis in (*stacked, *summed)]), str(np.delete(index, summed)))
        for index, number in np.ndenumerate(numbers)
    }  # the input and the output of each value
    grid = np.arange(math.prod(shape)).reshape(shape)
    for axis, size in enumerate(shape):
        neighbours = zip(np.delete(grid, -1, axis).ravel(), np.delete(grid, 0, axis).ravel(), strict=True)
        kinds = {KINDS[tuple(np.not_equal(*pair))] for pair in ((met[one], met[other]) for one, other in neighbours)}
        if len(kinds) == 1 and axis not in use.unclear:
            assert kinds == {kind_of[axis]}
        elif size > 1:
            assert axis in use.unclear or (kind_of[axis] == "outputs" and layout.groups > 1)
