"""What every section of a configuration shares: it is frozen and refuses unknown keys, NaN and infinities."""

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.functional_validators import (
    AfterValidator,
    BeforeValidator,
    ModelWrapValidatorHandler,
    PlainValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from limpet import LimpetError, checks
from limpet.checks import MAX_SEED

MAX_KEYS = 1_000
"""The largest number of keys in a section: looking for a spelling hint for each unknown key takes time."""
MAX_COUNT = 2**31 - 1
"""The largest number of steps: optimizers count them in 32 bits."""
Key = TypeVar("Key", bound=int | str)
Made = TypeVar("Made")

_KNOWN = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}


class Section(BaseModel):
    """Base of the configuration's sections; derive from it for the sections of one's own training script."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    _moved: ClassVar[Mapping[str, str]] = {}
    """Keys that the section had in earlier configurations, and where what they said stands now."""

    @model_validator(mode="wrap")
    @classmethod
    def _name_what_is_allowed(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Say of an unknown key which ones there are: pydantic says only that it is unknown."""
        if not isinstance(value, Mapping | cls):
            raise ValueError(f"a section is needed, {{}} or some of the keys {', '.join(cls.model_fields)}")
        require_few(value)
        try:
            return handler(value)
        except ValidationError as error:
            details = details_of(error)
            for place, entry in enumerate(details):
                location = entry.get("loc", ())
                if entry["type"] == "extra_forbidden" and len(location) == 1:
                    details[place] = unknown_key(location[0], cls.model_fields, entry["input"], cls._moved)
            refuse(*details)
            raise


def require_few(mapping: Any) -> None:
    """Refuse a mapping of more keys than anyone writes.

    Raises:
        ValueError: it is one.
    """
    if isinstance(mapping, Mapping) and len(mapping) > MAX_KEYS:
        raise ValueError(f"{len(mapping):,} keys; allowed are {MAX_KEYS:,} at most")


def problem(location: tuple[int | str, ...], message: str, value: Any, kind: str = "limpet") -> InitErrorDetails:
    """One entry of a `ValidationError`.

    Args:
        location: keys and indices, from the section that is checked.
        message: the sentence that says what is allowed.
        value: the value that was given in the configuration.
        kind: "unknown_key" where the message says all and the value need not be shown.
    """
    # The message is given as a value: in a template its braces would stand for values.
    error = PydanticCustomError(kind, "{message}", {"message": message})  # pyright: ignore[reportArgumentType]
    return InitErrorDetails(type=error, loc=location, input=value)


def refuse(*problems: InitErrorDetails) -> None:
    """Say several problems at once, where there are some.

    Raises:
        ValidationError: there are some.
    """
    if problems:
        raise ValidationError.from_exception_data("configuration", list(problems)) from None


def details_of(error: ValidationError, prefix: tuple[int | str, ...] = ()) -> list[InitErrorDetails]:
    """The entries of an error, to be raised again as entries of another one.

    Args:
        error: the error of a part, which becomes a part of a larger one.
        prefix: what stands before the location of each entry.
    """
    details = []
    for entry in error.errors():
        location, kind = (*prefix, *entry["loc"]), entry["type"]
        if kind in _KNOWN:
            details.append(InitErrorDetails(type=kind, loc=location, input=entry["input"], ctx=entry.get("ctx", {})))
        else:
            message = entry["msg"].removeprefix("Value error, ")
            details.append(problem(location, message, entry["input"], kind))
    return details


def each(
    values: Iterable[tuple[Key, Any]], parse: Callable[[Key, Any], Any]
) -> tuple[dict[Key, Any], list[InitErrorDetails]]:
    """Several values parsed, and the problems of all of them.

    Args:
        values: keys, or places in a list, and what stands there.
        parse: gives what a key and its value stand for, or raises a `ValueError`.
    """
    parsed, problems = {}, []
    for key, value in values:
        try:
            parsed[key] = parse(key, value)
        except ValidationError as error:
            problems += details_of(error, (key,))
        except ValueError as error:
            problems.append(problem((key,), str(error), value))
    return parsed, problems


def taken(make: Callable[[], Made], values: Mapping[str, Any] | None = None, name: str = "") -> Made:
    """What the library makes of some values; what it says against one becomes a problem of the key that it is about.

    Args:
        make: the call of the library, without arguments.
        values: the arguments of the call, by the key that the configuration has for each; within them, those of what
            they hold.
        name: the name of what takes them.
    """
    try:
        return make()
    except LimpetError as error:
        location, held = [], values
        for key in error.argument.removeprefix(f"{name}.").split("."):
            if isinstance(held, Mapping) and key in held:
                held = held[key]
                location.append(key)
        if not location:
            raise ValueError(error.reason.removeprefix(f"{name}: ")) from None
        refuse(problem(tuple(location), error.reason, held))
        raise


def by_kind(members: Mapping[str, type[Section]]) -> PlainValidator:
    """The validator of sections that are told apart by their `kind`."""

    def parsed(value: Any) -> Section:
        if isinstance(value, tuple(members.values())):
            return value
        if not isinstance(value, Mapping):
            raise ValueError("a mapping with its kind is needed, such as {kind: ..., its parameters}")
        if "kind" not in value:
            raise ValueError(f"give its kind, one of {', '.join(members)}")
        kind = value["kind"]
        if not isinstance(kind, str) or kind not in members:
            message = f"{close_to(kind, members)}allowed are {', '.join(members)}"
            refuse(problem(("kind",), message, kind))
        return members[kind].model_validate(value)

    return PlainValidator(parsed)


def unknown_key(
    key: int | str, allowed: Collection[str], value: Any, moved: Mapping[str, str] | None = None
) -> InitErrorDetails:
    """The problem of an unknown key.

    Args:
        key: the key that the section does not know.
        allowed: the keys that the section has, for the list and the hint.
        value: the value that stands behind it in the configuration.
        moved: keys of earlier configurations, and where what they said stands now.
    """
    names = sorted(allowed)
    hint = close_to(key, names, "'")
    if moved and str(key) in moved:
        hint = f"{moved[str(key)]} (see CHANGELOG.md). "
    listed = f"{'A' if hint else 'a'}llowed {'is' if len(names) == 1 else 'are'} {', '.join(names)}"
    return problem((key,), f"unknown key; {hint}{listed if names else 'none is allowed'}", value, "unknown_key")


def close_to(given: Any, allowed: Iterable[str], mark: str = "") -> str:
    """A question that hints at the name that was meant, or nothing.

    Args:
        given: the name that was given, of any type.
        allowed: the names among which the nearest is looked for.
        mark: the quotation mark around a name.
    """
    close = difflib.get_close_matches(str(given)[:80], allowed, n=1)
    return f"did you mean {mark}{close[0]}{mark}? " if close else ""


def shown(value: Any) -> str:
    """A value as a configuration writes it, cut where it is long."""
    if isinstance(value, bool | None):
        return {None: "null", True: "true", False: "false"}[value]
    return checks.shown(value)


def _number(value: Any) -> Any:
    """The value, unless it is a bool.

    YAML reads yes, no, on and off as bools, and pydantic would take those for 1 and 0.
    """
    if isinstance(value, bool):
        raise ValueError("a number is needed")
    return value


Number = BeforeValidator(_number)
Count = Annotated[int, Number, Field(ge=1, le=MAX_COUNT)]
Seed = Annotated[int, Number, Field(ge=0, le=MAX_SEED)]
NonNegative = Annotated[float, Number, Field(ge=0), AfterValidator(abs)]  # abs takes -0.0 to 0.0
Scale = Annotated[NonNegative, Field(le=1000)]
