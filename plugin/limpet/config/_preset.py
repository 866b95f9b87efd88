"""Presets: chips that were measured or simulated by others, with their sources."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from limpet import Chain, Deviation, Hardware, LimpetError, Part
from limpet.checks import listing
from limpet.deviations import ToLargest

from ._hardware_section import parsed_arrays, parsed_hardware, parsed_product
from ._parsed_text import parsed_yaml

_FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class Preset:
    """What a preset says of itself.

    Attributes:
        name: the name by which it is asked for.
        title: a line on what it is.
        source: the publication, data or program that its numbers are taken from.
        status: "measured", "derived" from what was measured, "simulator default", or "illustrative".
        measured: what was measured, and on how many devices.
        units: what the numbers are fractions of.
        notes: what it leaves out, and where it holds.
        parameters: what may be chosen, by name, with its default, its range and unit, the words that may stand for a
            number, or its choices. A choice may narrow the range of another parameter, under that one's name.
        parts: the parts of the hardware, as a configuration writes them, with $name where a parameter stands.
        like: the name of the preset that holds for what this one's file does not say; empty for none.
    """

    name: str
    title: str
    source: str
    status: str
    measured: str
    parts: Mapping[str, Any]
    units: str = ""
    notes: str = ""
    parameters: Mapping[str, Mapping[str, Any]] | None = None
    like: str = ""

    @property
    def text(self) -> str:
        """The preset's file, as it stands in the package."""
        return (_FOLDER / f"{self.name}.yaml").read_text(encoding="utf-8")

    def hardware(self, **parameters: Any) -> Hardware:
        """The hardware for some values of the preset's parameters; see `preset`."""
        return parsed_hardware(_filled(self.parts, self._numbers(parameters)))

    def _numbers(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What stands for each $name."""
        known = self.parameters or {}
        if unknown := given.keys() - known.keys():
            strays, held = listing(map(repr, sorted(unknown))), listing(known) if known else "none"
            raise LimpetError(f"preset {self.name!r} has no parameter {strays}; it has {held}")
        numbers: dict[str, Any] = {}
        for name in sorted(known, key=lambda name: "choices" not in known[name]):  # choices may narrow ranges
            about = {**known[name], **numbers.pop(name, {})}
            if name not in given and "default" not in about:
                raise LimpetError(f"preset {self.name!r} needs {name}, {_range(about)}")
            numbers |= self._checked(name, about, given.get(name, about.get("default")))
        return numbers

    def _checked(self, name: str, about: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
        is_flag = isinstance(about.get("default"), bool)
        if "choices" in about:
            choices = {str(key): chosen for key, chosen in about["choices"].items()}
            if str(value) in choices and not isinstance(value, bool):
                return choices[str(value)]
            allowed = f"allowed are {listing(choices)}"
        elif (isinstance(value, str) and value in about.get("words", ())) or (
            isinstance(value, bool) == is_flag
            and (is_flag or (isinstance(value, int | float) and about["low"] <= value <= about["high"]))
        ):
            return {name: value}
        else:
            allowed = "allowed are true and false" if is_flag else f"allowed is {_range(about)}"
        raise LimpetError(f"preset {self.name!r}: {name} = {value!r}: {allowed}", name, allowed)


def preset(
    name: str,
    /,
    *,
    leaves: Any = None,
    array: Any = None,
    product: Any = None,
    relative_to: Any = None,
    **parameters: Any,
) -> Hardware:
    """The hardware of a chip that was measured or simulated by others. `limpet presets` lists them.

    Args:
        name: the name of the preset, which is that of its file.
        leaves: which leaves are its weights, in place of what the preset says (see `limpet.Part`); for a preset of
            several parts, a mapping by part.
        array: the physical arrays that they sit on: a `limpet.Array`, a mapping by path glob, or either as a
            configuration writes it, such as {"rows": 512, "columns": 512}.
        product: what these arrays compute of their inputs: a `limpet.Product`, or one as a configuration writes it,
            such as {"inputs": {"bits": 8, "range": "dynamic"}}.
        relative_to: what the largest conductance stands for: the largest weight of each "array", of each "column", of
            the whole "tensor", or a number (see `limpet.deviations.ToLargest`); None for each array.
        **parameters: what may be chosen for this chip, such as `drift_compensation=True`; `limpet presets NAME` shows
            them.

    Raises:
        LimpetError: there is no such preset, no such parameter, or a value outside the range that was measured; `array`
            or `product` is none; or nothing of the preset is relative to a largest value.
        PrototypeError: `leaves` is none.

    Examples:
        >>> preset("brainscales2", leaves="*/kernel")
        Hardware(weights: quantize, levels 127, then gaussian, sigma 0.07 on */kernel)
    """
    parts = dict(described_preset(name).hardware(**parameters).parts)
    if leaves is not None:
        if len(parts) == 1 and not (isinstance(leaves, Mapping) and leaves.keys() == parts.keys()):
            leaves = {next(iter(parts)): leaves}
        if not isinstance(leaves, Mapping) or leaves.keys() - parts.keys():
            raise LimpetError(f"preset {name!r}: leaves = {leaves!r}: give a mapping by part, of {listing(parts)}")
        parts |= {part: replace(parts[part], leaves=given) for part, given in leaves.items()}
    if product is not None and len(parts) > 1:
        raise LimpetError(
            f"preset {name!r}: product = {product!r}: its parts {listing(parts)} are not all matrices; give it to "
            f"the limpet.Part that is"
        )
    for key, given, parse in (("array", array, parsed_arrays), ("product", product, parsed_product)):
        if given is not None:
            said = _said(f"preset {name!r}: {key}", given, parse)
            parts = {part: replace(held, **{key: said}) for part, held in parts.items()}
    if relative_to is not None:
        if not any(_is_relative(held.deviation) for held in parts.values()):
            raise LimpetError(
                f"preset {name!r}: relative_to = {relative_to!r}: nothing of it depends on a largest value"
            )
        parts = {part: _part_relative(held, relative_to) for part, held in parts.items()}
    return Hardware(parts)


def _said(name: str, given: Any, parse: Callable[[Any], Any]) -> Any:
    """What is said beside a preset, as a configuration writes it."""
    try:
        return parse(given)
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, entry['loc']))} = {entry['input']!r}: {entry['msg'].removeprefix('Value error, ')}"
            for entry in error.errors()
        )
        raise LimpetError(f"{name} = {given!r}: {'; '.join(problems)}") from None
    except ValueError as error:
        raise LimpetError(f"{name} = {given!r}: {error}") from None


def _is_relative(deviation: Deviation) -> bool:
    members = deviation.members if isinstance(deviation, Chain) else (deviation,)
    return any(isinstance(member, ToLargest) for member in members)


def _part_relative(part: Part, reference: Any) -> Part:
    product = None if part.product is None else replace(part.product, relative_to=reference)
    return replace(part, deviation=_relative(part.deviation, reference), product=product)


def _relative(deviation: Deviation, reference: Any) -> Deviation:
    """The same deviation, whose largest value is taken of something else."""
    if isinstance(deviation, Chain):
        return Chain(tuple(_relative(member, reference) for member in deviation.members))
    return replace(deviation, relative_to=reference) if isinstance(deviation, ToLargest) else deviation


def preset_names() -> tuple[str, ...]:
    """The names of all presets."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@cache
def described_preset(name: str) -> Preset:
    """What a preset says of itself.

    Raises:
        LimpetError: there is no such preset.
    """
    if name not in preset_names():
        close = difflib.get_close_matches(name, preset_names(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise LimpetError(f"there is no preset {name!r}; {hint}allowed are {', '.join(preset_names())}")
    values = parsed_yaml((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    if "like" in values:
        base = described_preset(values["like"])
        values = _over({"parameters": base.parameters or {}, "hardware": base.parts}, values)
    return Preset(name, parts=values.pop("hardware"), **values)


def _over(base: Any, own: Any) -> Any:
    """What one mapping says, over what another does."""
    if not (isinstance(base, Mapping) and isinstance(own, Mapping)):
        return own
    return {**base, **{key: _over(base.get(key), value) for key, value in own.items()}}


def _filled(plain: Any, numbers: Mapping[str, Any]) -> Any:
    """Plain values, with what stands for each $name in its place."""
    if isinstance(plain, Mapping):
        return {key: _filled(value, numbers) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_filled(value, numbers) for value in plain]
    return numbers[plain[1:]] if isinstance(plain, str) and plain.startswith("$") else plain


def _range(about: Mapping[str, Any]) -> str:
    words = "".join(f", or {word!r}" for word in about.get("words", ()))
    return f"a number from {about['low']:g} to {about['high']:g} {about.get('unit', '')}".rstrip() + words
