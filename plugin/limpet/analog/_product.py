"""The product that an array computes: converters, an analog sum, noise."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from .._checked import flag, number, one_of, refusal, whole
from .._errors import LimpetError
from ..arrays._reductions import Per
from ._converter import Converter

Backward = Literal["exact", "analog"]
"""How gradients pass through a product to its inputs: as through the exact product of what was converted, or through
converters and noise, as an array gives them that is driven from its columns."""


@dataclass(frozen=True)
class Product:
    """What an array computes of its inputs: y = sum of converted(converted(x) @ w) over the arrays that hold w.

    In order, for each array on which the matrix sits, with r the range of the input converter (1 where it has none), m
    the largest absolute weight (see `relative_to`), and n standard normal numbers that are new at each product:

    1. x' = inputs(x) + inputs.noise r n
    2. y = x' @ w, less what the resistance of the wires takes away (`wire`)
    3. y + read_noise m n sqrt(sum(|w| / m x'^2)), or read_noise m n |x'| (`read_noise_of`)
    4. (y + outputs.noise r m n) gain + offset r m
    5. outputs(y), which ends at bound r m; corrected digitally where `outputs.corrected` says so

    The results of arrays that hold parts of the same rows' sum are added digitally. With neither converters nor noise
    the product is the exact one, to the last bit. Gradients are those of the exact product: they pass through rounding
    as if it were not there, and are zero where inputs or outputs are beyond a range.

    Peers differ: aihwkit-lightning divides output noise by the square root of the number of row tiles, and adds it in
    training alone; here, as in aihwkit, every array has all of it, at every product.

    Attributes:
        inputs: the converter before the rows; None for none.
        outputs: the converter behind the columns; None for none.
        read_noise: the strength of the noise of the devices themselves at each product, as a fraction of m.
        read_noise_of: "weights", whose variance grows with the weight, as of phase-change devices (`PCM_READ` of
            aihwkit), or "inputs", of the same size for all devices (`ADDITIVE_CONSTANT`).
        wire: the resistance of the wire from one row to the next times the conductance of the largest weight: .35 ohm
            times 5 microsiemens is 1.75e-6. 0: none.
        relative_to: what m is taken of: each "array", each "column" of each array, the whole "tensor"; or a number,
            which is m.
        bound_management: how often an input vector may be halved, and its outputs doubled, where an output is beyond
            the bound of any of the arrays that take it. 0: what is beyond is clipped.
        saturates: whether the sum over arrays ends once more at the bound of one array, that of the largest weight.
        backward: how gradients pass to the inputs: as through the "exact" product; or "analog", through the same arrays
            driven from their columns: each of them converts the gradient by the input converters, whose range is its
            largest value in each vector, and what its rows give by the output converters, with gains and offsets of
            their own, noise, wires and bound management. Gradients of weights, and of converters, stay exact. It is no
            forward-mode derivative (`jax.jvp`).
        cells: whether the devices of a `limpet.Crossbar` that hold one weight, those that add and those that subtract,
            of each significance, are summed before the output converter ("together"), or are columns of their own
            whose outputs are converted and then summed digitally ("apart").

    Raises:
        LimpetError: an argument is none of these, or does not go with another.

    Examples:
        >>> product = Product(
        ...     inputs=Converter(bits=8, range="dynamic"),
        ...     outputs=Converter(bits=8, bound=10.0, noise=0.04),
        ...     read_noise=0.0175,
        ... )
        >>> product.label()
        'inputs: 8 bits, range dynamic; outputs: 8 bits, bound 10, noise 0.04; read noise 0.0175'
    """

    inputs: Converter | None = None
    outputs: Converter | None = None
    read_noise: float = 0.0
    read_noise_of: Literal["weights", "inputs"] = "weights"
    wire: float = 0.0
    relative_to: Per | float = "array"
    bound_management: int = 0
    saturates: bool = False
    backward: Backward = "exact"
    cells: Literal["together", "apart"] = "together"

    def __post_init__(self) -> None:
        for key in ("inputs", "outputs"):
            if not isinstance(getattr(self, key), Converter | None):
                reason = "allowed is a converter such as limpet.Converter(bits=8), or None"
                raise refusal(f"Product.{key}", getattr(self, key), reason)
        for key in ("read_noise", "wire"):
            object.__setattr__(self, key, number(f"Product.{key}", getattr(self, key), 0))
        one_of("Product.read_noise_of", self.read_noise_of, ("weights", "inputs"))
        one_of("Product.backward", self.backward, ("exact", "analog"))
        one_of("Product.cells", self.cells, ("together", "apart"))
        flag("Product.saturates", self.saturates)
        if isinstance(self.relative_to, str):
            one_of("Product.relative_to", self.relative_to, ("array", "column", "tensor"))
        else:
            object.__setattr__(self, "relative_to", number("Product.relative_to", self.relative_to, 0, above=True))
        whole("Product.bound_management", self.bound_management, 0, 20)
        self._require_fit()

    def _require_fit(self) -> None:
        """Refuse what says nothing where it stands: nothing is accepted and ignored."""
        inputs, outputs = self.inputs or Converter(), self.outputs or Converter()
        for key in ("bound", "gain", "offset", "corrected"):
            if getattr(inputs, key) != getattr(Converter, key):
                reason = f"{key} belongs to outputs; of inputs, say range, bits and noise"
                raise refusal(f"Product.inputs.{key}", getattr(inputs, key), reason)
        for key in ("range", "slice_bits"):
            if getattr(outputs, key) is not None:
                reason = f"{key} belongs to inputs; the largest output is bound"
                raise refusal(f"Product.outputs.{key}", getattr(outputs, key), reason)
        if inputs.codes and inputs.range is None:
            reason = "rounding needs a range: a number, 'dynamic', 'batch' or 'learned'"
            raise LimpetError(f"Product.inputs ({inputs.label()}): {reason}", "Product.inputs", reason)
        if outputs.codes and outputs.bound is None:
            reason = "rounding needs a bound, such as bound=10.0"
            raise LimpetError(f"Product.outputs ({outputs.label()}): {reason}", "Product.outputs", reason)
        if inputs.slice_bits is not None and (not inputs.bits or inputs.slice_bits >= inputs.bits):
            reason = "allowed is a number below bits, which has to be given"
            raise refusal("Product.inputs.slice_bits", inputs.slice_bits, reason)
        if not outputs.signed and outputs.bound is None:
            raise refusal("Product.outputs.signed", False, "outputs have no bound, so that none would be clipped at 0")
        if outputs.corrected and outputs.gain is None and outputs.offset is None:
            reason = "there is neither gain nor offset that could be taken out"
            raise refusal("Product.outputs.corrected", True, reason)
        if outputs.bound is None:
            for name in ("bound_management", "saturates"):
                if said := getattr(self, name):
                    reason = "outputs have no bound; give outputs=limpet.Converter(bound=...)"
                    raise refusal(f"Product.{name}", said, reason)
        if self.bound_management and inputs.range is None:
            raise refusal("Product.bound_management", self.bound_management, "inputs have no range that could grow")
        if self.bound_management and inputs.slice_bits is not None:
            reason = "halved inputs have slices as large as before; leave slice_bits out"
            raise refusal("Product.bound_management", self.bound_management, reason)
        if self.saturates and not isinstance(inputs.range, float | None):
            reason = "the range of inputs has to be a number, so that all arrays share it"
            raise refusal("Product.saturates", self.saturates, reason)
        if self.backward == "analog" and replace(self, backward="exact").ideal:
            raise refusal(
                "Product.backward", self.backward, "there is neither a converter nor noise that it could have"
            )
        if self.cells == "apart" and outputs == Converter():
            raise refusal("Product.cells", self.cells, "there is no output converter for columns of devices")
        if self.cells == "apart" and self.backward == "analog":
            raise refusal("Product.backward", self.backward, "columns of devices are not driven from their outputs")
        if self.read_noise_of != "weights" and not self.read_noise:
            raise refusal("Product.read_noise_of", self.read_noise_of, "there is no read_noise")

    @property
    def ideal(self) -> bool:
        """Whether it is the exact product."""
        return self == Product(relative_to=self.relative_to)

    @property
    def fresh(self) -> bool:
        """Whether something is drawn anew at each product."""
        return bool(self.read_noise or any(held is not None and held.noise for held in (self.inputs, self.outputs)))

    @property
    def own(self) -> bool:
        """Whether chips differ by more than their weights."""
        return self.outputs is not None and not (self.outputs.gain is None and self.outputs.offset is None)

    @property
    def learned(self) -> bool:
        """Whether the ranges of inputs are trained, or were found."""
        return self.inputs is not None and self.inputs.range == "learned"

    def with_bound(self, bound: float) -> "Product":
        """The same product with another bound of outputs."""
        assert self.outputs is not None
        return replace(self, outputs=replace(self.outputs, bound=bound))

    @property
    def transposed(self) -> "Product":
        """What the same arrays compute where gradients drive their columns, with ranges of the gradients' own."""
        inputs = replace(self.inputs or Converter(), range="dynamic", decay=Converter.decay)
        return replace(self, inputs=inputs, backward="exact", saturates=False)

    @property
    def alike(self) -> "Product":
        """The same product of converters that are alike on all chips, and have neither gain nor offset."""
        if self.outputs is None:
            return self
        return replace(self, outputs=replace(self.outputs, gain=None, offset=None, corrected=False))

    def label(self) -> str:
        """The product in a few words."""
        words = [f"{key}: {held.label()}" for key in ("inputs", "outputs") if (held := getattr(self, key)) is not None]
        rest = {key: value for key, value in self.described().items() if key not in ("inputs", "outputs")}
        return (
            "; ".join([*words, *(f"{key.replace('_', ' ')} {value}" for key, value in rest.items())]) or "exact product"
        )

    def described(self) -> dict[str, Any]:
        """The product as plain values, as a configuration writes it; what is as by default is left out."""
        given = {key: getattr(self, key) for key, default in _DEFAULTS.items() if getattr(self, key) != default}
        return {key: held.described() if isinstance(held, Converter) else held for key, held in given.items()}


def checked_product(given: Any) -> Product | None:
    """A product, or None.

    Raises:
        LimpetError: it is neither.
    """
    if not isinstance(given, Product | None):
        raise refusal("product", given, "give limpet.Product(inputs=limpet.Converter(bits=8, range='dynamic'), ...)")
    return given


_DEFAULTS = {key: held.default for key, held in Product.__dataclass_fields__.items()}
