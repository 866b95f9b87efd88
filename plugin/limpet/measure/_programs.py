"""Compiled programs, kept as long as the function that they were made of is what it was."""

import threading
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any

from ._monte_carlo import Program

MOST_KEPT = 64
"""Programs kept at most; beyond it, the one used longest ago goes."""
MOST_CAPTURED = 200
"""Captured objects that are looked at, at most."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


class SameObject:
    """An object as a part of a key: equal to itself alone. Plain values compare by value.

    It is not kept alive, where Python can tell when it is gone; a list or a dict is.
    """

    def __init__(self, value: Any) -> None:
        self._type = type(value)
        self._id = value if isinstance(value, _PLAIN) else id(value)
        try:
            self._object = None if isinstance(value, _PLAIN) else weakref.ref(value)
        except TypeError:
            self._object = lambda: value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SameObject) or (self._type, self._id) != (other._type, other._id):
            return False
        # The place of an object that is gone may be another's by now.
        return self._object is None or (other._object is not None and self._object() is other._object())

    def __hash__(self) -> int:
        return hash((self._type, self._id))


def alike(value: Any, depth: int = 20) -> Hashable:
    """Something that a function captured, as a part of a key: functions are equal that do the same.

    They do where they have the same code and captured the same. So two calls of `optax.adam(1e-2)` are equal, though
    each makes functions of its own, and what was compiled with one serves the other. Objects that are no functions
    are equal to themselves alone.

    Args:
        value: a function, a tuple of functions (an optax optimizer), or anything.
        depth: so many functions within functions are looked at.
    """
    if not depth:
        return SameObject(value)
    if isinstance(value, tuple):
        return type(value), tuple(alike(part, depth - 1) for part in value)
    if isinstance(value, partial):
        keywords = tuple((name, alike(part, depth - 1)) for name, part in sorted(value.keywords.items()))
        return alike(value.func, depth - 1), alike(value.args, depth - 1), keywords
    if isinstance(value, types.MethodType):
        return SameObject(value.__self__), alike(value.__func__, depth - 1)
    if not isinstance(value, types.FunctionType):
        return SameObject(value)
    cells = []
    for cell in value.__closure__ or ():
        try:
            cells.append(alike(cell.cell_contents, depth - 1))
        except ValueError:  # not assigned yet
            cells.append(None)
    globals_read = tuple(
        SameObject(value.__globals__[name]) for name in _names(value.__code__) if name in value.__globals__
    )
    defaults = tuple(alike(part, depth - 1) for part in value.__defaults__ or ())
    keywords = tuple((name, alike(part, depth - 1)) for name, part in sorted((value.__kwdefaults__ or {}).items()))
    return value.__module__, value.__code__, tuple(cells), globals_read, defaults, keywords


class Programs:
    """Compiled programs by the user's function and a key.

    A program goes when the function it was made of goes, so that a lambda made for one call leaves nothing behind. As
    under `jax.jit`, a function's program holds the values that the function captured when it was traced. A function
    that now captures other objects (a global variable or one of an enclosing function that was assigned anew) gets
    another program; an array or a list that was changed in place cannot be seen.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[Program, list[Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, function: Callable[..., Any], key: Hashable, build: Callable[[], Program]) -> Program:
        """The program kept for a function and a key, or a new one.

        Args:
            function: the user's.
            key: all else that the program depends on.
            build: makes the program; it must not keep the function alive.
        """
        anchors = _anchors(function)
        if not anchors:
            return build()
        whole = (*map(SameObject, anchors), tuple(map(SameObject, captured(function))), key)
        with self._lock:
            if whole in self._kept:
                self._kept.move_to_end(whole)
                return self._kept[whole][0]
        program = build()
        references = [weakref.ref(anchor, partial(self._drop, whole)) for anchor in anchors]
        with self._lock:
            self._kept[whole] = program, references
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return program

    def clear(self) -> None:
        """Forget all programs."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def _drop(self, key: Any, _: Any) -> None:
        # It may run in the midst of anything, a thread that holds the lock included: the garbage collector calls it.
        self._kept.pop(key, None)


def captured(function: Any) -> list[Any]:
    """The objects that a function reads from outside: in its closure and among its module's variables, those of
    functions of the same module that it calls included."""
    objects: list[Any] = []
    seen: set[int] = set()
    waiting = [function]
    while waiting and len(objects) < MOST_CAPTURED:
        current = waiting.pop(0)
        for value in _read_by(current):
            objects.append(value)
            same_module = getattr(value, "__module__", "") == getattr(function, "__module__", None)
            if (
                id(value) not in seen
                and same_module
                and isinstance(value, types.FunctionType | types.MethodType | partial)
            ):
                seen.add(id(value))
                waiting.append(value)
    return objects


def _read_by(function: Any) -> Iterator[Any]:
    if isinstance(function, partial):
        yield function.func
        yield from (*function.args, *function.keywords.values())
        yield from _read_by(function.func)
    elif isinstance(function, types.MethodType):
        yield function.__self__
        yield from _read_by(function.__func__)
    elif isinstance(function, types.FunctionType):
        for cell in function.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        for name in _names(function.__code__):
            if name in function.__globals__:
                yield function.__globals__[name]
    elif hasattr(function, "__wrapped__"):  # jax.jit's, among others
        yield function.__wrapped__
        yield from _read_by(function.__wrapped__)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _anchors(function: Any) -> list[Any]:
    """The objects whose end is the function's end; none where that cannot be seen."""
    is_method = isinstance(function, types.MethodType)  # made anew whenever it is looked up
    anchors = [function.__self__, function.__func__] if is_method else [function]
    try:
        for anchor in anchors:
            weakref.ref(anchor)
    except TypeError:
        return []
    return anchors
