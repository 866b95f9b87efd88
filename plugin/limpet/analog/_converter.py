"""Converters: what lies before the rows of an array and behind its columns."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from .._checked import flag, number, one_of, refusal, whole
from .._errors import LimpetError
from ..deviations._additive import Additive
from ..deviations._deviation import Deviation, checked_deviation, checked_relative
from ..deviations._gaussian import Gaussian
from ..deviations._kinds import described, label

Range = float | Literal["dynamic", "batch", "learned"] | None
"""The largest input that a converter takes: a number; the largest of each input vector, or of the whole batch; a
parameter that is trained; or none."""
Rounding = Literal["nearest", "floor"]


@dataclass(frozen=True)
class Converter:
    """A converter: of inputs, before the rows of an array (a DAC), or of outputs, behind its columns (an ADC).

    It rounds what it converts to evenly spaced codes and clips it to its range: step = largest / half, and
    code = clip(round(value / step), -half, half), where half = (levels - 1) // 2. An even number of levels has one code
    more below 0, as two's complement has. Rounding before clipping, as aihwkit does, and clipping before rounding, as
    aihwkit-lightning and CrossSim do, come to the same there.

    What `range` and `bound` count in:
    - a `range` is of inputs, in the units of the network's activations.
    - a `bound` is of outputs, in multiples of what one input at its full range gives through one weight at its largest
      (`Product.relative_to` says of what the largest is taken). It is `out_bound` of aihwkit and aihwkit-lightning.

    Attributes:
        bits: the number of bits: 2 ** bits - 1 levels, so that 8 bits are codes from -127 to 127. From 2 to 16.
        levels: the number of levels, from 2 on, in place of `bits`. With neither of them nothing is rounded.
        range: for inputs, the largest that is converted: a number; "dynamic", the largest of each input vector on each
            array; "batch", the largest of the whole batch on each array; "learned", a number for each array that is
            trained with the network, see `limpet.input_ranges`. None: inputs are as they are, and ranges are 1.
        bound: for outputs, the largest that is converted. None: any, which cannot be rounded.
        noise: the standard deviation of normal noise that is new at each product: of inputs behind the converter, as a
            fraction of the range; of outputs before the converter, in the units of `bound`.
        gain: for outputs, how the gain of each column's converter deviates from 1 on each chip: a relative standard
            deviation, or a relative deviation such as `limpet.LogNormal`. None: not at all.
        offset: for outputs, how the offset of each column's converter deviates from 0 on each chip: its standard
            deviation in the units of `bound`, or a deviation which draws it from the value 0, such as
            `limpet.Additive(0.1, relative_to=1.0)`. None: not at all.
        corrected: for outputs, whether gain and offset of each chip are known and taken out again behind the converter,
            digitally, as by the affine correction of a core that was calibrated. What was clipped stays clipped.
        rounding: "nearest", or "floor", the next code below, as counters that are cut off have it.
        signed: whether codes below 0 exist. Where an input vector has values below 0, these go through unsigned
            converters in a pass of their own, and its outputs are subtracted; outputs below 0 are clipped.
        decay: for inputs, the rate at which a learned range decays where nearly all inputs lie within it.
        slice_bits: for inputs, so many bits of their magnitude enter the array at a time, lowest first; the outputs of
            each pass are converted, shifted and added digitally. None: all at once.

    Raises:
        LimpetError: an argument is none of these, or does not go with another.

    Examples:
        >>> Converter(bits=8, range="dynamic").half
        127
    """

    bits: int | None = None
    levels: int | None = None
    range: Range = None
    bound: float | None = None
    noise: float = 0.0
    gain: Deviation | float | None = None
    offset: Deviation | float | None = None
    corrected: bool = False
    rounding: Rounding = "nearest"
    signed: bool = True
    decay: float = 0.001
    slice_bits: int | None = None

    def __post_init__(self) -> None:
        if self.bits is not None and self.levels is not None:
            raise LimpetError("Converter: give either bits or levels")
        for key, low, high in (("bits", 2, 16), ("levels", 2, 2**16), ("slice_bits", 1, 15)):
            if getattr(self, key) is not None:
                whole(f"Converter.{key}", getattr(self, key), low, high)
        if isinstance(self.range, str):
            if self.range not in ("dynamic", "batch", "learned"):
                raise refusal("Converter.range", self.range, "allowed are a number, 'dynamic', 'batch' and 'learned'")
        elif self.range is not None:
            object.__setattr__(self, "range", number("Converter.range", self.range, 0, above=True))
        if self.bound is not None:
            object.__setattr__(self, "bound", number("Converter.bound", self.bound, 0, above=True))
        for key in ("noise", "decay"):
            object.__setattr__(self, key, number(f"Converter.{key}", getattr(self, key), 0))
        if self.decay != Converter.decay and self.range != "learned":
            raise refusal("Converter.decay", self.decay, "only a range that is 'learned' decays")
        for key in ("corrected", "signed"):
            flag(f"Converter.{key}", getattr(self, key))
        one_of("Converter.rounding", self.rounding, ("nearest", "floor"))
        if self.rounding != "nearest" and self.codes is None:
            raise refusal("Converter.rounding", self.rounding, "nothing is rounded without bits or levels")
        if self.gain is not None:
            given = self.gain if isinstance(self.gain, Deviation) else Gaussian(number("Converter.gain", self.gain, 0))
            object.__setattr__(self, "gain", checked_relative(given, "Converter.gain"))
        if self.offset is not None:
            given = self.offset
            if not isinstance(given, Deviation):
                given = Additive(spread=number("Converter.offset", given, 0), relative_to=1.0)
            object.__setattr__(self, "offset", checked_deviation(given, "Converter.offset"))
        if self.levels is not None and self.half < 1:
            raise refusal("Converter.levels", self.levels, "allowed is 3 or more, where codes below 0 exist")

    @cached_property
    def codes(self) -> int | None:
        """The number of levels; None where nothing is rounded."""
        return self.levels if self.bits is None else 2**self.bits - 1

    @cached_property
    def half(self) -> int:
        """The code of the largest value."""
        assert self.codes is not None
        return (self.codes - 1) // 2 if self.signed else self.codes - 1

    @cached_property
    def lowest(self) -> int:
        """The lowest code."""
        assert self.codes is not None
        return self.half - self.codes + 1

    def label(self) -> str:
        """The converter in a few words."""
        words = []
        for key, default in _DEFAULTS.items():
            if (value := getattr(self, key)) != default:
                said = f"[{label(value)}]" if isinstance(value, Deviation) else value
                shown = f"{said:g}" if isinstance(said, float) else f"{said}"
                words.append(f"{shown} {key}" if key in ("bits", "levels") else f"{key.replace('_', ' ')} {shown}")
        return ", ".join(words)

    def described(self) -> dict[str, Any]:
        """The converter as plain values, as a configuration writes it; what is as by default is left out."""
        given = {key: getattr(self, key) for key, default in _DEFAULTS.items() if getattr(self, key) != default}
        return {key: described(value) if isinstance(value, Deviation) else value for key, value in given.items()}


_DEFAULTS = {key: held.default for key, held in Converter.__dataclass_fields__.items()}
