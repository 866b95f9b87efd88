"""The `hardware` section: named parts, each with its leaves and its deviation."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PlainValidator, field_validator, model_validator

from limpet import Array, Converter, Deviation, Exact, Gaussian, Hardware, Limits, Part, Product, Recipe

from ._deviation_field import DeviationField, checked_fraction, standing_alone
from ._section import NonNegative, Number, Section, each, problem, refuse, require_few, shown, taken, unknown_key


def _parsed_leaves(leaves: Any) -> Any:
    return taken(lambda: Part(leaves, Gaussian(0.0)).leaves)


def _made(cls: Any, given: Mapping[str, Any], **parsers: Callable[[Any], Any]) -> Any:
    """An object of a dataclass whose fields are the keys of a mapping; some of them may have parsers of their own."""
    keys = [field.name for field in fields(cls)]
    known = [(key, value) for key, value in given.items() if key in keys]
    parsed, problems = each(known, lambda key, value: parsers.get(key, _as_it_is)(value))
    refuse(*problems, *[unknown_key(key, keys, value) for key, value in given.items() if key not in keys])
    return taken(lambda: cls(**parsed), given, cls.__name__)


def _as_it_is(value: Any) -> Any:
    return value


def _parsed_limits(value: Any) -> Limits | None:
    """Limits: an object, a mapping, or the name of a table."""
    if value is None or isinstance(value, Limits):
        return value
    if not isinstance(value, Mapping | str):
        raise ValueError(
            "allowed are a mapping such as {low: 1e-13, high: 1e-6, policy: clip}, and the name of a table"
        )
    return _made(Limits, {"table": value} if isinstance(value, str) else value)


def _parsed_array(value: Any) -> Array:
    if isinstance(value, Array):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("allowed is a mapping such as {rows: 512, columns: 512}")
    return _made(Array, value)


def parsed_arrays(value: Any) -> Any:
    """Arrays: one for all leaves, or a mapping of path glob to one."""
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value):
        return _parsed_array(value)
    if all(isinstance(held, Mapping | Array) for held in value.values()):
        arrays, problems = each(value.items(), lambda _, held: _parsed_array(held))
        refuse(*problems)
        return arrays
    return _parsed_array(value)


def parsed_product(value: Any) -> Product | None:
    """A product: an object, or a mapping whose inputs and outputs are mappings of a converter's fields."""
    if value is None or isinstance(value, Product):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(
            "allowed is a mapping such as {inputs: {bits: 8, range: dynamic}, outputs: {bits: 8, bound: 10}}"
        )
    return _made(Product, value, inputs=_parsed_converter, outputs=_parsed_converter)


def _parsed_converter(value: Any) -> Converter | None:
    if value is None or isinstance(value, Converter):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("allowed is a mapping such as {bits: 8, noise: 0.04}")
    return _made(Converter, value, gain=_parsed_spread, offset=_parsed_spread)


def _parsed_spread(value: Any) -> Any:
    """The number of a standard deviation, which the converter checks; or a deviation."""
    return standing_alone(value) if isinstance(value, Deviation | Mapping | list | str) else value


def _parsed_mapping(value: Any) -> Any:
    if not isinstance(value, Mapping | tuple):
        raise ValueError("allowed is a mapping of leaf path to what was found for the leaf's converters")
    return value


