"""One analog product x @ w as each of four simulators computes it, written down anew in NumPy from their formulas.

Each takes x of shape (B, K) and w of shape (K, N), and `rows`, the most rows of a tile: the matrix is cut as evenly as
possible, and the outputs of the tiles are added digitally. Where something is random, a generator is taken; without one
there is no noise. Sums are in double precision.
"""

from collections.abc import Callable

import numpy as np

Matrix = np.ndarray


def tiles(size: int, largest: int | None) -> list[slice]:
    """Slices of sizes that differ by one at most, the larger ones first."""
    count = 1 if largest is None else -(-size // largest)
    ends = np.cumsum([size // count + (place < size % count) for place in range(count)])
    return [slice(int(begin), int(end)) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def over_tiles(x: Matrix, w: Matrix, rows: int | None, product: Callable[[Matrix, Matrix], Matrix]) -> Matrix:
    """The sum of a product over tiles of rows."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    return sum((product(x[:, part], w[part]) for part in tiles(len(w), rows)), np.zeros((len(x), w.shape[1])))


def rounded(value: Matrix, largest: float | Matrix, states: float | None) -> Matrix:
    """To the nearest of `states` steps between minus and plus the largest, and one more for 0; not clipped."""
    if states is None:
        return value
    step = 2 * np.maximum(largest, np.finfo(np.float32).tiny) / states
    return np.round(value / step) * step


def normal(generator: np.random.Generator | None, shape: tuple[int, ...]) -> Matrix:
    return np.zeros(shape) if generator is None else generator.standard_normal(shape)


def largest_weight(w: Matrix, per: str | float) -> Matrix:
    """Of shape (1, N), or (1, 1)."""
    if not isinstance(per, str):
        return np.full((1, 1), per)
    return np.abs(w).max(axis=0 if per == "column" else None, keepdims=True)


def range_of(x: Matrix, input_range: float | str) -> Matrix:
    """The range of each input vector, shape (B, 1)."""
    return np.abs(x).max(axis=1, keepdims=True) if input_range == "dynamic" else np.full((len(x), 1), input_range)


def aihwkit(
    x: Matrix,
    w: Matrix,
    rows: int | None = None,
    *,
    input_range: float | str = 1.0,
    clamp: bool = True,
    weight_scaling: str | float = "column",
    inp_states: float | None = None,
    inp_noise: float = 0.0,
    ir_drop: float = 0.0,
    g_ratio: float = 1 / 0.35 / 5e-6,
    w_noise: float = 0.0,
    w_noise_type: str = "PCM_READ",
    out_noise: float = 0.0,
    out_states: float | None = None,
    out_bound: float = np.inf,
    max_bm: float = 0.0,
    generator: np.random.Generator | None = None,
) -> Matrix:
    """IBM's analog hardware acceleration kit: its tile on CPUs (rpu_forward_backward_pass.cpp), with digital scales.

    Args:
        input_range: the range of inputs, which are clipped to it and divided by it; "dynamic" for noise management
            ABS_MAX, by the largest of each vector, without clipping.
        clamp: whether inputs are clipped digitally (`input_range.enable`), or by their converter alone, once bound
            management has divided them (noise management CONSTANT).
        weight_scaling: what weights are held as fractions of: the largest of their "column" or "tile", or a number.
        inp_states: the number of steps between minus and plus 1, `1 / inp_res`.
        inp_noise: of inputs, behind their converter.
        ir_drop: the factor on what wires take away.
        g_ratio: the conductance of a wire between two devices over the largest one of a device.
        w_noise: of devices, at each product.
        w_noise_type: "PCM_READ", or "ADDITIVE_CONSTANT".
        out_noise: of outputs, before their converter.
        out_states: the number of steps between minus and plus the bound.
        out_bound: the largest output.
        max_bm: iterative bound management ends once the factor by which inputs were divided is above this; 0: none.
    """

    def tile(x: Matrix, w: Matrix) -> Matrix:
        scale = largest_weight(w, weight_scaling)
        w = w / scale
        unit = range_of(x, input_range)
        x = np.clip(x, -unit, unit) if clamp else x
        x = np.divide(x, unit, where=unit > 0, out=np.zeros_like(x))
        y = np.stack([vector(one, w) for one in x])
        return np.where(unit > 0, y * unit * scale, 0.0)

    def vector(x: Matrix, w: Matrix) -> Matrix:
        factor = 1.0
        while True:
            y = one_pass(x / factor, w)
            clipped = np.abs(y).max() > out_bound
            if not clipped or not max_bm or factor > max_bm:
                return np.clip(y, -out_bound, out_bound) * factor
            factor *= 2

    def one_pass(x: Matrix, w: Matrix) -> Matrix:
        x = np.clip(rounded(x, 1.0, inp_states), -1, 1)
        x = x + inp_noise * normal(generator, x.shape)
        y = x @ w
        if ir_drop:
            a = len(x) / g_ratio * (np.abs(x) @ np.abs(w))
            c = a * (a * (0.05 * a - 0.2) + 0.5)
            y = y - ir_drop * c * ((x * (1 - (1 - np.arange(len(x)) / len(x)) ** 2)) @ w)
        spread = np.sqrt(x**2 @ np.abs(w)) if w_noise_type == "PCM_READ" else np.linalg.norm(x)
        y = y + w_noise * spread * normal(generator, y.shape) + out_noise * normal(generator, y.shape)
        return rounded(y, out_bound, out_states)

    return over_tiles(x, w, rows, tile)


def lightning(
    x: Matrix,
    w: Matrix,
    rows: int | None = None,
    *,
    input_range: float | str = 1.0,
    inp_states: float | None = None,
    out_states: float | None = None,
    out_bound: float = np.inf,
    out_noise: float = 0.0,
    out_noise_per_channel: bool = False,
    bound_per_channel: bool = False,
    generator: np.random.Generator | None = None,
) -> Matrix:
    """IBM's aihwkit-lightning (torch_linear.py): ranges in units of activations, bounds in those of the largest weight.

    Args:
        input_range: the range of inputs, which are clipped to it; "dynamic" for the largest of each vector.
        inp_states: the number of steps of `forward.inp_res`.
        out_states: the number of steps of `forward.out_res`.
        out_bound: the largest output, in units of the range times the largest weight.
        out_noise: in the same units, divided by the square root of the number of tiles; in training alone.
        out_noise_per_channel: whether noise is relative to the largest weight of each channel.
        bound_per_channel: whether the bound is, as it is where channels are clipped each for itself.
    """
    count = len(tiles(len(w), rows))

    def tile(x: Matrix, w: Matrix) -> Matrix:
        unit = range_of(x, input_range)
        y = rounded(np.clip(x, -unit, unit), unit, inp_states) @ w
        noise = out_noise / np.sqrt(count) * unit * largest_weight(w, "column" if out_noise_per_channel else "tile")
        y = y + noise * normal(generator, y.shape)
        bound = unit * out_bound * largest_weight(w, "column" if bound_per_channel else "tile")
        return np.clip(rounded(y, bound, out_states), -bound, bound)

    return over_tiles(x, w, rows, tile)


def lightning_gradients(
    x: Matrix,
    w: Matrix,
    towards: Matrix,
    rows: int | None = None,
    *,
    input_range: float | str = 1.0,
    inp_states: float | None = None,
    out_states: float | None = None,
    out_bound: float = np.inf,
) -> tuple[Matrix, Matrix]:
    """The gradients of lightning's inputs and weights, straight through rounding, for a slope at its outputs."""
    x, w, parts = np.asarray(x, np.float64), np.asarray(w, np.float64), tiles(len(w), rows)
    of_x, of_w = np.zeros_like(x), np.zeros_like(w)
    for part in parts:
        held, weights = x[:, part], w[part]
        unit = range_of(held, input_range)
        sent = rounded(np.clip(held, -unit, unit), unit, inp_states)
        bound = unit * out_bound * np.abs(weights).max()
        within = np.abs(rounded(sent @ weights, bound, out_states)) <= bound * (1 + 1e-9)
        of_x[:, part] = np.where(np.abs(held) <= unit, (towards * within) @ weights.T, 0)
        of_w[part] = sent.T @ (towards * within)
    return of_x, of_w


def hxtorch(
    x: Matrix,
    w: Matrix,
    rows: int | None = 128,
    *,
    num_sends: int = 1,
    gain: float = 0.002,
    noise_std: float = 2.0,
    generator: np.random.Generator | None = None,
) -> Matrix:
    """BrainScaleS-2's product as hxtorch imitates it (perceptron/detail/mac.cpp): integers in, integers out.

    hxtorch cuts tiles of 128 rows from the first one on; here they are as even as possible.
    """
    x, w = np.round(x), np.round(w)
    assert x.min() >= 0
    assert x.max() <= 31
    assert np.abs(w).max() <= 63

    def tile(x: Matrix, w: Matrix) -> Matrix:
        y = x @ w * num_sends * gain
        return np.clip(np.floor(y + noise_std * normal(generator, y.shape)), -128, 127)

    return np.clip(over_tiles(x, w, rows, tile), -128, 127)


def crosssim(
    x: Matrix,
    w: Matrix,
    rows: int | None = None,
    *,
    input_range: float = 1.0,
    input_bits: int = 0,
    slice_bits: int | None = None,
    adc_per_slice: bool = False,
    adc_bits: int = 0,
    adc_range: float = np.inf,
    subtract_current: bool = True,
) -> Matrix:
    """CrossSim's balanced core (balanced_core.py): sign-magnitude converters, calibrated ranges, pairs of devices.

    Args:
        input_range: the range of inputs, `mapping.inputs.mvm.max`; inputs are divided by it.
        input_bits: the bits of the input converter, one of which is the sign; 0: none.
        slice_bits: so many bits of the magnitude enter the array at a time; None: all.
        adc_per_slice: whether the outputs of each slice are converted, or accumulated as charges first.
        adc_bits: the bits of the output converter, one of which is the sign; 0: none.
        adc_range: the largest output, in units of one device in full at an input in full.
        subtract_current: whether the currents of a pair are subtracted before they are converted, or digitally.
    """
    largest = np.abs(w).max()

    def convert(y: Matrix) -> Matrix:
        return rounded(np.clip(y, -adc_range, adc_range), adc_range, 2**adc_bits - 2) if adc_bits else y

    def side(x: Matrix, w: Matrix) -> Matrix:
        """Of one device of each pair, or of both."""
        magnitude_bits = input_bits - 1
        if slice_bits is None:
            if input_bits:
                x = rounded(np.clip(x, -1, 1), 1.0, 2**input_bits - 2)
            return convert(x @ w)
        left, sign = np.round(np.minimum(np.abs(x), 1) * (2**magnitude_bits - 1)), np.sign(x)
        total, base = np.zeros((len(x), w.shape[1])), 2**slice_bits
        count = -(-magnitude_bits // slice_bits)
        for _ in range(count):
            y = (sign * (left % base) / (base - 1)) @ w
            total = (total + (convert(y) if adc_per_slice else y)) / base
            left = left // base
        y = total * (base - 1) * 2.0 ** (slice_bits * count - magnitude_bits) / (1 - 2.0**-magnitude_bits)
        return y if adc_per_slice else convert(y)

    def tile(x: Matrix, w: Matrix) -> Matrix:
        x, w = x / input_range, w / largest
        plus, minus = np.maximum(w, 0), np.maximum(-w, 0)
        y = side(x, w) if subtract_current else side(x, plus) - side(x, minus)
        return y * input_range * largest

    return over_tiles(x, w, rows, tile)
