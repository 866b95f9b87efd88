"""What a jitted step closes over: draws that follow from the step's number."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from .._checked import shown, whole
from .._errors import LimpetError
from .._jax import is_traced
from ..analog._found import require_learned
from ..auditing._loop_audit import LoopAudit
from ..deviations._deviation import Deviation
from ..draws._generator import DEFAULT_GENERATOR, MAX_SEED, Generator, checked_generator
from ..draws._keys import chip_key, path_hash, step_key
from ..draws._strength import checked_strength
from ..flow._probe import numbered, plant
from ..hardware._hardware import Hardware
from ..hardware._leaf_draw import Gradient
from ..hardware._mismatch import Recipe, require_disjoint
from ..leaves._adapter import Adapter, Leaves
from ..leaves._adapters import adapter_of, unboxed
from ..leaves._paths import is_real
from ..results._condition import Condition
from ..results._duration import seconds
from ._freeze import require_nominal
from ._log_uniform import LogUniform

Schedule = Callable[[Any], ArrayLike]
"""From the number of a step to a factor on the strength, or to a time in seconds, as optax has it."""

_TIMES = path_hash("limpet: the time since programming")
_GOLDEN = np.uint32(0x9E3779B9)
"""An odd number far from others, so that the reads of one step's draws are not those of the steps around it."""


@dataclass(frozen=True)
class StepDraw:
    """What is drawn for a training step.

    Attributes:
        recipe: the recipe, which says which leaves deviate, and how.
        seed: the seed of the draws.
        generator: the generator of the draws.
        scale: the factor on every deviation.
        schedule: a further factor, by step.
        time: the time since programming in seconds: one number, a function of the step, or times to draw from; None for
            right after programming.
        chip: the number of the one chip that is met at all steps; None for a fresh draw at every step.
        name: the name by which logs and errors call it.
    """

    recipe: Recipe
    seed: int
    generator: Generator
    scale: float
    schedule: Schedule
    time: float | Schedule | LogUniform | None
    chip: int | None
    name: str

    @property
    def follows_step(self) -> bool:
        """Whether what is drawn changes with the step's number, other than by the strength."""
        timed = self.time is not None and not isinstance(self.time, float)
        return timed or (self.recipe.random and (self.chip is None or self.recipe.noisy_reads))

    def key(self, step: ArrayLike, draw: ArrayLike | None) -> jax.Array:
        """The random key of one step."""
        if self.chip is not None:
            return chip_key(self.seed, self.chip, self.generator)
        return self._step_key(step, draw)

    def condition(
        self, step: jax.Array, draw: ArrayLike | None, factor: ArrayLike | None, mirrored: ArrayLike
    ) -> Condition:
        """The condition under which a step meets the chip; one chip for all steps stays as it is, but is read anew."""
        scale, time = self.strength(step), self.time
        if isinstance(time, LogUniform):
            time = time.at(jax.random.fold_in(self._step_key(step, draw), _TIMES))
        elif callable(time):
            with jax.numpy_dtype_promotion("standard"):
                time = jnp.asarray(time(step), jnp.result_type(float))
        if self.chip is None:
            return Condition(scale if factor is None else scale * factor, time, np.uint32(0), mirrored).checked()
        read = jnp.asarray(step).astype(jnp.uint32)
        if draw is not None:
            read += _GOLDEN * jnp.asarray(draw).astype(jnp.uint32)
        return Condition(scale, time, read).checked()

    def deviating_by(self, deviation: Deviation | None) -> Recipe:
        """The recipe, by another deviation if one is given; the one chip that training meets stays as it is."""
        return self.recipe if deviation is None or self.chip is not None else self.recipe.with_deviation(deviation)

    def strength(self, step: jax.Array) -> jax.Array:
        """The factor in force at a step."""
        # Schedules, optax's among them, mix integers and floats, whatever a user wants of promotion in the network.
        with jax.numpy_dtype_promotion("standard"):
            return jnp.asarray(self.scale * self.schedule(step), jnp.result_type(float))

    def _step_key(self, step: ArrayLike, draw: ArrayLike | None) -> jax.Array:
        key = step_key(self.seed, step, self.generator)
        return key if draw is None else jax.random.fold_in(key, draw)


