"""The fingerprint: equal where the virtual chips are, different where anything is that makes them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import pytest

import limpet
from limpet.hardware._fingerprint import digest, summary

TREE = {"a": {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}, "n": jnp.arange(2), "s": jnp.float32(1)}
SHAPES = {"a/w": (3, 2), "a/b": (2,), "n": (2,), "s": ()}


@dataclass(frozen=True)
class Offset(limpet.Deviation):
    """An own deviation without a relative standard deviation."""

    volts: float

    def deviate(self, draw, value, strength):
        return value + self.volts * strength * draw.normal(value.shape, strength)


@dataclass(frozen=True)
class Derived(Offset):
    """One whose sigma follows from another parameter."""

    @property
    def sigma(self):
        return self.volts / 2


def on(weights=None, biases=None, gradient="through", tree=TREE, **parts):
    """The recipe of some leaves; without arguments, a Gaussian on all weights."""
    deviations = {"a/w": weights or limpet.Gaussian(0.1), "a/b": biases, **parts}
    return limpet.Hardware(
        {path.replace("/", "_"): limpet.Part(path, deviation) for path, deviation in deviations.items() if deviation}
    ).on(tree, gradient=gradient)


USUAL = digest(on(), SHAPES)


def test_it_is_sixteen_digits_that_stay():
    """Files hold it: runs of today are compared with those of tomorrow."""
    assert USUAL == PINNED


PINNED = "744b390f44c96255"


@pytest.mark.parametrize(
    "recipe",
    [
        on(limpet.Gaussian(0.3)),
        on(gradient="straight_through"),
        on().with_sigma(0.0),
        limpet.Mismatch(limpet.prototype(TREE, ("a/w", True)), limpet.Gaussian(0.1)),
        limpet.Hardware(named_otherwise=limpet.Part("*/w", limpet.Gaussian(0.1))).on(TREE),
        on(tree={**TREE, "more": jnp.ones(5)}),
    ],
    ids=["shared sigma", "gradient", "no sigma", "by hand", "name of the part", "leaves beside"],
)
def test_it_is_the_same_where_chips_are(recipe):
    assert digest(recipe, SHAPES) == USUAL


def test_it_does_not_depend_on_the_order_of_leaves_or_parts():
    both = on(biases=limpet.LogNormal(sigma=0.2))
    backwards = on(biases=limpet.LogNormal(sigma=0.2)).only("a_b", "a_w")
    joined = on(weights=limpet.Gaussian(0.1)) | limpet.Mismatch(
        limpet.prototype(TREE, ("a/b", True)), limpet.LogNormal(sigma=0.2)
    )
    assert len({digest(recipe, SHAPES) for recipe in (both, backwards, joined)}) == 1
    assert digest(both, dict(reversed(SHAPES.items()))) == digest(both, SHAPES)


@pytest.mark.parametrize(
    "recipe",
    [
        on(limpet.LogNormal(sigma=0.1)),
        on(limpet.LogNormal(sigma=0.1, preserve="mean")),
        on(limpet.TruncatedGaussian(0.1)),
        on(limpet.TruncatedGaussian(0.1, bound=2.0)),
        on(Offset(0.1)),
        on(Offset(0.2)),
        on(limpet.Chain((limpet.Gaussian(0.1),))),
        on(limpet.Chain((limpet.Gaussian(0.1), limpet.LogNormal(sigma=0.1)))),
        on(limpet.Chain((limpet.LogNormal(sigma=0.1), limpet.Gaussian(0.1)))),
        on(biases=limpet.Gaussian(0.1)),
        on(biases=limpet.Gaussian(0.2)),
        on(limpet.Gaussian(0.2), biases=limpet.Gaussian(0.1)),
        limpet.Mismatch(limpet.prototype(TREE, ("s", True)), limpet.Gaussian(0.1)),
    ],
)
def test_it_differs_where_chips_do(recipe):
    assert len(digest(recipe, SHAPES)) == 16
    assert digest(recipe, SHAPES) not in SEEN
    SEEN.add(digest(recipe, SHAPES))


SEEN = {USUAL}


def product_on(rows=None, **product):
    part = limpet.Part("a/w", limpet.Gaussian(0.1), array=limpet.Array(rows=rows), product=limpet.Product(**product))
    return limpet.Hardware(w=part).on(TREE)


DAC = limpet.Converter(bits=8, range="dynamic")


def test_it_tells_products_apart():
    """And the arrays that they are of; not the way of gradients, nor a product that is the exact one."""
    others = [
        product_on(inputs=DAC),
        product_on(inputs=limpet.Converter(bits=8, range=1.0)),
        product_on(inputs=DAC, relative_to="tensor"),
        product_on(rows=2, inputs=DAC),
        product_on(outputs=limpet.Converter(gain=0.1)),
        product_on(outputs=limpet.Converter(gain=limpet.LogNormal(0.1))),
    ]
    assert len({USUAL, *(digest(recipe, SHAPES) for recipe in others)}) == 7
    assert digest(product_on(inputs=DAC, backward="analog"), SHAPES) == digest(others[0], SHAPES)
    assert digest(product_on(rows=2), SHAPES) == USUAL
    assert "gaussian, sigma 1, inputs: 8 bits, range dynamic on a/w (3x2)" in summary(others[0], SHAPES)


@pytest.mark.parametrize("shape", [(2, 3), (6,), (3, 2, 1), ()])
def test_it_differs_by_the_shapes_of_leaves_that_deviate(shape):
    assert digest(on(), {**SHAPES, "a/w": shape}) != USUAL
    assert digest(on(), {**SHAPES, "a/b": shape}) == USUAL  # this one does not


def test_several_sigmas_scaled_alike_are_not_the_same_hardware():
    """Only where all leaves share one sigma does a curve over sigma set it; else sigmas are part of the hardware."""
    recipes = [on(limpet.Gaussian(0.1 * by), biases=limpet.Gaussian(0.2 * by)) for by in (1, 2)]
    assert digest(recipes[0], SHAPES) != digest(recipes[1], SHAPES)


def test_a_sigma_that_follows_from_other_parameters_stays():
    assert digest(on(Derived(0.1)), SHAPES) != digest(on(Derived(0.2)), SHAPES)


def test_the_summary_says_which_deviation_falls_on_which_leaves():
    both = on(biases=limpet.TruncatedGaussian(0.2, bound=2.0), s=limpet.TruncatedGaussian(0.2, bound=2.0))
    assert summary(both, SHAPES) == (
        "truncated-gaussian, sigma 0.2, bound 2 on a/b (2), s (scalar); gaussian, sigma 0.1 on a/w (3x2)"
    )
    many = {f"layer_{number}": jnp.ones(2) for number in range(200)}
    mismatch = limpet.Mismatch(jax.tree.map(lambda _: True, many), limpet.Gaussian(0.1))
    assert len(summary(mismatch, dict.fromkeys(many, (2,)))) < 120


@pytest.mark.parametrize(
    ("array", "same"),
    [
        (limpet.Array(rows=6), True),
        (limpet.Array(rows=512, columns=512, outputs=1), True),
        (limpet.Array(rows=5), False),
        (limpet.Array(outputs=0), False),
        (limpet.Array(groups=2), False),
    ],
)
def test_arrays_that_hold_a_whole_matrix_are_those_of_which_nothing_is_said(array, same):
    params = {"w": jnp.ones((6, 6))}
    said, unsaid = (
        limpet.fingerprint(limpet.Hardware(w=limpet.Part("w", limpet.Additive(0.1), array=of)), params)
        for of in (array, limpet.Array())
    )
    assert (said == unsaid) is same
