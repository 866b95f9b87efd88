"""What JAX traces and compiles, as the audits of all open loops hear it: each program is read once for all of them."""

import atexit
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol
from weakref import ref

from .._errors import MismatchNotApplied
from .._jax import Function, on_programs
from ..flow._probe import ProbeNotes
from ..flow._products import LeafUse, uses_of
from ..flow._uses import Use, uses_in


class Judge(Protocol):
    """An audit that judges a loop by the programs that it compiles."""

    done: bool

    @property
    def asks_layout(self) -> bool:
        """Whether it looks at what programs do with leaves."""
        ...

    def waits(self, whole: bool) -> bool:
        """Whether there is something to be read from a program."""
        ...

    def hear(self, uses: Mapping[ProbeNotes, Use], whole: bool) -> None:
        """Take what a program does with draws."""
        ...

    def hear_layout(self, uses: Mapping[ProbeNotes, Sequence[LeafUse]]) -> None:
        """Take what a program does with leaves."""
        ...

    def close(self) -> None:
        """Judge a run that has come to its end."""
        ...


OPEN: list[ref[Judge]] = []
"""The audits of all loops that injected something. It is added to and copied only, because programs are traced in
several threads."""
LISTENING: list[bool] = []
"""Empty until JAX is listened to; then whether it has told of a program."""


def listen() -> None:
    """Listen to JAX from now on."""
    if not LISTENING:
        LISTENING.append(False)
        on_programs(_heard)
        atexit.register(_settle)


def is_told() -> bool:
    """Whether JAX has told of a program yet; a version that tells of none leaves audits blind."""
    return any(LISTENING)


def enter(judge: Judge) -> None:
    """Have an audit hear of programs, and be closed when Python exits."""
    OPEN[:] = [*(known for known in OPEN if known() is not None), ref(judge)]


def _heard(function: Function, whole: bool) -> None:
    LISTENING[0] = True
    if not any(judge.waits(whole) for judge in _opened()):
        return
    by_judge: dict[Judge, dict[ProbeNotes, Use]] = {}
    for notes, use in uses_in(function).items():
        if notes.judge is not None and not notes.judge.done:
            by_judge.setdefault(notes.judge, {})[notes] = use
    for judge, uses in by_judge.items():
        judge.hear(uses, whole)
    if whole and any(judge.asks_layout for judge in by_judge):
        leaves: dict[ProbeNotes, list[LeafUse]] = {}
        for use in uses_of(function):
            leaves.setdefault(use.leaf.mark, []).append(use)
        for judge, uses in by_judge.items():
            judge.hear_layout({notes: leaves.get(notes, []) for notes in uses})


def _opened() -> list[Judge]:
    return [judge for known in [*OPEN] if (judge := known()) is not None]


def _settle() -> None:
    """Say of audits that are open when Python exits what is wrong, unless an exception ended it."""
    if getattr(sys, "last_exc", getattr(sys, "last_value", None)) is not None:
        return
    for judge in _opened():
        try:
            judge.close()
        except MismatchNotApplied as error:
            print(f"limpet: {error}", file=sys.stderr)
