"""A chip is named by its seed, its number and the generator: the same chip, however it is asked for."""

import jax.numpy as jnp
import numpy as np
import pytest

import limpet

MISMATCH = limpet.Mismatch({"w": True}, limpet.Gaussian(0.1))


def test_the_generator_names_the_chip_everywhere():
    tree = {"w": jnp.ones(4)}

    def total(tree, _):
        return tree["w"].sum()

    curves = {
        generator: limpet.robustness_curve(
            total, tree, MISMATCH, sigmas=[0.1], chips=limpet.Chips(3, seed=3, generator=generator)
        )
        for generator in ("fast", "threefry2x32")
    }
    for generator, curve in curves.items():
        chip = limpet.freeze(tree, MISMATCH, seed=3, chip=2, generator=generator)
        np.testing.assert_allclose(curve.values[0, 2], total(chip, None), rtol=1e-6)
        key = limpet.virtual_chip(3, 2, generator)
        assert np.array_equal(MISMATCH(key, tree)["w"], chip["w"])
        assert curve.generator == generator
        config = limpet.Config.model_validate(
            {
                "generator": generator,
                "seed": 3,
                "hardware": {"weights": {"leaves": "w", "sigma": 0.1}},
                "training": {"frozen": {"chip": 2}},
            }
        )
        assert np.array_equal(config.freeze(tree)["w"], chip["w"])
        assert f"seed.generator: {generator}," in config.describe()
    with pytest.raises(limpet.MetricError, match="differ in generator: fast and threefry2x32"):
        limpet.compare(*curves.values())


def test_a_generator_that_is_none_is_named():
    with pytest.raises(limpet.LimpetError, match="generator = 'mt19937'"):
        limpet.freeze({"w": jnp.ones(4)}, MISMATCH, generator="mt19937")