class PartSection(Section):
    """One part of the hardware: its leaves, and the deviation that falls on them.

    The strength is given as `sigma`, or as `percent_deviation` with `sigma_rule`, as Rockpool has it; or inside
    `deviation`, with the deviation's other parameters. A deviation that is not named is Gaussian.

    Attributes:
        leaves: the leaves that deviate: path globs ("*/kernel", or a list), rules by glob ({"*/kernel": true, "head/*":
            false}; the last match decides), or a name: matrices (what matrix products contract), dynapse-weights,
            dynapse-frozen.
        sigma: relative standard deviation of a value.
        percent_deviation: the same as Rockpool says it: sigma = percent_deviation / sigma_rule.
        sigma_rule: how many sigmas `percent_deviation` stands for; 3 if left out.
        deviation: the name of a kind; {kind: ..., its parameters}; a list of these, one acting after another; or a
            class of your own, module:Class.
        limits: the values between which the chip can hold these leaves: {low: ..., high: ..., policy: clip}, or the
            name of a table.
        array: the physical arrays that these leaves sit on: {rows: 512, columns: 512, stack: [0], outputs: [-1]}, or a
            mapping of path glob to these. What is left out is as the framework's modules say.
        product: what the arrays compute of their inputs: {inputs: {bits: 8, range: dynamic}, outputs: {bits: 8, bound:
            10, noise: 0.04}, read_noise: 0.0175}. Beside it, the strength may be left out with the deviation: then the
            values do not deviate.
        input_ranges: the ranges of input converters by leaf path, where the range of inputs is learned: numbers, or
            lists by matrix of lists by row tile. `Hardware.with_ranges` sets them.
        output_bounds: the bounds of output converters by leaf path, in the place of the product's own.
    """

    _moved: ClassVar[Mapping[str, str]] = {
        "targets": "which leaves deviate is now 'leaves'",
        "distribution": "it is now 'deviation'",
        "schedule": "what training redraws, and when, now stands under 'training'",
        "gradient": "what training redraws, and how, now stands under 'training'",
        "chip": "which chip training meets now stands under 'training.frozen'",
        "rows": "the size of arrays stands under 'array': {rows: ...}",
        "columns": "the size of arrays stands under 'array': {columns: ...}",
    }

    leaves: Annotated[Any, PlainValidator(_parsed_leaves)]
    sigma: NonNegative | None = None
    percent_deviation: NonNegative | None = None
    sigma_rule: Annotated[float, Number, Field(gt=0)] | None = None
    deviation: DeviationField = Field("gaussian", validate_default=True)  # after its strength, which it takes up
    limits: Annotated[Any, PlainValidator(_parsed_limits)] = None
    array: Annotated[Any, PlainValidator(parsed_arrays)] = Array()
    product: Annotated[Any, PlainValidator(parsed_product)] = None
    input_ranges: Annotated[Any, PlainValidator(_parsed_mapping)] = ()
    output_bounds: Annotated[Any, PlainValidator(_parsed_mapping)] = ()

    @field_validator("sigma", "percent_deviation")
    @classmethod
    def _fraction(cls, value: float | None) -> float | None:
        return value if value is None else checked_fraction(value)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.sigma is not None and (self.percent_deviation is not None or self.sigma_rule is not None):
            raise ValueError("give sigma, or percent_deviation with sigma_rule, not both (null takes one back)")
        if self.sigma_rule is not None and self.percent_deviation is None:
            raise ValueError("sigma_rule goes with percent_deviation, which is missing")
        if isinstance(self.deviation, str) and (self.product is None or "deviation" in self.model_fields_set):
            raise ValueError("no strength: give sigma, or percent_deviation (with sigma_rule, 3 if left out)")
        taken(self.part)
        return self

    def part(self) -> Part:
        """The part that the section describes."""
        deviation = Exact() if isinstance(self.deviation, str) else self.deviation
        return Part(
            self.leaves, deviation, self.limits, self.array, self.product, self.input_ranges, self.output_bounds
        )


def parsed_hardware(value: Any) -> Hardware:
    """A hardware from an object, a recipe, or named parts.

    Raises:
        ValueError: it is none of these, or a part does not hold.
    """
    if isinstance(value, Hardware):
        return value
    if isinstance(value, Recipe):
        return Hardware.of(value)
    if not isinstance(value, Mapping) or not value:
        raise ValueError(
            "allowed is the name of a preset, or a mapping of parts by name, such as {weights: {leaves: '*/kernel', "
            "sigma: 0.1}}: what deviates on a chip"
        )
    if "leaves" in value:
        raise ValueError("parts have names: write {weights: {leaves: ..., sigma: ...}}")
    require_few(value)
    named = {name: part for name, part in value.items() if isinstance(name, str) and _NAME.fullmatch(name)}
    parts, problems = each(named.items(), lambda _, part: _parsed_part(part))
    problems += [
        problem(
            (),
            f"{shown(name)} cannot be the name of a part: allowed is a word such as weights, of letters, digits, _ and "
            f"- (of which YAML reads on, off, yes, no and null as something else)",
            dict(value),
        )
        for name in value
        if name not in named
    ]
    refuse(*problems)
    return Hardware(parts)


_NAME = re.compile(r"[A-Za-z_][\w-]*")


def _parsed_part(value: Any) -> Part:
    if isinstance(value, Part):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("allowed is a mapping, such as {leaves: '*/kernel', sigma: 0.1}")
    return PartSection.model_validate(value).part()
