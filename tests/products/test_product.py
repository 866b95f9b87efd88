"""`Product` and `Converter` as values: what does not go together is refused."""

import pytest

import limpet
from limpet import Converter, Product

DAC, ADC = Converter(bits=8, range=1.0), Converter(bits=8, bound=10.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Converter(bits=8, levels=255), "give either bits or levels"),
        (lambda: Converter(bits=1), r"Converter.bits = 1: allowed is a whole number from 2"),
        (lambda: Converter(levels=2), "Converter.levels = 2: allowed is 3 or more, where codes below 0 exist"),
        (lambda: Converter(range="widest"), "Converter.range = 'widest': allowed are a number, 'dynamic'"),
        (lambda: Converter(range=0.0), "Converter.range = 0.0"),
        (lambda: Converter(rounding="floor", bound=1.0), "Converter.rounding = 'floor': nothing is rounded without"),
        (lambda: Converter(range=1.0, decay=0.1), "Converter.decay = 0.1: only a range that is 'learned' decays"),
        (lambda: Product(8), "Product.inputs = 8: allowed is a converter such as limpet"),
        (lambda: Product(Converter(bits=8)), "rounding needs a range: a number, 'dynamic'"),
        (lambda: Product(outputs=Converter(bits=8)), "rounding needs a bound, such as bound=10.0"),
        (lambda: Product(Converter(bound=1.0)), "Product.inputs.bound = 1.0: bound belongs to outputs"),
        (lambda: Product(outputs=DAC), "Product.outputs.range = 1.0: range belongs to inputs"),
        (lambda: Product(outputs=Converter(signed=False)), "Product.outputs.signed = False: outputs have no bound"),
        (lambda: Product(outputs=Converter(bound=1.0, corrected=True)), "neither gain nor offset that could be taken"),
        (
            lambda: Product(Converter(levels=9, range=1.0, slice_bits=1)),
            "slice_bits = 1: allowed is a number below",
        ),
        (lambda: Product(DAC, bound_management=1), "Product.bound_management = 1: outputs have no bound"),
        (lambda: Product(None, ADC, bound_management=1), "inputs have no range that could grow"),
        (
            lambda: Product(Converter(bits=8, range=1.0, slice_bits=1), ADC, bound_management=1),
            "halved inputs have slices as large as before; leave slice_bits out",
        ),
        (lambda: Product(Converter(range="dynamic"), ADC, saturates=True), "so that all arrays share it"),
        (lambda: Product(read_noise_of="inputs"), "there is no read_noise"),
        (lambda: Product(relative_to="row"), "Product.relative_to = 'row': allowed are"),
        (lambda: Product(wire=-1.0), "Product.wire = -1.0"),
    ],
)
def test_what_says_nothing_or_does_not_go_together_is_refused(make, message):
    with pytest.raises(limpet.LimpetError, match=message):
        make()


@pytest.mark.parametrize(
    ("converter", "codes"),
    [
        (Converter(bits=8), (-127, 127)),
        (Converter(levels=256), (-128, 127)),
        (Converter(levels=32, signed=False), (0, 31)),
        (Converter(bits=5, signed=False), (0, 30)),
        (Converter(levels=3), (-1, 1)),
    ],
)
def test_codes(converter, codes):
    assert (converter.lowest, converter.half) == codes


def test_what_a_product_is_is_known_of_it():
    assert Product().ideal
    assert Product(relative_to="tensor").ideal
    assert not Product(DAC).ideal
    assert Product(read_noise=0.1).fresh
    assert not Product(DAC, ADC).fresh
    assert Product(outputs=Converter(gain=0.1)).own
    assert Product(DAC, ADC, wire=1e-6).label() == "inputs: 8 bits, range 1; outputs: 8 bits, bound 10; wire 1e-06"
