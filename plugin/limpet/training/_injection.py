"""What a jitted step closes over: draws that follow from the step's number."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from .._errors import LimpetError
from .._jax import is_traced
from ..config._config import Config
from ..deviations._deviation import Deviation
from ..draws._generator import DEFAULT_GENERATOR, Generator, checked_generator
from ..draws._keys import checked_number, chip_key, step_key
from ..draws._strength import checked_strength
from ..flow._probe import ProbeNotes, plant, watch
from ..hardware._condition import Condition
from ..hardware._hardware import Hardware
from ..hardware._leaf_draw import Gradient
from ..hardware._mismatch import Recipe, require_disjoint
from ..leaves._adapter import Leaves
from ..leaves._adapters import adapter_of, unboxed
from ._freeze import require_nominal

Schedule = Callable[[Any], ArrayLike]
"""From the number of a step to a factor on the strength, as optax has it."""


@dataclass(frozen=True)
class StepDraw:
    """What is drawn for a training step.

    Attributes:
        recipe: who deviates, and how.
        seed: of the draws.
        scale: factor on every deviation.
        schedule: a further factor, by step.
        chip: None for a fresh draw at every step; the number of a chip for the same draw at all of them.
        name: "dynamic" or "frozen", after the section of the configuration that asks for it.
    """

    recipe: Recipe
    seed: int
    scale: float
    schedule: Schedule
    chip: int | None = None
    name: str = "dynamic"

    def key(self, step: ArrayLike, draw: ArrayLike | None, generator: Generator) -> jax.Array:
        """The random key of one step."""
        if self.chip is not None:
            return chip_key(self.seed, self.chip, generator)
        key = step_key(self.seed, step, generator)
        return key if draw is None else jax.random.fold_in(key, draw)

    def deviating_by(self, deviation: Deviation | None) -> Recipe:
        """The recipe, by another deviation if one is given; the one chip that training meets stays as it is."""
        return self.recipe if deviation is None or self.chip is not None else self.recipe.with_deviation(deviation)

    def strength(self, step: jax.Array) -> jax.Array:
        """The factor in force at a step."""
        # Schedules, optax's among them, mix integers and floats, whatever a user wants of promotion in the network.
        with jax.numpy_dtype_promotion("standard"):
            return jnp.asarray(self.scale * self.schedule(step), jnp.result_type(float))


@dataclass(frozen=True, init=False, eq=False)
class Injection:
    """Mismatch for a jitted training step: a pure function of parameters and the step's number, which opens no file.

    It is what `limpet.MismatchCallback.inject` is made of, for loops that need no log.

    Args:
        model: a Rockpool JAX module, a Flax nnx module, or the parameter tree: what the hardware is laid over.
        mismatch: the hardware, or a recipe.
        parts: names of the parts of the hardware that are drawn; None for all.
        scale: factor on every deviation, a number >= 0.
        schedule: an optax schedule, from step to a further factor; None for none.
        gradient: see `limpet.Mismatch`; for a recipe, the recipe's own.
        seed: of the draws, an integer from 0 to 2**32 - 1.
        chip: None for a fresh draw at every step; the number of a virtual chip to train on that chip alone.
        generator: "fast" or "threefry2x32".

    Raises:
        LimpetError: an argument is none of these.
        PrototypeError: hardware and model do not fit.

    Examples:
        >>> import jax, jax.numpy as jnp, limpet
        >>> params = {"w": jnp.ones(3)}
        >>> hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))
        >>> injection = Injection(params, hardware, seed=0)
        >>> @jax.jit
        ... def gradient(params, step):
        ...     return jax.grad(lambda p: (injection.inject(p, step)["w"] ** 2).sum())(params)
        >>> bool((gradient(params, 0)["w"] != gradient(params, 1)["w"]).all())
        True
    """

    model: Any
    draws: tuple[StepDraw, ...]
    generator: Generator
    seed: int
    hardware_paths: tuple[str, ...]
    """The paths of the leaves that deviate on the hardware, whatever training draws of it."""

    def __init__(
        self,
        model: Any,
        mismatch: Hardware | Recipe,
        *,
        parts: Collection[str] | None = None,
        scale: float = 1.0,
        schedule: Schedule | None = None,
        gradient: Gradient = "through",
        seed: int = 0,
        chip: int | None = None,
        generator: Generator = DEFAULT_GENERATOR,
    ) -> None:
        if isinstance(mismatch, Hardware):
            recipe = mismatch.on(model, only=parts, gradient=gradient)
        elif isinstance(mismatch, Recipe):
            recipe = mismatch if parts is None else mismatch.only(*parts)
        else:
            raise LimpetError(
                f"mismatch = {mismatch!r}: give the hardware, or a recipe such as limpet.Mismatch(prototype, "
                f"limpet.Gaussian(sigma=0.1))"
            )
        if schedule is not None and not callable(schedule):
            raise LimpetError(
                f"schedule = {schedule!r}: allowed is a function from step to factor, such as "
                f"optax.linear_schedule(0.0, 1.0, 300)"
            )
        draw = StepDraw(
            recipe,
            checked_number(seed, "seed"),
            checked_strength(scale, "scale"),
            schedule or optax.constant_schedule(1.0),
            None if chip is None else checked_number(chip, "chip"),
        )
        self._set(model, (draw,), checked_generator(generator), draw.seed, recipe.paths)

    @classmethod
    def of(cls, config: Config, model: Any) -> "Injection":
        """The injection that a configuration asks for, on a model.

        Raises:
            PrototypeError: hardware and model do not fit.
        """
        draws: list[StepDraw] = []
        training = config.training
        if training is not None and training.dynamic is not None:
            section = training.dynamic
            recipe = config.hardware.on(model, only=config.dynamic_parts, gradient=section.gradient)
            draws.append(StepDraw(recipe, config.seed, section.scale, section.schedule.to_optax()))
        if training is not None and training.frozen is not None:
            section = training.frozen
            recipe = config.hardware.on(model, only=config.frozen_parts, gradient=section.gradient)
            chip = None if section.chip == "fresh" else section.chip
            draws.append(
                StepDraw(recipe, config.frozen_seed, section.scale, section.schedule.to_optax(), chip, "frozen")
            )
        injection = cls.__new__(cls)
        injection._set(model, tuple(draws), config.generator, config.seed, config.recipe(model).paths)
        return injection

    def _set(
        self, model: Any, draws: tuple[StepDraw, ...], generator: Generator, seed: int, hardware_paths: tuple[str, ...]
    ) -> None:
        if len(draws) > 1:
            require_disjoint(tuple(draw.recipe for draw in draws), tuple(draw.name for draw in draws))
        for draw in draws:
            require_nominal(model, draw.recipe)
        values = {"model": model, "draws": draws, "generator": generator, "seed": seed}
        for name, value in (values | {"hardware_paths": hardware_paths}).items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        drawn = [f"{draw.recipe!r} at scale {draw.scale:g} of seed {draw.seed}" for draw in self.draws]
        return f"Injection({'; '.join(drawn) or 'nothing is drawn'})"

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the leaves that deviate in training."""
        return tuple(path for draw in self.draws for path in draw.recipe.paths)

    def step_key(self, step: ArrayLike) -> jax.Array:
        """The random key of a step, for what an objective draws beside chips."""
        return step_key(self.seed, _checked_index(step, "step"), self.generator)

    def strengths(self, deviation: Deviation | None = None) -> dict[str, Callable[[jax.Array], jax.Array]]:
        """How strong fresh draws are, as functions of the step, by the tag under which a log shows them.

        Args:
            deviation: see `inject`.
        """
        tags: dict[str, Callable[[jax.Array], jax.Array]] = {}
        for draw in self.draws:
            if draw.chip is not None:
                continue
            sigma = draw.deviating_by(deviation).shared_sigma
            what, factor = ("scale", 1.0) if sigma is None else ("sigma", sigma)
            tags[f"mismatch/{what}_{draw.name}"] = lambda step, draw=draw, factor=factor: factor * draw.strength(step)
        return tags

    def inject(
        self,
        params: Any,
        step: ArrayLike,
        draw: ArrayLike | None = None,
        *,
        factor: ArrayLike | None = None,
        mirrored: ArrayLike = False,
        deviation: Deviation | None = None,
        sharding: Any = None,
        notes: ProbeNotes | None = None,
    ) -> Any:
        """The deviated tree for one training step; pure, to be called inside the jitted loss.

        Args:
            params: nominal parameters, as the optimizer holds them; or the Flax nnx module.
            step: number of the step, an integer >= 0; may be traced, or an nnx variable such as `optimizer.step`. Pass
                it to the jitted function as an argument: a Python integer that it captures is a constant of the
                compiled program, so that every step would meet the same draw.
            draw: number of the draw within the step, an integer >= 0 which may be traced: one for each micro-batch of
                an accumulated gradient, say. None: the step's only draw.
            factor: a further factor on every fresh deviation, a scalar >= 0, which may be traced; None for none.
            mirrored: True for the mirror image of a fresh draw; may be traced. See `Recipe.__call__`.
            deviation: by which fresh draws deviate in place of the hardware's own; None for these.
            sharding: within `jax.shard_map`, how the leaves are divided among devices; see `Recipe.__call__`.
            notes: where probes on the deviated leaves take their notes; see `limpet.audit`.

        Returns:
            Parameters with this step's mismatch. Where parts are drawn that a Rockpool network holds as simulation
            parameters, parameters and deviated simulation parameters together. `net.set_attributes` takes either. For
            an nnx module, a module whose selected parameters deviate and which shares all other state with the one
            given.

        Raises:
            LimpetError: `step` or `draw` is no integer, or negative; there is a `deviation`, and no fresh draw;
                `params` is not of the model's kind; an nnx module with state was captured by the traced function.
            PrototypeError: `params` holds leaves that the network does not have; an nnx module's structure has changed.
        """
        step, draw = _checked_index(step, "step"), None if draw is None else _checked_index(draw, "draw")
        adapter = adapter_of(self.model)
        adapter.require_like(self.model, params)
        if deviation is not None and all(part.chip is not None for part in self.draws):
            raise LimpetError(
                "training draws nothing afresh, so that no draw can deviate otherwise than the hardware says: draw "
                "parts at every step (training.dynamic, or chip: fresh), or take an objective without noise of its own"
            )
        if not self.draws:
            return params
        if notes is not None:
            watch(adapter_of(params).leaves(params).values(), notes)
        tree = params if self._drawn_within(params) else adapter.completed(self.model, params)
        adapter = adapter_of(tree)
        adapter.require_selected(tree, self.paths)

        def drawn(leaves: Leaves) -> Leaves:
            for part in self.draws:
                # Signed, because schedules subtract from it.
                scale = part.strength(jnp.asarray(step).astype(jnp.int32))
                key = part.key(step, draw, self.generator)
                condition = Condition(scale).checked()
                if part.chip is None:  # the one chip that training meets stays as it is
                    condition = Condition(scale if factor is None else scale * factor, mirrored=mirrored).checked()
                leaves = part.deviating_by(deviation).on_leaves(key, leaves, condition, sharding=sharding)
            return leaves if notes is None else plant(leaves, self.paths, notes)

        return adapter.with_values(tree, drawn)

    def _drawn_within(self, params: Any) -> bool:
        """Whether parameters hold all leaves that deviate, so that the rest of the model is not needed."""
        held = adapter_of(params).leaves(params)
        return all(path in held for path in self.paths)


def _checked_index(number: Any, name: str) -> Any:
    index = unboxed(number)
    array_like = isinstance(index, int | float | np.generic | np.ndarray | jax.Array) and not isinstance(index, bool)
    if not array_like:
        raise LimpetError(f"{name} is a {type(index).__name__}: allowed is an integer >= 0, it names the draw")
    whole = jnp.issubdtype(jnp.result_type(index), jnp.integer) and not np.ndim(index)
    if not whole or (not is_traced(index) and int(np.asarray(index)) < 0):
        raise LimpetError(f"{name} = {index!r}: allowed is an integer >= 0, it names the draw")
    return index
