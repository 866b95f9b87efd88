"""What every section of a configuration shares: it is frozen and refuses unknown keys, NaN and infinities."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ._random import MAX_SEED


class Section(BaseModel):
    """Base of the configuration's sections; derive from it for the sections of one's own training script."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
NonNegative = Annotated[float, Field(ge=0)]
