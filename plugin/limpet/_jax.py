"""All that Limpet uses of JAX beyond its documented public API, in one place.

No other file imports from `jax.core`, `jax.extend` or `jax.interpreters`, or reads the fields of equations and tracers;
`tests/test_package.py` holds that. Each entry says what breaks when JAX changes it.
"""

from typing import Any, TypeGuard

import jax.numpy as jnp
from jax.core import Tracer
from jax.extend.random import define_prng_impl as define_prng_impl  # without it there is no generator "fast"


def is_traced(value: Any) -> TypeGuard[Tracer]:
    """Whether a value is one that JAX is tracing, so that it has no number yet.

    If JAX renames `jax.core.Tracer`, importing Limpet fails.
    """
    return isinstance(value, Tracer)


def is_tracing() -> bool:
    """Whether a function is being traced just now, so that nothing computed here has a number yet."""
    return is_traced(jnp.zeros(()))
