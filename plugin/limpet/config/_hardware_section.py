"""The `hardware` section: named parts, each with its leaves and its deviation."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import InitVar
from typing import Annotated, Any, Self

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationError, create_model, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from .._errors import LimpetError, PrototypeError
from ..deviations._chain import Chain
from ..deviations._deviation import Deviation, checked_deviation
from ..deviations._gaussian import Gaussian
from ..deviations._kinds import DEVIATIONS, deviation_class
from ..draws._strength import sigma_of_percent
from ..hardware._hardware import Hardware, Part, checked_leaves
from ..hardware._mismatch import Recipe
from ._section import NonNegative, Number, Section


def _parsed_leaves(leaves: Any) -> Any:
    try:
        return checked_leaves(leaves)
    except PrototypeError as error:
        raise ValueError(str(error).removeprefix(f"leaves = {leaves!r}: ")) from None


def _parsed_deviation(value: Any) -> Any:
    """A deviation, the name of a kind, a mapping of kind and parameters, or a list of these for a chain."""
    if isinstance(value, Deviation):
        return checked_deviation(value)
    if isinstance(value, str):
        deviation_class(value)  # refuses a name that there is not
        return value
    if isinstance(value, list):
        members = Annotated[Any, PlainValidator(_parsed_member)]
        return Chain(tuple(TypeAdapter(list[members]).validate_python(value)))
    if isinstance(value, Mapping):
        return _built(value)
    raise ValueError(
        "allowed are a kind such as log-normal, a mapping such as {kind: log-normal, sigma: 0.1}, and a list of these "
        "for deviations that act one after another"
    )


def _parsed_member(value: Any) -> Deviation:
    """A deviation in a chain, which stands for itself: no strength stands beside it."""
    parsed = _parsed_deviation(value)
    return _built({"kind": parsed}) if isinstance(parsed, str) else parsed


def _built(values: Mapping[str, Any]) -> Deviation:
    if "kind" not in values:
        raise ValueError(f"give its kind, one of {', '.join(DEVIATIONS)}, or a class of your own as module:Class")
    cls = deviation_class(str(values["kind"]))
    checked = _parameters_model(cls).model_validate({name: value for name, value in values.items() if name != "kind"})
    given = {name: getattr(checked, name) for name in checked.model_fields_set}
    try:
        return checked_deviation(cls(**given))
    except LimpetError as error:
        # "LogNormal.sigma = -1: allowed is ..." belongs to the key `sigma`.
        named = re.match(rf"{cls.__name__}\.(\w+)(?: = .*?)?: (.*)", str(error), re.DOTALL)
        if named is None or named[1] not in given:
            raise
        kind = PydanticCustomError("deviation", "{message}", {"message": named[2]})
        details = InitErrorDetails(type=kind, loc=(named[1],), input=given[named[1]])
        raise ValidationError.from_exception_data(cls.__name__, [details]) from None


def _parameters_model(cls: type[Deviation]) -> type[Section]:
    """A section whose keys are the parameters of a deviation."""
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(cls).parameters.values():
        annotation = parameter.annotation
        annotation = annotation.type if isinstance(annotation, InitVar) else annotation
        annotation = Any if isinstance(annotation, str) or annotation is parameter.empty else annotation
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (Annotated[annotation, Number], default)
    return create_model(cls.__name__, __base__=Section, **fields)


DeviationField = Annotated[Any, PlainValidator(_parsed_deviation)]
"""A deviation, or the name of a kind whose strength stands beside it."""


class PartSection(Section):
    """One part of the hardware: its leaves, and the deviation that falls on them.

    The strength is given as `sigma`, or as `percent_deviation` with `sigma_rule`, as Rockpool has it; or inside
    `deviation`, with the deviation's other parameters. A deviation that is not named is Gaussian.
    """

    leaves: Annotated[Any, PlainValidator(_parsed_leaves)]
    sigma: NonNegative | None = None
    percent_deviation: NonNegative | None = None
    sigma_rule: Annotated[float, Number, Field(gt=0)] | None = None
    deviation: DeviationField = "gaussian"

    @model_validator(mode="after")
    def _check(self) -> Self:
        in_percent = self.percent_deviation is not None or self.sigma_rule is not None
        if not isinstance(self.deviation, str):
            if self.sigma is not None or in_percent:
                raise ValueError(
                    "the deviation has its own strength: give sigma inside of it, or beside it, not both (null takes "
                    "one back)"
                )
            return self
        if self.sigma is not None and in_percent:
            raise ValueError("give sigma, or percent_deviation with sigma_rule, not both (null takes one back)")
        if self.sigma is None and self.percent_deviation is None:
            if self.deviation == "gaussian":
                raise ValueError("no strength: give sigma, or percent_deviation (with sigma_rule, 3 if left out)")
            return self
        if self.percent_deviation is not None and self.percent_deviation > 5:
            raise ValueError(f"percent_deviation = {self.percent_deviation:g}: it is a fraction, 0.30 means 30%")
        return self

    def part(self) -> Part:
        """The part that the section describes.

        Raises:
            LimpetError: the strength is missing.
        """
        deviation = self.deviation
        if isinstance(deviation, str):
            sigma = self.sigma
            if self.percent_deviation is not None:
                sigma = sigma_of_percent(self.percent_deviation, self.sigma_rule or 3.0)
            deviation = (
                Gaussian(sigma)
                if deviation == "gaussian" and sigma is not None
                else _built({"kind": deviation} | ({} if sigma is None else {"sigma": sigma}))
            )
        return Part(self.leaves, deviation)


def _parsed_hardware(value: Any) -> Hardware:
    if isinstance(value, Hardware):
        return value
    if isinstance(value, Recipe):
        return Hardware.of(value)
    if not isinstance(value, Mapping) or not value:
        raise ValueError(
            "allowed is a mapping of parts by name, such as {weights: {leaves: '*/kernel', sigma: 0.1}}: what deviates "
            "on a chip"
        )
    if "leaves" in value:
        raise ValueError("parts have names: write {weights: {leaves: ..., sigma: ...}}")
    return Hardware(TypeAdapter(dict[str, Annotated[Any, PlainValidator(_parsed_part)]]).validate_python(value))


def _parsed_part(value: Any) -> Part:
    if isinstance(value, Part):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("allowed is a mapping, such as {leaves: '*/kernel', sigma: 0.1}")
    return PartSection.model_validate(value).part()


def _dumped(hardware: Hardware) -> dict[str, Any]:
    return hardware.described()


HardwareField = Annotated[Hardware, PlainValidator(_parsed_hardware), PlainSerializer(_dumped)]
"""A hardware, given as an object, as a recipe, or as named parts."""
