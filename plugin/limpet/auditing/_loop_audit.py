"""The audit of a running loop: does what `inject` draws reach what is differentiated, and is it new at each step?"""

from collections.abc import Collection, Sized
from typing import Any, Protocol

from jax.typing import ArrayLike

from .._errors import MismatchNotApplied, warn_user
from .._jax import is_traced
from ..flow._probe import ProbeNotes
from ..leaves._adapters import never_read, unboxed
from ..leaves._paths import listing
from ._audit import require_reached

NEVER_INJECTED = (
    "callback.inject was never called, so nothing {deviated}: call loss_fn(callback.inject(params, step), batch) "
    "inside the jitted update, which is to be compiled anew for each callback{earlier}"
)
STILL_THE_OLD_ONE = (
    ". (The inject of a callback that was built before was called: an update that was compiled with that one still "
    "uses it, its hardware and its strength. Define the update again, for this callback.)"
)
_INJECTED: set[str] = set()
"""The paths of leaves that any loop of this process injected, by which a callback knows that it has a predecessor."""


class Probed(Protocol):
    """What a loop injects: `limpet.Injection`, or whatever else can plant probes on the leaves that it deviates."""

    @property
    def draws(self) -> Sized:
        """What is drawn for a step; empty where nothing is."""
        ...

    @property
    def paths(self) -> Collection[str]:
        """The paths of the leaves that deviate."""
        ...

    def inject(self, params: Any, step: ArrayLike, draw: ArrayLike | None = None, *, notes: ProbeNotes | None) -> Any:
        """The deviated tree, with probes on it that take these notes."""
        ...