@dataclass(frozen=True, init=False, eq=False)
class Injection:
    """Mismatch for a jitted training step: a pure function of parameters and the step's number, which opens no file.

    It is what `limpet.MismatchCallback.inject` is made of, for loops that need no log. `a | b` is both at once, over
    disjoint leaves of one model: parts that are drawn anew at every step beside parts that sit on one chip.

    Args:
        model: a Rockpool JAX module, a Flax nnx module, or the parameter tree: what the hardware is laid over.
        mismatch: the hardware, or a recipe.
        parts: names of the parts of the hardware that are drawn; None for all, () for none.
        scale: the factor on every deviation, a number >= 0.
        schedule: an optax schedule, from step to a further factor; None for none. A factor below 0 is refused; under
            `jit`, where it is not known, it counts as 0.
        time: the time since programming at which training meets the hardware: seconds or a text such as "1 day"; a
            function from step to seconds; `limpet.LogUniform(low, high)`, from which each step draws a time; None for
            right after programming.
        gradient: how gradients pass through the draw, see `limpet.Mismatch`; for a recipe it is the recipe's own.
        seed: the seed of the draws, an integer from 0 to 2**32 - 1.
        chip: the number of a virtual chip to train on that chip alone, whose read noise is new at every step; None for
            a fresh draw at every step.
        generator: "fast" or "threefry2x32".
        name: the name by which logs call its strength; None for "frozen" where there is a chip, else "dynamic".

    Attributes:
        draws: what is drawn for a step: one entry for each injection that was joined.
        paths: the paths of the leaves that deviate in training.
        hardware_paths: the paths of the leaves that deviate on the hardware, whatever training draws of it.
        audit: the audit of the loop: whether draws reach what is trained, and are new at each step.

    Raises:
        LimpetError: an argument is none of these, or `time` is given to hardware that does not change with time.
        PrototypeError: hardware and model do not fit.

    Examples:
        >>> import jax, jax.numpy as jnp, limpet
        >>> params = {"w": jnp.ones(3), "b": jnp.ones(2)}
        >>> hardware = limpet.Hardware(
        ...     weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)),
        ...     biases=limpet.Part("b", limpet.Gaussian(sigma=0.1)),
        ... )
        >>> one_chip = Injection(params, hardware, parts=["biases"], chip=17)
        >>> injection = Injection(params, hardware, parts=["weights"]) | one_chip
        >>> @jax.jit
        ... def gradient(params, step):
        ...     return jax.grad(lambda p: sum((x**2).sum() for x in injection.inject(p, step).values()))(params)
        >>> first, second = gradient(params, 0), gradient(params, 1)
        >>> bool((first["w"] != second["w"]).all()), bool((first["b"] == second["b"]).all())
        (True, True)
    """

    model: Any
    draws: tuple[StepDraw, ...]
    paths: tuple[str, ...]
    seed: int
    generator: Generator
    hardware_paths: tuple[str, ...]
    audit: LoopAudit
    _adapter: Adapter

    def __init__(
        self,
        model: Any,
        mismatch: Hardware | Recipe,
        *,
        parts: Collection[str] | None = None,
        scale: float = 1.0,
        schedule: Schedule | None = None,
        time: float | str | Schedule | LogUniform | None = None,
        gradient: Gradient = "through",
        seed: int = 0,
        chip: int | None = None,
        generator: Generator = DEFAULT_GENERATOR,
        name: str | None = None,
    ) -> None:
        if isinstance(mismatch, Hardware):
            whole_recipe = mismatch.on(model, gradient=gradient)
        elif isinstance(mismatch, Recipe):
            whole_recipe = mismatch
        else:
            raise LimpetError(
                f"mismatch = {shown(mismatch)}: give the hardware, or a recipe such as limpet.Mismatch(prototype, "
                f"limpet.Gaussian(sigma=0.1))"
            )
        if schedule is not None and not callable(schedule):
            raise LimpetError(
                f"schedule = {shown(schedule)}: allowed is a function from step to factor, such as "
                f"optax.linear_schedule(0.0, 1.0, 300)"
            )
        seed = whole("seed", seed, 0, MAX_SEED)
        draws = ()
        if parts is None or len(parts):
            recipe = whole_recipe if parts is None else whole_recipe.only(*parts)
            draw = StepDraw(
                recipe,
                seed,
                checked_generator(generator),
                checked_strength(scale, "scale"),
                schedule or optax.constant_schedule(1.0),
                _checked_time(time, recipe),
                None if chip is None else whole("chip", chip, 0, MAX_SEED),
                name or ("dynamic" if chip is None else "frozen"),
            )
            require_nominal(model, recipe)
            draws = (draw,)
        self._set(model, draws, seed, checked_generator(generator), whole_recipe.paths)

    def __or__(self, other: "Injection") -> "Injection":
        """Both injections at once, over disjoint leaves; the seed of objectives is the first one's.

        Raises:
            LimpetError: they are laid over different models.
            PrototypeError: both draw the same leaf.
        """
        if not isinstance(other, Injection):
            return NotImplemented
        if self.model is not other.model:
            raise LimpetError("injections are joined over one model: build both of them with the same object")
        draws = (*self.draws, *other.draws)
        require_disjoint(tuple(draw.recipe for draw in draws), tuple(draw.name for draw in draws))
        joined = Injection.__new__(Injection)
        paths = tuple(dict.fromkeys((*self.hardware_paths, *other.hardware_paths)))
        joined._set(self.model, draws, self.seed, self.generator, paths)
        return joined

    def _set(self, model: Any, draws: tuple[StepDraw, ...], seed: int, generator: Generator, paths: Any) -> None:
        values = {"model": model, "draws": draws, "seed": seed, "generator": generator, "hardware_paths": paths}
        drawn = tuple(path for draw in draws for path in draw.recipe.paths)
        values |= {
            "_adapter": adapter_of(model),
            "paths": drawn,
            "audit": LoopAudit(drawn, [draw.recipe for draw in draws]),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def has_products(self) -> bool:
        """Whether some leaf that it draws has a product, so that it has to be used within `limpet.products`."""
        return any(draw.recipe.has_products for draw in self.draws)

    def __repr__(self) -> str:
        drawn = [f"{draw.recipe!r} at scale {draw.scale:g} of seed {draw.seed}" for draw in self.draws]
        return f"Injection({'; '.join(drawn) or 'nothing is drawn'})"

    def step_key(self, step: ArrayLike) -> jax.Array:
        """The random key of a step, for what an objective draws beside chips."""
        return step_key(self.seed, _checked_index(step, "step"), self.generator)

    def strengths(self, deviation: Deviation | None = None) -> dict[str, Callable[[jax.Array], jax.Array]]:
        """How strong fresh draws are, as functions of the step, by the tag under which a log shows them.

        Args:
            deviation: the deviation that an objective takes in place of the hardware's own, see `inject`.
        """
        tags: dict[str, Callable[[jax.Array], jax.Array]] = {}
        for draw in self.draws:
            if draw.chip is not None:
                continue
            sigma = draw.deviating_by(deviation).shared_sigma
            what, factor = ("scale", 1.0) if sigma is None else ("sigma", sigma)

            def in_force(step: jax.Array, draw: StepDraw = draw, factor: float = factor) -> jax.Array:
                return factor * jnp.maximum(draw.strength(step), 0)  # as a traced `Condition` has it

            tags[f"mismatch/{what}_{draw.name}"] = in_force
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
        ranges: Mapping[str, ArrayLike] | None = None,
    ) -> Any:
        """The deviated tree for one training step; pure, to be called inside the jitted loss.

        Args:
            params: nominal parameters, as the optimizer holds them; or the Flax nnx module.
            step: the number of the step, an integer >= 0; may be traced, or an nnx variable such as `optimizer.step`.
                Pass it to the jitted function as an argument: a Python integer that it captures is a constant of the
                compiled program, so that every step would meet the same draw.
            draw: the number of the draw within the step, an integer >= 0 which may be traced: one for each micro-batch
                of an accumulated gradient, say. None: the step's only draw.
            factor: a further factor on every fresh deviation, a scalar >= 0, which may be traced; None for none.
            mirrored: True for the mirror image of a fresh draw; may be traced. See `limpet.Condition`.
            deviation: the deviation that fresh draws take in place of the hardware's own; None for that.
            sharding: how the leaves are divided among devices within `jax.shard_map`; see `limpet.Recipe`.
            ranges: the ranges of input converters by leaf path, where they are "learned", which optax trains beside the
                parameters; see `limpet.Recipe`. None for those that the hardware holds.

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
        self._adapter.require_like(self.model, params)
        if deviation is not None and all(part.chip is not None for part in self.draws):
            raise LimpetError(
                "training draws nothing afresh, so that no draw can deviate otherwise than the hardware says: draw "
                "parts at every step (training.dynamic, or chip: fresh), or take an objective without noise of its own"
            )
        if ranges is not None:
            require_learned(ranges, (path for part in self.draws for path in part.recipe.learned))
        if not self.draws:
            return params
        tree, adapter = params, self._adapter if type(params) is type(self.model) else adapter_of(params)
        held = adapter.leaves(params)
        notes = None if self.audit.done else self.audit.notes(step)
        if notes is not None:
            plant(held, (path for path in held.keys() - set(self.paths) if is_real(held[path])), notes, "beside")
            if deviation is not None or any(part.follows_step for part in self.draws):
                step, draw = numbered(step, notes), None if draw is None else numbered(draw, notes)
        if not all(path in held for path in self.paths):  # else the rest of the model is not needed
            tree = self._adapter.completed(self.model, params)
            adapter = adapter_of(tree)
            adapter.require_selected(tree, self.paths)

        def drawn(leaves: Leaves) -> Leaves:
            if notes is not None:
                leaves = plant(leaves, self.paths, notes, "nominal")
            signed = jnp.asarray(step).astype(jnp.int32)  # because schedules subtract from it
            for part in self.draws:
                condition = part.condition(signed, draw, factor, mirrored)
                recipe = part.deviating_by(deviation)
                leaves = recipe.on_leaves(part.key(step, draw), leaves, condition, sharding, ranges)
            return leaves if notes is None else plant(leaves, self.paths, notes)

        return adapter.with_values(tree, drawn)


def _checked_time(time: Any, recipe: Recipe) -> float | Schedule | LogUniform | None:
    if time is None:
        return None
    if not any(rule.deviation.timed for rule in recipe.rules.values() if rule is not None):
        raise LimpetError(
            f"time = {shown(time)}: no deviation of this hardware changes with time; leave it out, or give hardware "
            f"with a limpet.Drift, a limpet.Relaxation or a limpet.ReadNoise of some read_time"
        )
    if isinstance(time, LogUniform) or callable(time):
        return time  # pyright: ignore[reportReturnType]
    return seconds(time, "time")


def _checked_index(number: Any, name: str) -> Any:
    index = number if isinstance(number, int | jax.Array) else unboxed(number)
    array_like = isinstance(index, int | float | np.generic | np.ndarray | jax.Array) and not isinstance(index, bool)
    if not array_like:
        raise LimpetError(f"{name} is a {type(index).__name__}: allowed is an integer >= 0, it names the draw")
    integer = jnp.issubdtype(jnp.result_type(index), jnp.integer) and not np.ndim(index)
    if not integer or (not is_traced(index) and int(np.asarray(index)) < 0):
        raise LimpetError(f"{name} = {index!r}: allowed is an integer >= 0, it names the draw")
    return index
