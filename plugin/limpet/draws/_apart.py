"""Boundaries that XLA's compiler for CPUs does not optimise across. They change no value, and are kept for speed alone.

XLA merges loops over arrays wherever it can, and to merge a loop with several others that use its result it computes
the result anew in each. A draw that several operations use then takes several times as long to compute and to compile.
An `optimization_barrier` does not help: on a CPU it is taken away before loops are merged. What a condition gives is
never computed anew. On an accelerator the host would wait at each condition, and nothing is done there.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp

Values = TypeVar("Values")


def apart(values: Values) -> Values:
    """The same arrays, a pytree, computed once and apart from what is done with them."""

    def held(values: Values) -> Values:
        return jax.lax.cond(unknown_truth(), lambda: values, lambda: jax.tree.map(jnp.zeros_like, values))

    return jax.lax.platform_dependent(values, cpu=held, default=lambda values: values)


def unknown_truth() -> jax.Array:
    """True, which the compiler does not know: the result of a loop of one turn, and XLA evaluates no loop."""
    return jax.lax.while_loop(lambda turn: turn > 0, lambda turn: turn >> 1, jnp.uint32(1)) == 0
