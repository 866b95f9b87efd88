"""What every section of a configuration shares: it is frozen and refuses unknown keys, NaN and infinities."""

import difflib
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from limpet.checks import MAX_SEED

MAX_KEYS = 1_000
"""Of a section, or names in a mapping by name; hints at what each wrong one might mean take time."""
MAX_COUNT = 2**31 - 1
"""The largest number of steps: optimizers count them in 32 bits."""

_KNOWN = frozenset(get_args(ErrorType))


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
            raise _with_allowed_keys(error, cls) from None


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
        message: what is allowed.
        value: what was given.
        kind: "unknown_key" where the message says all and the value need not be shown.
    """
    # The message is given as a value: in a template its braces would stand for values.
    error = PydanticCustomError(kind, "{message}", {"message": message})  # pyright: ignore[reportArgumentType]
    return InitErrorDetails(type=error, loc=location, input=value)


def details_of(error: ValidationError, prefix: tuple[int | str, ...] = ()) -> list[InitErrorDetails]:
    """The entries of an error, to be raised again as entries of another one.

    Args:
        error: the error.
        prefix: stands before the location of each entry.
    """
    details = []
    for entry in error.errors():
        location, kind = (*prefix, *entry["loc"]), entry["type"]
        if kind in _KNOWN and kind not in {"value_error", "assertion_error"}:
            details.append(InitErrorDetails(type=kind, loc=location, input=entry["input"], ctx=entry.get("ctx", {})))
        else:
            message = entry["msg"].removeprefix("Value error, ")
            details.append(problem(location, message, entry["input"], kind))
    return details


def unknown_key(key: int | str, allowed: Collection[str], moved: Mapping[str, str] | None = None) -> str:
    """What is said of an unknown key.

    Args:
        key: the key.
        allowed: the keys that there are.
        moved: see `Section._moved`.
    """
    names = sorted(allowed)
    if not names:
        return "unknown key; none is allowed"
    close = difflib.get_close_matches(str(key)[:80], names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    if moved and str(key) in moved:
        hint = f"{moved[str(key)]} (see CHANGELOG.md). "
    return f"unknown key; {hint}{'A' if hint else 'a'}llowed {'is' if len(names) == 1 else 'are'} {', '.join(names)}"


def shown(value: Any) -> str:
    """A value as a configuration writes it, cut where it is long."""
    if isinstance(value, bool | None):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write an integer of thousands of digits
        return f"a {type(value).__name__} of thousands of digits"
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def kinds_of(union: Any) -> list[str]:
    """The kinds of a union of sections that are told apart by `kind`."""
    members = get_args(get_args(union)[0])
    return [kind for member in members for kind in get_args(member.model_fields["kind"].annotation)]


def cut(name: str) -> str:
    """A name as it stands in a line: cut where it is long, and without what would end the line."""
    text = name if name.isprintable() else repr(name)
    return text if len(text) <= 80 else f"{text[:60]}..."


def number(value: Any) -> Any:
    """The value, unless it is a bool.

    YAML reads yes, no, on and off as bools, and pydantic would take those for 1 and 0.
    """
    if isinstance(value, bool):
        raise ValueError("a number is needed")
    return value


def _with_allowed_keys(error: ValidationError, section: type[Section]) -> ValidationError:
    details = []
    for entry in details_of(error):
        location = entry.get("loc", ())
        if entry["type"] == "extra_forbidden" and len(location) == 1:
            message = unknown_key(location[0], section.model_fields, section._moved)
            entry = problem(location, message, entry["input"], "unknown_key")
        details.append(entry)
    return ValidationError.from_exception_data(error.title, details)


Number = BeforeValidator(number)
Count = Annotated[int, Number, Field(ge=1, le=MAX_COUNT)]
Seed = Annotated[int, Number, Field(ge=0, le=MAX_SEED)]
NonNegative = Annotated[float, Number, Field(ge=0), AfterValidator(abs)]  # abs takes -0.0 to 0.0
Scale = Annotated[NonNegative, Field(le=1000)]
