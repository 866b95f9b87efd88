"""What every section of a configuration shares: it is frozen and refuses unknown keys, NaN and infinities."""

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, Self, get_args

from pydantic import (
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

from ..draws._keys import MAX_SEED

MOVED = {
    "dynamic": "what deviates now stands under 'hardware', what is redrawn under 'training.dynamic'",
    "frozen": "what deviates now stands under 'hardware', what is redrawn under 'training.frozen'",
    "sigmas": "strengths are now 'scales', multiples of what the hardware says",
    "targets": "which leaves deviate now stands under 'hardware', as 'leaves' of each part",
    "chunk": "it is no longer needed",
    "distribution": "it is now 'deviation'",
}
"""Keys of earlier configurations, and where what they said stands now."""


_KNOWN = frozenset(get_args(ErrorType))


class Section(BaseModel):
    """Base of the configuration's sections; derive from it for the sections of one's own training script."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _name_what_is_allowed(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Say of an unknown key which ones there are: pydantic says only that it is unknown."""
        try:
            return handler(value)
        except ValidationError as error:
            raise with_allowed_keys(error, cls.model_fields) from None


def with_allowed_keys(error: ValidationError, allowed: Iterable[str]) -> ValidationError:
    """The same error, in which each unknown key of the section itself says which keys there are."""
    details = []
    for problem in error.errors():
        kind: Any = problem["type"]
        if kind == "extra_forbidden" and len(problem["loc"]) == 1:
            kind = PydanticCustomError("unknown_key", "{message}", {"message": unknown_key(problem["loc"][0], allowed)})
        elif kind not in _KNOWN:
            kind = PydanticCustomError(kind, "{message}", {"message": problem["msg"]})
        details.append(
            InitErrorDetails(type=kind, loc=problem["loc"], input=problem["input"], ctx=problem.get("ctx", {}))
        )
    return ValidationError.from_exception_data(error.title, details)


def unknown_key(key: int | str, allowed: Iterable[str]) -> str:
    """What is said of an unknown key."""
    names = sorted(allowed)
    close = difflib.get_close_matches(str(key), names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    if str(key) in MOVED:
        hint = f"{MOVED[str(key)]} (see CHANGELOG.md). "
    return f"unknown key; {hint}Allowed are {', '.join(names)}"


def _no_bool(value: Any) -> Any:
    # YAML reads yes, no, on and off as booleans, and pydantic would read those as 1 and 0.
    if isinstance(value, bool):
        raise ValueError("a number is needed")
    return value


Number = BeforeValidator(_no_bool)
Count = Annotated[int, Number, Field(ge=1)]
Seed = Annotated[int, Number, Field(ge=0, le=MAX_SEED)]
NonNegative = Annotated[float, Number, Field(ge=0)]