class LoopAudit:
    """Watches what a loop injects during its first two steps; afterwards it costs nothing, and leaves no probes.

    A `limpet.MismatchCallback` has one. A loop of one's own calls `inject` of the audit in place of the injection's,
    `check` after each step, and `close` at the end.

    Judged is what is differentiated, never what was merely compiled: a jitted evaluation that reads its draws says
    nothing about training. After the first step that was trained with draws:

    | what the loop does | verdict |
    |---|---|
    | several losses, each differentiated by its own leaves and dependent on their draws (GAN, actor-critic) | fine |
    | a loss is differentiated by a leaf, but only another loss depends on its draw | a warning |
    | warm-up steps without `inject`, then steps with it | a warning at the first; fine |
    | `inject` is never called in a whole run | a warning at the first step, an error at the end |
    | no gradient is taken through what `inject` gave | an error |
    | a loss is differentiated through `inject`, but depends on no draw: they were erased | an error |
    | every step meets the same draw, because its number is a constant of the compiled step | an error |
    | every step is compiled anew, because its number is a constant of the compiled step | a warning |
    | no loss depends on the draw of some leaf | an error, one step later: another loss may still be compiled |
    | the loss depends on a draw, but no gradient comes back along it (`stop_gradient`, a comparison) | a warning |
    | a draw is read beside the loss only: in what it returns with it, in an argument without gradient | a warning |
    | a leaf that is not trained is read beside the loss only | not seen |
    | such a leaf is handed to a function with its own gradient that does not use it | not seen |
    | such a leaf is handed to a `while_loop` that does not use it | refused; not seen with JAX before 0.12 |
    | a step that is not compiled by `jax.jit`; a step that is compiled later than the second one | not seen |
    | the gradient along a draw is an array that happens to be zero | not seen |

    Args:
        injection: the injection, whose `inject` the loop would call.

    Attributes:
        done: whether the audit is over, so that the loop may inject without it.

    Examples:
        >>> import jax, jax.numpy as jnp, limpet
        >>> params = {"w": jnp.ones(3)}
        >>> hardware = limpet.Hardware(weights=limpet.Part("w", limpet.Gaussian(sigma=0.1)))
        >>> audit = LoopAudit(limpet.Injection(params, hardware))
        >>> @jax.jit
        ... def gradient(params, step):
        ...     return jax.grad(lambda p: (audit.inject(params, step)["w"] * p["w"]).sum())(params)
        >>> _ = gradient(params, 0)
        >>> audit.check(0, trained=True)
        Traceback (most recent call last):
        limpet.MismatchNotApplied: callback.inject was traced, but no gradient was taken ...
    """

    def __init__(self, injection: Probed) -> None:
        self._injection = injection
        self._traces: list[tuple[ProbeNotes, int | None]] = []
        """Of each time that `inject` was called: what its probes saw, and the step where that was no traced number."""
        self._first_step: int | None = None
        self._trained = False
        self.done = not injection.draws

    def inject(self, params: Any, step: ArrayLike, draw: ArrayLike | None = None, **conditions: Any) -> Any:
        """What `Injection.inject` gives, with probes as long as the audit is open."""
        if self.done:
            return self._injection.inject(params, step, draw, **conditions)
        _INJECTED.update(self._injection.paths)
        notes, number = ProbeNotes(), unboxed(step)
        tree = self._injection.inject(params, step, draw, notes=notes, **conditions)
        self._traces.append((notes, None if is_traced(number) else int(number)))  # pyright: ignore[reportArgumentType]
        return tree

    def check(self, step: int, trained: bool) -> None:
        """Judge what was traced so far; to be called after each training step.

        Args:
            step: the step that was done.
            trained: whether it is certain that a training step was done.

        Raises:
            MismatchNotApplied: see the table above.
        """
        if self.done:
            return
        if not self._traces:
            if trained and not self._trained:
                warn_user(
                    f"a training step was logged, but {self._never_injected('deviates yet')}. (Steps that "
                    f"are meant to train without mismatch are fine; a schedule that begins at 0 gives them without "
                    f"another compilation.)",
                    RuntimeWarning,
                )
            self._trained |= trained
        elif self._first_step is None:
            self._require_gradients()
            self._first_step = step
        elif step != self._first_step:
            self._require_new_draws(step)
            self._require_all_leaves()
            self.done = True

    def close(self) -> None:
        """Judge a run that has come to its end, however few steps it had.

        Raises:
            MismatchNotApplied: see the table above.
        """
        if self.done:
            return
        self.done = True
        if self._traces and self._first_step is not None:
            self._require_all_leaves()
        elif self._trained and not self._traces:
            raise MismatchNotApplied(f"the run is over, but {self._never_injected('deviated')}")

    def _require_gradients(self) -> None:
        traced = [notes for notes, _ in self._traces if notes.planted]
        if traced and not self._differentiated:
            raise MismatchNotApplied(
                "callback.inject was traced, but no gradient was taken through what it gave: call it inside the loss "
                "that is differentiated, jax.value_and_grad(lambda p: loss_fn(callback.inject(p, step), batch))"
                "(params). If this loop trains without gradients, or takes them at the deviated values, build the "
                "callback with audit=False"
            )
        if not traced:
            warn_user(
                "callback.inject was called outside jax.jit, where nothing tells whether its draws reach the loss: "
                "jit the update, or check it once with limpet.audit",
                RuntimeWarning,
            )
        for notes in self._differentiated:
            if not notes.reached:
                require_reached(notes.planted, set())

    def _require_all_leaves(self) -> None:
        planted, reached, differentiated, returned = (
            set().union(*(getattr(notes, name) for notes in self._differentiated))
            for name in ("planted", "reached", "differentiated", "returned")
        )
        require_reached(planted, reached)
        halves = {path for notes in self._differentiated for path in notes.differentiated - notes.reached}
        if halves := sorted(path for path in halves if not never_read(path)):
            warn_user(
                f"the draw of {listing(halves, limit=6)} reaches one loss, but not another one that is differentiated "
                f"by it. If that loss uses it, its draw was erased, as by net.set_attributes(params); set the tree "
                f"that was drawn instead",
                RuntimeWarning,
            )
        if silent := sorted(path for path in (differentiated & reached) - returned if not never_read(path)):
            warn_user(
                f"no gradient comes back along the draw of {listing(silent, limit=6)}. Perhaps it is read beside the "
                f"loss only, in what the loss returns with it, and training meets no mismatch there; where the loss "
                f"reads it through jax.lax.stop_gradient, or only compares it, all is well",
                RuntimeWarning,
            )

    def _require_new_draws(self, step: int) -> None:
        numbers = [number for notes, number in self._traces if notes.planted and notes.in_gradient]
        if numbers and None not in numbers and step not in numbers:
            raise MismatchNotApplied(
                f"callback.inject was traced with step = {numbers[0]}, a constant of the compiled update, so every "
                f"step meets the same draw: pass the step to the jitted function as an argument, "
                f"update(params, step, batch), as jnp.int32(step)"
            )
        if None not in numbers and {self._first_step, step} <= set(numbers):
            warn_user(
                f"callback.inject was traced anew for step {step}, whose number is a constant of the compiled update, "
                f"so every step is compiled: pass the number as jnp.int32(step). (eqx.filter_jit takes Python numbers "
                f"for constants, as jax.jit does those named in static_argnums.)",
                RuntimeWarning,
            )

    def _never_injected(self, deviated: str) -> str:
        has_predecessor = not _INJECTED.isdisjoint(self._injection.paths)
        return NEVER_INJECTED.format(deviated=deviated, earlier=STILL_THE_OLD_ONE if has_predecessor else "")

    @property
    def _differentiated(self) -> list[ProbeNotes]:
        """The notes of traced functions that were differentiated."""
        return [notes for notes, _ in self._traces if notes.planted and notes.in_gradient]
