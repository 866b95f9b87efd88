"""Functions of each value alone, whose derivative is computed along with them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .._jax import is_known_zero
from ..draws._apart import apart


def with_slopes(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The same function, whose gradient is a product with slopes that are computed along with its values.

    JAX's own gradient of a long chain of operations goes back through it, and XLA for CPUs computes large parts of the
    chain anew for each sum that takes part in that. With slopes it is gone through once, forwards.

    Args:
        function: `function(values, fixed, *others)`, giving an array of the values' shape in which each element
            depends on the value of that element alone. It captures no traced value; `fixed` holds those through which
            no gradient goes, such as random keys.

    Returns:
        A function of the same arguments; those beside the values are differentiated as JAX does it.
    """

    @jax.custom_jvp
    def sloped(values: jax.Array, fixed: Any, *others: Any) -> jax.Array:
        return function(values, fixed, *others)

    @partial(sloped.defjvp, symbolic_zeros=True)
    def _(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
        (values, fixed, *others), (rates, _, *other_rates) = primals, tangents
        result, slopes = apart(
            jax.jvp(lambda values: function(values, fixed, *others), (values,), (jnp.ones_like(values),))
        )
        moved = jnp.zeros_like(result) if is_known_zero(rates) else slopes * rates
        for place, rate in enumerate(other_rates):
            if not is_known_zero(rate):

                def of_one(other: Any, place: int = place) -> jax.Array:
                    return function(values, fixed, *others[:place], other, *others[place + 1 :])

                moved = moved + jax.jvp(of_one, (others[place],), (rate,))[1]
        return result, moved

    return sloped
