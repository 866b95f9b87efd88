"""Draws for loops without a step counter: an optax transformation that counts steps and holds the key's data."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .._errors import LimpetError
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number, stream, typed_key
from ..leaves._adapters import unboxed


class MismatchState(NamedTuple):
    """What `track_mismatch` keeps; plain integers, which every transformation and checkpoint of optax states takes.

    Attributes:
        mismatch_step: number of updates so far, shape (), int32.
        mismatch_key: data of the base key, shape (2,), uint32.
    """

    mismatch_step: jax.Array
    mismatch_key: jax.Array


class FastMismatchState(MismatchState):
    """The state of draws of "fast". The generator is told by the type, which no transformation of a state changes."""

    generator: ClassVar[Generator] = "fast"


class ThreefryMismatchState(MismatchState):
    """The state of draws of "threefry2x32"."""

    generator: ClassVar[Generator] = "threefry2x32"


STATES = {kind.generator: kind for kind in (FastMismatchState, ThreefryMismatchState)}


def track_mismatch(seed: int = 0, generator: Generator = DEFAULT_GENERATOR) -> optax.GradientTransformationExtraArgs:
    """An identity on updates that names each step's draw: `limpet.mismatch_key(opt_state)` is its key.

    Put it outside of what may skip or delay updates, `optax.chain(limpet.track_mismatch(0), optax.MultiSteps(...))`:
    one inside would stand still with it, and draw the same chip again.

    Args:
        seed: an integer from 0 to 2**32 - 1; the draws are those of a `MismatchCallback` of that seed.
        generator: "fast" or "threefry2x32".

    Raises:
        LimpetError: seed or generator is not one of those allowed.

    Examples:
        >>> import limpet
        >>> params = {"w": jnp.ones(3)}
        >>> optimizer = optax.chain(track_mismatch(seed=0), optax.sgd(0.1))
        >>> mismatch = limpet.Mismatch({"w": True}, limpet.Gaussian(sigma=0.1))
        >>> noisy = limpet.with_mismatch(lambda params: (params["w"] ** 2).sum(), mismatch)
        >>> @jax.jit
        ... def update(params, state):
        ...     grads = jax.grad(noisy)(params, mismatch_key(state))
        ...     updates, state = optimizer.update(grads, state, params)
        ...     return optax.apply_updates(params, updates), state
        >>> params, state = update(params, optimizer.init(params))
        >>> int(optax.tree.get(state, "mismatch_step"))
        1
    """
    seed, generator = checked_number(seed, "seed"), checked_generator(generator)

    def init(params: Any) -> MismatchState:
        del params
        # Made anew here: an array captured from outside would be gone once a state that holds it was donated.
        return STATES[generator](jnp.zeros((), jnp.int32), jax.random.key_data(stream(seed, "step", generator)))

    def update(updates: Any, state: MismatchState, params: Any = None, **extra: Any) -> tuple[Any, MismatchState]:
        del params, extra
        return updates, state._replace(mismatch_step=state.mismatch_step + 1)

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def mismatch_key(state: Any) -> jax.Array:
    """The key of the coming step's draw, from an optimizer state that holds a `track_mismatch`. Shape ().

    Args:
        state: the state of an optax optimizer, of any nesting.

    Raises:
        LimpetError: the state holds no `track_mismatch`, or several, or was cast to another dtype.
    """
    states = [leaf for leaf in jax.tree.leaves(state, is_leaf=_is_tracker) if _is_tracker(leaf)]
    if len(states) != 1:
        raise LimpetError(
            f"the optimizer state holds {len(states) or 'no'} limpet.track_mismatch: "
            f"chain exactly one, optax.chain(limpet.track_mismatch(seed), ...)"
        )
    (tracker,) = states
    # An nnx.Optimizer keeps each array of its state in a box.
    data, step = unboxed(tracker.mismatch_key), unboxed(tracker.mismatch_step)
    if data.dtype != jnp.uint32:
        raise LimpetError(
            f"the state of limpet.track_mismatch was cast to {data.dtype}, so its key is lost: cast floating-point "
            f"leaves only"
        )
    return jax.random.fold_in(typed_key(data, tracker.generator), step)


def _is_tracker(node: Any) -> bool:
    return isinstance(node, FastMismatchState | ThreefryMismatchState)
