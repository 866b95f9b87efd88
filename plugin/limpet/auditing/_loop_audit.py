"""The audit of a running loop: does what is drawn reach what is trained, and is it new at each step?"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import ref

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._errors import MismatchNotApplied, warn_user
from .._jax import is_traced
from ..flow._probe import ProbeNotes, is_compiling
from ..flow._products import LeafUse
from ..flow._uses import Use
from ..hardware._mismatch import Recipe
from ..leaves._adapters import never_read, unboxed
from ..leaves._paths import listing
from ._audit import require_reached
from ._layout_check import looks_at_arrays, otherwise_than_said, warn_of_layout
from ._listening import enter, is_told, listen

NEVER_INJECTED = (
    "callback.inject was never called, so nothing {deviated}: call loss_fn(callback.inject(params, step), batch) "
    "inside the jitted update, which is to be compiled anew for each callback{earlier}"
)
STILL_THE_OLD_ONE = (
    ". (The inject of a callback that was built before was called: an update that was compiled with that one still "
    "uses it, its hardware and its strength. Define the update again, for this callback.)"
)
NO_GRADIENT = (
    "callback.inject was traced, but no gradient was taken through what it gave{so_far}: call it inside the loss that "
    "is differentiated, jax.value_and_grad(lambda p: loss_fn(callback.inject(p, step), batch))(params). If this loop "
    "trains without gradients, or takes them at the deviated values, build the callback with audit=False"
)
_INJECTED: set[str] = set()
"""The paths of leaves that any loop of this process injected, by which a callback knows that it has a predecessor."""


class LoopAudit:
    """Watches what a loop draws, in every program that JAX traces or compiles with it.

    A `limpet.Injection` has one as `audit`, and so has what `limpet.with_mismatch` and the objectives make of a recipe.
    It reads the traced program, and leaves nothing in the compiled one: a step costs what it costs without. What one
    program shows is an error where it is compiled, out of the user's own call. The rest needs a loop that says which
    steps it did: `limpet.MismatchCallback` calls `check` after each step and `close` at the end, and so may a loop of
    one's own. What is still open when Python exits is printed.

    | what the loop does | verdict |
    |---|---|
    | several losses, each differentiated by its own leaves and dependent on their draws (GAN, actor-critic) | fine |
    | what does not deviate is trained, beside leaves that deviate (adapters, biases) | fine |
    | roll-outs or a validation that read draws come first; a leaf is used from a later step on | fine |
    | a loss is differentiated through `inject`, but depends on no draw: they were erased | an error |
    | a leaf's draw is erased, and results of other shapes depend on its nominal value | an error |
    | draws are met by the weight decay alone | an error |
    | a scan trains, and all of its turns meet the same draw, because they have the same number or key | an error |
    | the number is the `gradient_step` of `optax.MultiSteps`: all micro-batches of an update meet one draw | an error |
    | every step meets the same draw, because its number is a constant of the compiled step | an error, or a warning |
    | every step is compiled anew, because its number is a constant of the compiled step | a warning |
    | `inject` is never called in a whole run | a warning at the first step, an error at the end |
    | warm-up steps without `inject`, then steps with it | a warning at the first; fine |
    | no gradient is taken through what `inject` gave | a warning when parameters change, an error at the end |
    | no loss depends on the draw of some leaf | an error at the end |
    | a loss is differentiated by a leaf, but only another loss depends on its draw | a warning |
    | the loss depends on a draw, but no gradient comes back along it (`stop_gradient`, a comparison) | a warning |
    | a draw is read beside the loss only: in what it returns with it, in an argument without gradient | a warning |
    | a leaf is used otherwise than the hardware says that it sits on arrays, see `limpet.layout` | a warning |
    | a leaf that is not trained is read beside the loss only | not seen |
    | turns of a `while_loop` meet one draw (a line search should) | not seen |
    | a step that is not compiled by `jax.jit` | a warning |
    | a compiled step is called several times with the same number | not seen |

    Args:
        paths: the paths of the leaves that deviate.
        recipes: the recipes by which they deviate, which say where they sit.

    Attributes:
        told: whether a loop says which steps it did, by `check`, so that a number that is a constant of the program is
            judged by them.
        done: whether the audit is over; it may be set to True, for a loop that is not to be audited.

    Examples:
        >>> import jax, jax.numpy as jnp, limpet
        >>> params = {"w": jnp.ones(3)}
        >>> hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))
        >>> injection = limpet.Injection(params, hardware)
        >>> def loss(params, step):
        ...     injection.inject(params, step)  # what it gives is lost
        ...     return params["w"].sum()
        >>> jax.jit(jax.grad(loss))(params, 0)
        Traceback (most recent call last):
        limpet.MismatchNotApplied: the draw of w does not reach the loss, which sees the nominal values. ...
    """

    def __init__(self, paths: Collection[str], recipes: Sequence[Recipe] = ()) -> None:
        self._paths = paths
        self._recipes = [recipe for recipe in recipes if looks_at_arrays(recipe)]
        self._traces: dict[ProbeNotes, int | None] = {}
        """For each call of `inject`, what its probes noted, and the number of the step where it was no traced one."""
        self._uses: dict[ProbeNotes, list[Use]] = {}
        self._whole: set[ProbeNotes] = set()
        self._steps: list[int] = []
        """The first step that the loop told of, and the last one."""
        self._leaves: list[Callable[[], Any]] = []
        self._trained = False
        self._said: set[str] = set()
        self._begun = self._refused = self._eager = False
        self._settled = 0
        """How many draws there were when the last check found nothing: until there are more, none is needed."""
        self.told = False
        self.done = not paths

    def notes(self, step: ArrayLike) -> ProbeNotes | None:
        """Where the probes of one more draw take their notes; None where nothing is traced, or the audit is over.

        Args:
            step: the number or the key of the draw.
        """
        if self.done:
            return None
        self._begin()
        _INJECTED.update(self._paths)
        if not is_compiling():
            self._eager = True
            return None
        notes = ProbeNotes(self)
        self._traces[notes] = _known(unboxed(step))
        return notes

    def _begin(self) -> None:
        listen()
        if not self._begun:
            self._begun = True
            enter(self)

    @property
    def asks_layout(self) -> bool:
        """Whether some leaves sit on arrays, so that it matters what programs do with them."""
        return bool(self._recipes)

    def waits(self, whole: bool) -> bool:
        """Whether there is something to be read from a program: not from one that was read as a whole."""
        return not self.done and (whole or len(self._whole) < len(self._traces))

    def hear_layout(self, uses: Mapping[ProbeNotes, Sequence[LeafUse]]) -> None:
        """Take what a program does with leaves, by the draw; warn where they sit otherwise than the hardware says."""
        for recipe in self._recipes:
            for notes, of in uses.items():
                # What is compiled of analog products is no more the product that the user wrote.
                plain = [use for use in of if (rule := recipe.rules.get(use.leaf.path)) is None or rule.product is None]
                warn_of_layout(recipe, otherwise_than_said(recipe, plain, notes.in_gradient))

    def hear(self, uses: Mapping[ProbeNotes, Use], whole: bool) -> None:
        """Take what a program does with draws.

        Args:
            uses: the use of each draw of this audit's.
            whole: whether the program is one that is compiled as it is, not perhaps half of one.

        Raises:
            MismatchNotApplied: the program shows a fault, see the table above.
        """
        for notes, use in uses.items():
            if whole or notes not in self._whole:
                self._uses.setdefault(notes, []).append(use)
        if whole:
            self._whole.update(uses)
            with self._refusing():
                self._judge({notes: use for notes, use in uses.items() if notes.in_gradient})

    def _judge(self, uses: Mapping[ProbeNotes, Use]) -> None:
        for notes, use in uses.items():
            if not use.reached:
                require_reached(notes.planted, set())
            require_reached(use.erased, set())
            if use.decays:
                raise MismatchNotApplied(
                    f"the draw of {listing(sorted(notes.planted), limit=6)} meets no data in this program, though the "
                    f"loss does: it is in the weight decay alone. Hand the deviated tree to the network, "
                    f"loss_fn(callback.inject(params, step), batch), and nominal parameters to the decay"
                )
            if use.repeated:
                raise MismatchNotApplied(
                    "every turn of a loop that trains (jax.lax.scan) meets the same draw, because the number or the "
                    "key of the draw does not change along it: scan over the numbers of the steps, start + "
                    "jnp.arange(count), and hand each turn its own. If the turns are to meet one chip, as where a "
                    "network is adapted to it, build the callback with audit=False"
                )
            if use.counts_updates:
                raise MismatchNotApplied(
                    "the step's number is the gradient_step of optax.MultiSteps, which counts updates, so that all "
                    "micro-batches of an update meet the same draw: count the steps themselves, or give each "
                    "micro-batch a draw of its own, inject(params, state.gradient_step, draw=state.mini_step)"
                )
            if use.constant and not self.told:
                self._warn(
                    "constant",
                    "the number or the key of the draw is a constant of the compiled function, so that each of its "
                    "calls meets the same draw: pass the number to the jitted function as an argument, as "
                    "jnp.int32(step)",
                )

    def check(self, step: int, trained: bool = True, params: Any = None) -> None:
        """Judge what is known so far; to be called after each training step.

        Args:
            step: the number of the training step that was done.
            trained: whether it is certain that a training step was done.
            params: the nominal parameters, by which it is seen whether they were trained; None if they are not at hand.

        Raises:
            MismatchNotApplied: see the table above.
        """
        if self.done or 0 < self._settled == len(self._traces):
            return
        with self._refusing():
            self._check(step, trained, not self._training and self._changed(params))
        if self._training and step != self._steps[0]:
            self._settled = len(self._traces)

    def _check(self, step: int, trained: bool, changed: bool) -> None:
        self._begin()
        self._steps = [self._steps[0] if self._steps else step, step]
        if not self._traces:
            if self._eager:
                self._warn(
                    "eager",
                    "callback.inject was called outside jax.jit, where nothing tells whether its draws reach the loss: "
                    "jit the update, or check it once with limpet.audit",
                )
            elif trained or changed:
                seen = "a training step was logged" if trained else "parameters have changed"
                self._warn(
                    "never",
                    f"{seen}, but {self._never_injected('deviates yet')}. (Steps that are meant to train without "
                    f"mismatch are fine; a schedule that begins at 0 gives them without another compilation.)",
                )
            self._trained |= trained
            return
        if not is_told():
            self._warn(
                "deaf",
                "the audit could not see what was compiled, because this version of JAX does not tell: check the loss "
                "once with limpet.audit",
            )
        elif not self._training and changed:
            self._warn("gradient", NO_GRADIENT.format(so_far=" so far"))
        self._require_some_reached()
        self._require_new_draws(step)
        self._warn_of_halves()

    def close(self) -> None:
        """Judge a run that has come to its end, however few steps it had.

        Raises:
            MismatchNotApplied: see the table above.
        """
        if self.done:
            return
        self.done = True
        if self._refused:  # and the loop was told
            return
        if self._traces and not is_told():  # nothing was seen, so that nothing is known
            return
        if not self._traces:
            if self._trained and not self._eager:
                raise MismatchNotApplied(f"the run is over, but {self._never_injected('deviated')}")
            return
        training = self._training
        if self._steps and any(notes.planted for notes in self._traces) and not training:
            raise MismatchNotApplied(NO_GRADIENT.format(so_far=""))
        self._require_some_reached()
        planted = set().union(*(notes.planted for notes in training))
        require_reached(planted, set().union(*(self._reached(notes) for notes in training)))
        self._warn_of_halves()

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except MismatchNotApplied:
            self._refused = True  # said once; not at exit again
            raise

    @property
    def _training(self) -> list[ProbeNotes]:
        """The notes of what was drawn for a training step."""
        return [
            notes
            for notes in self._traces
            if notes.planted and (notes.in_gradient or any(use.trains for use in self._uses.get(notes, ())))
        ]

    def _reached(self, notes: ProbeNotes) -> set[str]:
        return set().union(*(use.reached for use in self._uses.get(notes, ())))

    def _changed(self, params: Any) -> bool:
        """Whether parameters are others than when they were last seen."""
        before, leaves = self._leaves, jax.tree.leaves(params)
        self._leaves = list(map(_weakly, leaves))
        return any(_differ(old(), new) for old, new in zip(before, leaves, strict=False))

    def _require_some_reached(self) -> None:
        """Refuse a loop of which no update depends on a draw; one alone may have been traced for its shapes."""
        differentiated = [notes for notes in self._traces if notes.planted and notes.in_gradient]
        if differentiated and is_told() and not any(map(self._reached, differentiated)):
            require_reached(set().union(*(notes.planted for notes in differentiated)), set())

    def _require_new_draws(self, step: int) -> None:
        numbers = [self._traces[notes] for notes in self._training if not self._is_new(notes)]
        if len(numbers) < len(self._training) or not numbers:
            return
        known = {number for number in numbers if number is not None}
        if step not in known and (self._steps[0] != step or step > max(known, default=step) + 1):
            number = f"step = {numbers[0]}" if known else "a number or key"
            raise MismatchNotApplied(
                f"callback.inject was traced with {number}, a constant of the compiled update, so every "
                f"step meets the same draw: pass the step to the jitted function as an argument, "
                f"update(params, step, batch), as jnp.int32(step)"
            )
        if len(known) > 1 and set(self._steps) <= known:
            self._warn(
                "anew",
                f"callback.inject was traced anew for step {step}, whose number is a constant of the compiled update, "
                f"so every step is compiled: pass the number as jnp.int32(step). (eqx.filter_jit takes Python numbers "
                f"for constants, as jax.jit does those named in static_argnums.)",
            )

    def _is_new(self, notes: ProbeNotes) -> bool:
        return not any(use.constant for use in self._uses.get(notes, ()))

    def _warn_of_halves(self) -> None:
        differentiated = [notes for notes in self._traces if notes.in_gradient and notes in self._uses]
        halves = {path for notes in differentiated for path in notes.differentiated - self._reached(notes)}
        halves -= {path for notes in differentiated for use in self._uses[notes] for path in use.unread}
        reached = set().union(*map(self._reached, differentiated))
        if halves := sorted(path for path in halves & reached if not never_read(path)):
            self._warn(
                "halves",
                f"the draw of {listing(halves, limit=6)} reaches one loss, but not another one that is differentiated "
                f"by it. If that loss uses it, its draw was erased, as by net.set_attributes(params); set the tree "
                f"that was drawn instead",
            )
        along = set().union(*(notes.differentiated for notes in differentiated))
        returned = {path for notes in differentiated for use in self._uses[notes] for path in use.returned}
        if silent := sorted(path for path in (along & reached) - returned if not never_read(path)):
            self._warn(
                "silent",
                f"no gradient comes back along the draw of {listing(silent, limit=6)}. Perhaps it is read beside the "
                f"loss only, in what the loss returns with it, and training meets no mismatch there; where the loss "
                f"reads it through jax.lax.stop_gradient, or only compares it, all is well",
            )

    def _warn(self, what: str, text: str) -> None:
        """Warn once."""
        if what not in self._said:
            self._said.add(what)
            warn_user(text, RuntimeWarning)

    def _never_injected(self, deviated: str) -> str:
        has_predecessor = not _INJECTED.isdisjoint(self._paths)
        return NEVER_INJECTED.format(deviated=deviated, earlier=STILL_THE_OLD_ONE if has_predecessor else "")


def _known(number: Any) -> int | None:
    """The number of a step where it is known; None for one that is traced, and for a key."""
    scalar = not is_traced(number) and np.ndim(number) == 0 and jnp.issubdtype(jnp.result_type(number), jnp.integer)
    return int(number) if scalar else None


def _differ(old: Any, new: Any) -> bool:
    """Whether a value is another one; one that is gone since, as parameters are after an update, counts as another."""
    return old is not new and (old is None or getattr(old, "is_deleted", bool)() or not np.array_equal(old, new))


def _weakly(leaf: Any) -> Callable[[], Any]:
    try:
        return ref(leaf)
    except TypeError:  # a number
        return lambda: leaf
