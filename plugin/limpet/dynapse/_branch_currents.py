"""Which four branch currents a core gets, so that its weights are near sums of some of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limpet import LimpetError
from limpet.checks import shown
from limpet.deviations import sums_of
from limpet.rockpool import imported, quietly

from ._mapping import BRANCHES, MappedNetwork

RANDOM_STARTS = 100
SEED = 2022

OTHER_UNIT = 1e3
"""Branch currents whose sum is beyond this factor of the largest weight are in another unit: amperes are 1e-8 of it."""


class Quantized(NamedTuple):
    """Weights as a chip holds them.

    Attributes:
        masks: which branches of each synapse are on: bit b is branch b; a place for each of the network's matrix.
        currents: what each branch of each core is worth, as a weight, (cores, branches).
    """

    masks: NDArray[np.int64]
    currents: NDArray[np.float64]


def nearest(network: MappedNetwork, currents: NDArray[np.float64]) -> tuple[Quantized, MappedNetwork]:
    """Each weight rounded to the nearest sum of its core's branch currents.

    Args:
        network: the network whose weights are rounded.
        currents: the branch currents as weights, (cores, branches).
    """
    masks = np.zeros(network.matrix.shape, int)
    for core, branches in enumerate(currents):
        sums, mask_of = sums_of(tuple(branches))
        # The same comparison as in `SynapseBranches`: what lies in the middle of two is the smaller one.
        place = np.searchsorted((sums[1:] + sums[:-1]) / 2, np.abs(network.of_core(core)), side="left")
        masks[:, network.core_map == core] = mask_of[place]
    return Quantized(masks, currents), with_masks(network, masks, currents)


def fitted(network: MappedNetwork) -> NDArray[np.float64]:
    """The branch currents of each core by which the squared error of its weights is smallest.

    Weights are assigned to the sums that are nearest, the currents that fit best to them follow from least squares, and
    so on in turns, from binary currents of several sizes and from some at random; the best end is taken. It is the
    method of Lloyd (1982), "Least squares quantization in PCM", IEEE Transactions on Information Theory 28:129, with
    levels that are sums. Weights that are 0 stay 0 and take no part.

    Args:
        network: the network to deploy, mapped to cores.

    Returns:
        (cores, branches), as weights, the smallest first.
    """
    return np.array([_fitted(np.abs(network.of_core(core)).ravel()) for core in range(network.cores)])


def by_function(
    network: MappedNetwork, function: Callable[[NDArray[np.float64]], ArrayLike], name: str
) -> NDArray[np.float64]:
    """The branch currents of each core as a function of one's own chooses them.

    Args:
        network: the network to deploy, mapped to cores.
        function: the function, which takes the weights of one core, (rows, neurons), and gives its branch currents.
        name: the name of the function, by which errors call it.

    Returns:
        (cores, branches), as weights.

    Raises:
        LimpetError: it gives no such currents.
    """
    chosen = []
    for core in range(network.cores):
        weights = network.of_core(core)
        largest = np.abs(weights).max()
        given = function(weights)
        chosen.append(checked(given, largest, f"quantizer {name}, core {core}", "weights (not amperes)"))
    return np.array(chosen)


def checked(given: ArrayLike, largest: ArrayLike, name: str, unit: str) -> NDArray[np.float64]:
    """Branch currents that someone gives.

    Args:
        given: the branch currents of each core, or of one, in any order.
        largest: the size of the largest weight, in the same unit: of each core, or of one.
        name: the name of what gives them, by which errors call it.
        unit: the unit in which they are wanted.

    Raises:
        LimpetError: they are none, or in another unit.
    """
    largest = np.asarray(largest)
    shape = (*largest.shape, len(BRANCHES))
    try:
        currents = np.asarray(given, float)
    except (TypeError, ValueError):
        currents = np.array(np.nan)
    if currents.shape != shape or not (np.isfinite(currents) & (currents >= 0)).all():
        raise LimpetError(f"{name}: allowed are {unit}, finite and >= 0, of shape {shape}; got {shown(given)}")
    total = currents.sum(axis=-1)
    like = (largest == 0) | ((total * OTHER_UNIT > largest) & (total < largest * OTHER_UNIT))
    if not like.all():
        first = np.argmin(like)
        raise LimpetError(
            f"{name}: the currents of a core add up to {total.flat[first]:.3g}, and its largest weight is "
            f"{largest.flat[first]:.3g}; give {unit}"
        )
    return currents


def by_autoencoder(network: MappedNetwork) -> tuple[Quantized, MappedNetwork]:
    """Masks, branch currents and weights as Rockpool's `autoencoder_quantization` chooses them.

    Args:
        network: the network to deploy, mapped to cores.

    Raises:
        LimpetError: a core has no weights.
    """
    if empty := [core for core in range(network.cores) if not network.of_core(core).any()]:
        raise LimpetError(
            f"core {empty[0]}: has no weight but 0, of which Rockpool's autoencoder learns nothing; take the quantizer "
            f"least-squares, or fewer cores"
        )
    # What is not there is None, as in what Rockpool's mapper gives.
    ends = dict(zip(("weights_in", "weights_rec"), np.split(network.matrix, [network.inputs]), strict=True))
    given = {name: weights for name, weights in ends.items() if weights.any()}
    with quietly():
        found = imported("rockpool.devices.dynapse.quantization").autoencoder_quantization(
            n_cluster=network.cores,
            core_map=network.core_map,
            Iscale=network.scale,
            **{name: given.get(name) for name in ends},
        )
    currents = np.stack([np.asarray(found[branch], float) for branch in BRANCHES], axis=1) / network.scale
    # One matrix for each core, in which the columns of the others are 0.
    masks = np.concatenate(
        [
            sum(np.asarray(mask, int) for mask in found[name]) if name in given else np.zeros(weights.shape, int)
            for name, weights in ends.items()
        ]
    )
    return Quantized(masks, currents), with_masks(network, masks, currents)


def with_masks(network: MappedNetwork, masks: NDArray[np.int64], currents: NDArray[np.float64]) -> MappedNetwork:
    """The same network with the weights that masks and branch currents make, and the signs of its own.

    Args:
        network: the network whose signs and places of weights are kept.
        masks: the mask of each synapse, whose bit b says whether branch b is on.
        currents: the branch currents as weights, (cores, branches).
    """
    bits = (masks[..., None] >> np.arange(currents.shape[1])) & 1
    return replace(network, matrix=np.sign(network.matrix) * (bits * currents[network.core_map]).sum(axis=-1))


def _fitted(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes = np.sort(sizes[sizes > 0])
    if not sizes.size:
        return np.zeros(len(BRANCHES))
    # With sums over the sorted sizes, a turn takes as long for a hundred thousand weights as for ten.
    counted, summed = np.arange(len(sizes) + 1), np.concatenate([[0.0], np.cumsum(sizes)])
    squared, largest = float(sizes @ sizes), sizes[-1]
    random = np.random.default_rng(SEED)
    binary = largest * np.linspace(0.3, 1.1, 9)[:, None] * 2.0 ** np.arange(len(BRANCHES)) / (2 ** len(BRANCHES) - 1)
    others = largest * np.sort(random.uniform(0, 1, (RANDOM_STARTS, len(BRANCHES))) ** 2)
    # All starts take their turns together, (starts, branches), until the last one gains no more.
    currents, before = np.concatenate([binary, others]), np.full(len(binary) + len(others), np.inf)
    best, best_error = currents[0], np.inf
    subsets = (np.arange(2 ** len(BRANCHES))[:, None] >> np.arange(len(BRANCHES))) & 1
    while len(currents):
        sums = currents @ subsets.T
        order = np.argsort(sums, axis=1, kind="stable")
        sums, bits = np.take_along_axis(sums, order, axis=1), subsets[order]
        cut = np.searchsorted(sizes, (sums[:, 1:] + sums[:, :-1]) / 2)
        cut = np.pad(cut, ((0, 0), (1, 1)), constant_values=((0, 0), (0, len(sizes))))
        count, total = np.diff(counted[cut]), np.diff(summed[cut])
        error = np.maximum(squared - 2 * (sums * total).sum(axis=1) + (count * sums**2).sum(axis=1), 0)
        if error.min() < best_error:
            best, best_error = currents[error.argmin()], error.min()
        gains = error < before * (1 - 1e-6)
        before, bits, count, total = error[gains], bits[gains], count[gains], total[gains]
        # Least squares of as many unknowns as branches; of those that no weight uses any value is as good.
        across = np.swapaxes(bits, 1, 2)
        inverse = np.linalg.pinv(across @ (bits * count[..., None]), rcond=1e-9, hermitian=True)
        currents = np.maximum((inverse @ (across @ total[..., None]))[..., 0], 0)
    return np.sort(best)
