"""The chips that a training step meets: what every objective draws."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._checked import shown
from .._errors import LimpetError
from ..analog._products import computing
from ..auditing._loop_audit import LoopAudit
from ..draws._keys import path_hash
from ..flow._probe import numbered, plant
from ..hardware._hardware import Hardware
from ..hardware._mismatch import Recipe
from ..leaves._adapters import adapter_of
from ..leaves._paths import is_real
from ..results._condition import UNCHANGED, Condition, condition_of


class Injector(Protocol):
    """What draws by step: a `MismatchCallback`, or an `Injection`."""

    def inject(self, params: Any, step: ArrayLike, draw: ArrayLike | None = None) -> Any: ...


@dataclass(frozen=True)
class StepChips:
    """The chips of a step, from a recipe by the step's key, or from an injector by the step's number.

    Attributes:
        mismatch: the recipe or the injector.
        condition: the condition under which a recipe draws, or a number, which is the scale; may be traced.
        ranges: the ranges of input converters that are trained beside the parameters, by leaf path; None for none.

    Raises:
        LimpetError: `mismatch` is neither; or an injector is given a condition, which it has itself.
    """

    mismatch: Recipe | Injector
    condition: Condition | ArrayLike = UNCHANGED
    ranges: Mapping[str, ArrayLike] | None = None
    _audit: LoopAudit = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        mismatch: Any = self.mismatch
        recipes = [mismatch] if isinstance(mismatch, Recipe) else []
        audit = LoopAudit([path for recipe in recipes for path in recipe.paths], recipes)
        object.__setattr__(self, "_audit", audit)
        if isinstance(mismatch, Hardware) or not (isinstance(mismatch, Recipe) or hasattr(mismatch, "inject")):
            raise LimpetError(
                f"mismatch = {mismatch!r}: give a recipe, hardware.on(model) or limpet.Mismatch(prototype, deviation); "
                f"or a MismatchCallback or an Injection, which draw by step"
            )
        if not isinstance(mismatch, Recipe) and self.condition is not UNCHANGED:
            raise LimpetError(
                f"condition = {shown(self.condition)}: what a callback or an injection draws has a condition of its own"
            )

    def tree(
        self,
        params: Any,
        name: Any,
        draw: ArrayLike | None = None,
        *,
        factor: ArrayLike | None = None,
        mirrored: ArrayLike = False,
    ) -> Any:
        """The deviated tree of one chip.

        Args:
            params: the nominal parameters.
            name: the step's key, for a recipe; its number, for an injector.
            draw: the chip's number within the step; None where the step has one chip.
            factor: a further factor on every deviation; None for none.
            mirrored: True for the mirror image of the chip; may be traced.
        """
        if isinstance(self.mismatch, Recipe):
            seen = condition_of(self.condition)
            if factor is not None:
                seen = seen._replace(scale=seen.scale * jnp.asarray(factor))
            if mirrored is not False:
                seen = seen._replace(
                    mirrored=jnp.asarray(mirrored) ^ (False if seen.mirrored is None else seen.mirrored)
                )
            return self._drawn(self.mismatch, name, params, draw, seen)
        given = {"factor": factor, "mirrored": None if mirrored is False else mirrored, "ranges": self.ranges}
        inject: Callable[..., Any] = (
            self.mismatch.inject
        )  # which, if it is a user's own, may know no more than it needs
        return inject(params, name, draw, **{key: value for key, value in given.items() if value is not None})

    def _drawn(self, recipe: Recipe, key: Any, params: Any, draw: ArrayLike | None, condition: Condition) -> Any:
        """The recipe's draw, with probes on it; see `limpet.LoopAudit`."""
        notes, adapter = self._audit.notes(key), adapter_of(params)
        if notes is None:
            return recipe(key if draw is None else jax.random.fold_in(key, draw), params, condition, ranges=self.ranges)
        if recipe.random:
            key, draw = numbered(key, notes), None if draw is None else numbered(draw, notes)
        nominal = adapter.with_values(params, lambda leaves: plant(leaves, recipe.paths, notes, "nominal"))
        key = key if draw is None else jax.random.fold_in(key, draw)
        deviated = recipe(key, nominal, condition, ranges=self.ranges)
        return adapter.with_values(deviated, lambda leaves: plant(leaves, recipe.paths, notes))

    def objective(self, loss: Callable[..., Any]) -> Callable[..., Any]:
        """`f(params, name, *args, ranges=None)`, for `loss(chips, params, name, *args)` of chips with such ranges."""

        def of_chips(params: Any, name: Any, *args: Any, **named: Any) -> Any:
            # nnx.grad takes no function that has a keyword argument with a default.
            ranges = named.pop("ranges", None)
            chips = self
            if ranges is not None:
                chips = copy(self)  # with the same audit
                object.__setattr__(chips, "ranges", ranges)
            return loss(chips, params, name, *args, **named)

        return of_chips

    def computing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that draws chips and computes with them, with their products."""
        # What draws in a way of its own may have products; then it costs a trace to find out.
        return computing(function) if getattr(self.mismatch, "has_products", True) else function

    def key(self, name: Any, purpose: str) -> jax.Array:
        """A key of the step's for what an objective draws beside chips."""
        key = name if isinstance(self.mismatch, Recipe) else self._injector.step_key(name)
        return jax.random.fold_in(key, jnp.uint32(path_hash(f"objective {purpose}")))

    def deviating(self, params: Any) -> dict[str, jax.Array]:
        """The values of the leaves, among parameters, that deviate on the hardware; by path.

        Raises:
            LimpetError: there is none.
        """
        paths = self.mismatch.paths if isinstance(self.mismatch, Recipe) else self._injector.hardware_paths
        leaves = adapter_of(params).leaves(params)
        chosen = {path: jnp.asarray(leaves[path]) for path in paths if path in leaves and is_real(leaves[path])}
        if not chosen:
            raise LimpetError("none of the parameters deviates on this hardware, so that there is nothing to perturb")
        return chosen

    @property
    def _injector(self) -> Any:
        if not hasattr(self.mismatch, "step_key"):
            raise LimpetError(
                f"mismatch = {self.mismatch!r}: this objective needs a recipe, a MismatchCallback or an Injection"
            )
        return self.mismatch
