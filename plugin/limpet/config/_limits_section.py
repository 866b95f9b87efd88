"""Limits in a configuration: a mapping, or the name of a table."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    PlainValidator,
)

from limpet import Limits, LimpetError
from limpet.typing import Policy

from ._section import Number, Section


class LimitsSection(Section):
    """Between which values the chip can hold the leaves of a part; see `limpet.Limits`.

    Attributes:
        low: the smallest value, in the units of the leaves; none if left out.
        high: the largest value; none if left out.
        policy: what happens beyond: "clip", "truncate", "report" or "error".
        table: in place of numbers, the name of a table of limits by leaf, such as dynapse.
    """

    low: Annotated[float, Number] | None = None
    high: Annotated[float, Number] | None = None
    policy: Policy = "clip"
    table: str | None = None

    def limits(self) -> Limits:
        """The limits that the section describes."""
        return Limits(self.low, self.high, self.policy, self.table)


def parsed_limits(value: Any) -> Limits | None:
    """Limits: an object, a mapping, or the name of a table."""
    if value is None or isinstance(value, Limits):
        return value
    if not isinstance(value, Mapping | str):
        raise ValueError(
            "allowed are a mapping such as {low: 1e-13, high: 1e-6, policy: clip}, and the name of a table, "
            "such as dynapse"
        )
    section = LimitsSection.model_validate({"table": value} if isinstance(value, str) else value)
    try:
        return section.limits()
    except LimpetError as error:
        raise ValueError(str(error).removeprefix("Limits: ")) from None


LimitsField = Annotated[Any, PlainValidator(parsed_limits)]
"""Limits, or None where a part has none."""
