"""The audit of a running loop: does what `inject` draws reach what is differentiated, and is it new at each step?"""

from typing import Any

from jax.core import Tracer
from jax.typing import ArrayLike

from .._errors import MismatchNotApplied, warn_user
from ..hardware._probe import ProbeNotes
from ..leaves._adapters import unboxed
from ._audit import require_reached
from ._injection import Injection


class LoopAudit:
    """Watches what a loop injects during its first two steps; afterwards it costs nothing, and leaves no probes.

    Args:
        injection: what the loop injects.
    """

    def __init__(self, injection: Injection) -> None:
        self._injection = injection
        self._traces: list[tuple[ProbeNotes, int | None]] = []
        """Of each time that `inject` was called: what its probes saw, and the step where that was no traced number."""
        self._first_step: int | None = None
        self._reached = self._done = not injection.draws

    def inject(self, params: Any, step: ArrayLike, draw: ArrayLike | None = None, *, sharding: Any = None) -> Any:
        """What `Injection.inject` gives, with probes as long as the audit is open."""
        if self._done:
            return self._injection.inject(params, step, draw, sharding=sharding)
        notes, number = ProbeNotes(), unboxed(step)
        tree = self._injection.inject(params, step, draw, sharding=sharding, notes=notes)
        self._traces.append((notes, None if isinstance(number, Tracer) else int(number)))  # pyright: ignore[reportArgumentType]
        return tree

    def check(self, step: int, trained: bool) -> None:
        """Judge what was traced so far; to be called after each training step.

        Args:
            step: the step that was done.
            trained: whether it is certain that a training step was done.

        Raises:
            MismatchNotApplied: nothing was injected, it does not reach what is differentiated, or every step met the
                same draw.
        """
        if self._done:
            return
        if not self._reached:
            if not (trained or self._traces):
                return
            self._require_training()
            self._reached, self._first_step = True, step
        elif step != self._first_step:
            self._require_new_draws(step)
            self._done = True

    def _require_training(self) -> None:
        if not self._traces:
            raise MismatchNotApplied(
                "a training step was logged, but callback.inject was never called, so nothing deviated: "
                "call loss_fn(callback.inject(params, step), batch) inside the jitted update"
            )
        traced = [notes for notes, _ in self._traces if notes.planted]
        differentiated = [notes for notes, _ in self._traces if notes.differentiated]
        if traced and not differentiated:
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
        require_reached([notes for notes in traced if notes.differentiated])

    def _require_new_draws(self, step: int) -> None:
        numbers = [number for notes, number in self._traces if notes.planted and notes.differentiated]
        if numbers and None not in numbers and step not in numbers:
            raise MismatchNotApplied(
                f"callback.inject was traced with step = {numbers[0]}, a constant of the compiled update, so every "
                f"step meets the same draw: pass the step to the jitted function as an argument, "
                f"update(params, step, batch), as jnp.int32(step)"
            )
