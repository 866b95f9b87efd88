"""What every section of a configuration shares: it is frozen and refuses unknown keys, NaN and infinities."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..draws._keys import MAX_SEED


class Section(BaseModel):
    """Base of the configuration's sections; derive from it for the sections of one's own training script."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _no_bool(value: Any) -> Any:
    # YAML reads yes, no, on and off as booleans, and pydantic would read those as 1 and 0.
    if isinstance(value, bool):
        raise ValueError("a number is needed")
    return value


Number = BeforeValidator(_no_bool)
Count = Annotated[int, Number, Field(ge=1)]
Seed = Annotated[int, Number, Field(ge=0, le=MAX_SEED)]
NonNegative = Annotated[float, Number, Field(ge=0)]
