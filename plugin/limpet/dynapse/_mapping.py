"""A network laid over the cores of a chip."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from limpet import DeploymentError, LimpetError, PrototypeError
from limpet.checks import listing, whole
from limpet.leaves import adapter_of, leaves_by_path
from limpet.rockpool import is_module, nominal_attributes

from ._bias_generator import DEVICE_NAMES

NEURONS_OF_CORE, CORES_OF_CHIP, TAGS, FAN_IN = 256, 4, 2048, 64
BRANCHES = ("Iw_0", "Iw_1", "Iw_2", "Iw_3")
CURRENTS = tuple(name for name in DEVICE_NAMES if name not in BRANCHES)
"""What neurons of a core share, by the names of DynapSim."""

MOST_APART = 0.2
"""How far the mean of a core may lie from what one of several populations on it was trained with, relative to that."""


@dataclass(frozen=True)
class MappedNetwork:
    """What a chip has to hold of a network: one population of neurons, whatever the layers they were trained in.

    Attributes:
        matrix: all weights, (inputs + neurons, neurons): what each neuron hears of the inputs, then of the neurons.
        blocks: the rows and the columns of the matrix that each weight leaf holds, by its path.
        populations: the place of each DynapSim's neurons among all neurons, by the beginning of the paths of its
            leaves, such as "1_DynapSim/".
        currents: the bias currents by name, in amperes, one for each core.
        trained_currents: the bias currents by name, in amperes, with which each neuron was trained.
        core_map: the core of each neuron, in the order of the matrix's columns.
        scale: Iscale, the current in amperes of a weight of 1.
        dt: the time step of the simulation, in seconds.
    """

    matrix: NDArray[np.float64]
    blocks: Mapping[str, tuple[slice, slice]]
    populations: Mapping[str, slice]
    currents: Mapping[str, NDArray[np.float64]]
    trained_currents: Mapping[str, NDArray[np.float64]]
    core_map: NDArray[np.int64]
    scale: float
    dt: float

    @property
    def cores(self) -> int:
        return int(self.core_map.max()) + 1

    @property
    def inputs(self) -> int:
        """How many inputs there are, without the neurons themselves."""
        return len(self.matrix) - len(self.core_map)

    def of_core(self, core: int) -> NDArray[np.float64]:
        """The weights onto the neurons of one core, of inputs and of neurons."""
        return self.matrix[:, self.core_map == core]

    def by_population(self) -> dict[str, tuple[int, ...]]:
        """The core of each neuron, by the path of its DynapSim."""
        return {
            prefix.rstrip("/"): tuple(int(core) for core in self.core_map[own])
            for prefix, own in self.populations.items()
        }

    def by_path(self) -> dict[str, NDArray[np.float32]]:
        """Weights, and currents for each neuron, by path: what a network is given."""
        weights = {path: self.matrix[block] for path, block in self.blocks.items()}
        currents = {
            prefix + name: values[self.core_map[own]]
            for prefix, own in self.populations.items()
            for name, values in self.currents.items()
        }
        return {path: np.asarray(value, np.float32) for path, value in {**weights, **currents}.items()}

    def fan_in(self) -> NDArray[np.int64]:
        """How many synapses each neuron has."""
        return (self.matrix != 0).sum(axis=0)

    def pruned(self, fan_in: int) -> Self:
        """The same network with the largest weights of each neuron alone.

        Args:
            fan_in: how many of them, from inputs and neurons together.
        """
        places = np.argsort(-np.abs(self.matrix), axis=0, kind="stable")
        kept = np.zeros(self.matrix.shape, bool)
        np.put_along_axis(kept, places[:fan_in], True, axis=0)
        return replace(self, matrix=np.where(kept, self.matrix, 0))


def mapped(net: Any, cores: int | None) -> MappedNetwork:
    """Lay a network over as many cores as it needs, or as are asked for.

    Neurons stand in the order of their layers. Each DynapSim has cores of its own where there are enough; with fewer,
    some layers share one. Cores are filled as evenly as they can be. A core's bias current is the mean of those of its
    neurons, as `rockpool.devices.dynapse.mapper` has it. (That fills cores without regard to layers, gives neurons the
    number of a core that there is not where the cores do not divide them, and takes two cores for 256 neurons.)

    Args:
        net: the Rockpool module whose weights and currents are laid over cores.
        cores: how many; None for as few as hold it, each DynapSim on its own where a chip has enough.

    Raises:
        DeploymentError: the network is none that the chip can hold, with what to change.
        LimpetError: weights or currents are none, or `cores` is no such number.
    """
    layers = _layers(net)
    leaves, _ = leaves_by_path(nominal_attributes(net))
    blocks, populations, inputs = _placed(layers, leaves)
    _require_currents(leaves, blocks, populations)
    count = sum(map(_size, populations.values()))
    needed = _cores_of(count)
    if needed > CORES_OF_CHIP:
        raise DeploymentError(
            f"{count} neurons need {needed} cores of {NEURONS_OF_CORE}, and a chip has {CORES_OF_CHIP}: train a "
            f"network of at most {CORES_OF_CHIP * NEURONS_OF_CORE}"
        )
    if cores is not None:  # a core has 256 places, and holds a neuron at least
        whole("cores", cores, needed, min(CORES_OF_CHIP, count))
    if inputs + 2 * count > TAGS:
        raise DeploymentError(
            f"{inputs} inputs and {count} neurons need {inputs + 2 * count} tags (one for an input, two for a neuron), "
            f"and there are {TAGS}: take fewer of either"
        )
    matrix = np.zeros((inputs + count, count))
    for path, block in blocks.items():
        matrix[block] = leaves[path]
    if not matrix.any():
        raise DeploymentError(f"{listing(blocks)}: there is no weight but 0, so that nothing can be deployed")
    core_map = _core_map([_size(own) for own in populations.values()], cores)
    trained = {
        name: np.concatenate(
            [
                np.broadcast_to(np.asarray(leaves[prefix + name], float), _size(own))
                for prefix, own in populations.items()
            ]
        )
        for name in CURRENTS
    }
    currents = {
        name: np.array([values[core_map == core].mean() for core in range(core_map.max() + 1)])
        for name, values in trained.items()
    }
    scale, dt = (_common(name, leaves, populations) for name in ("Iscale", "dt"))
    network = MappedNetwork(matrix, blocks, populations, currents, trained, core_map, scale, dt)
    never_read = adapter_of(net).never_read
    _require_alike(network, [name for name in CURRENTS if not never_read(name)])
    return network


def _placed(
    layers: Sequence[tuple[str | None, str]], leaves: Mapping[str, Any]
) -> tuple[dict[str, tuple[slice, slice]], dict[str, slice], int]:
    """Where weights and neurons stand in the matrix of all, as in `MappedNetwork`, and how many inputs there are."""
    first, _ = layers[0]
    inputs = 0 if first is None else len(leaves[f"{first}weight"])
    blocks: dict[str, tuple[slice, slice]] = {}
    populations: dict[str, slice] = {}
    heard, start = slice(0, inputs), 0
    for linear, prefix in layers:
        own = slice(start, start + np.size(leaves[f"{prefix}Itau_mem"]))
        rows = slice(inputs + own.start, inputs + own.stop)
        if linear is not None:
            if leaves.get(f"{linear}bias") is not None:
                raise DeploymentError(
                    f"{linear}bias: synapses of DYNAP-SE2 have no biases; train LinearJax with has_bias=False, or use "
                    f"Idc, the constant current of each core"
                )
            blocks[f"{linear}weight"] = heard, own
        blocks[f"{prefix}w_rec"] = rows, own
        populations[prefix] = own
        heard, start = rows, own.stop
    return blocks, populations, inputs


def _require_currents(leaves: Mapping[str, Any], weights: Collection[str], prefixes: Collection[str]) -> None:
    """Refuse weights and bias currents that are no finite numbers, and bias currents below 0."""
    for path in [*weights, *(prefix + name for prefix, name in product(prefixes, CURRENTS))]:
        values = np.asarray(leaves[path])
        if not np.isfinite(values).all():
            raise LimpetError(
                f"{path}: holds NaN or infinite values, which no chip can; train again, or look when it did"
            )
        if path not in weights and (values < 0).any():
            raise LimpetError(f"{path}: {values.min():.3g} A is below 0, which no bias current is")


def _common(name: str, leaves: Mapping[str, Any], prefixes: Collection[str]) -> float:
    """The value of Iscale or dt, which all layers must have alike."""
    first, *others = [(prefix + name, float(np.ravel(leaves[prefix + name])[0])) for prefix in prefixes]
    for path, value in others:
        if value != first[1]:
            raise DeploymentError(
                f"{path} = {value:.3g}, and {first[0]} = {first[1]:.3g}: layers that become one population have one "
                f"{name}; "
                + (
                    "train them with the same time step"
                    if name == "dt"
                    else "set it to the other, and multiply the layer's weights, with w_rec, by the ratio of the two"
                )
            )
    return first[1]


def _size(own: slice) -> int:
    return own.stop - own.start


def _cores_of(neurons: int) -> int:
    return -(-neurons // NEURONS_OF_CORE)


def _core_map(sizes: Sequence[int], cores: int | None) -> NDArray[np.int64]:
    """The core of each neuron.

    Args:
        sizes: the number of neurons of each population.
        cores: how many cores; None for as few as do.
    """
    own = [_cores_of(size) for size in sizes]
    if cores is None:
        cores = sum(own) if sum(own) <= CORES_OF_CHIP else _cores_of(sum(sizes))
    if cores < sum(own):  # some share one
        own, sizes = [cores], [sum(sizes)]
    while sum(own) < cores:  # another one for the population whose neurons stand closest
        own[int(np.argmax(np.divide(sizes, own)))] += 1
    starts = np.cumsum(own) - own
    return np.concatenate(
        [start + np.arange(size) * number // size for start, size, number in zip(starts, sizes, own, strict=True)]
    )


def _require_alike(network: MappedNetwork, names: Sequence[str]) -> None:
    """Refuse populations that share a core and were trained with other bias currents than it would have.

    Raises:
        DeploymentError: the mean of a core is too far from what a population on it was trained with.
    """
    own_cores = sum(_cores_of(_size(own)) for own in network.populations.values())
    for core in range(network.cores):
        on_core = {
            prefix: np.flatnonzero(network.core_map[own] == core) + own.start
            for prefix, own in network.populations.items()
        }
        members = {prefix: neurons for prefix, neurons in on_core.items() if neurons.size}
        if len(members) == 1:
            continue
        for prefix, name in product(members, names):
            given, trained = network.currents[name][core], network.trained_currents[name][members[prefix]].mean()
            if abs(given - trained) > MOST_APART * trained:
                others = " and ".join(other.rstrip("/") for other in members if other != prefix)
                way_out = (
                    f"take cores={own_cores}, so that each layer has cores of its own"
                    if own_cores <= CORES_OF_CHIP
                    else f"train the layers with currents within {MOST_APART:.0%} of their mean, or with so few "
                    f"neurons that each has cores of its own"
                )
                raise DeploymentError(
                    f"{prefix}{name}: {trained:.3g} A on average, and core {core}, which it shares with {others}, "
                    f"would have {given:.3g} A, the mean over its neurons; {way_out}"
                )


def _layers(net: Any) -> list[tuple[str | None, str]]:
    """For each layer of neurons, the path of the LinearJax before it, if there is one, and its own.

    Paths end in a slash, or are empty.

    Raises:
        PrototypeError: it is no Rockpool module of the JAX back end.
        DeploymentError: it holds other layers, or in another order.
    """
    if not is_module(net):
        raise PrototypeError(f"net = {type(net).__name__}: expected a Rockpool JAX module, LinearJax and DynapSim")
    layers = [(path, layer, _kind(layer)) for path, layer in _leaf_modules(net)]
    kinds = [kind for *_, kind in layers]
    wanted = "DYNAP-SE2 holds LinearJax (weights) and DynapSim (neurons) in turns, or a DynapSim alone"
    if strange := [path or type(layer).__name__ for path, layer, kind in layers if kind is None]:
        raise DeploymentError(f"{strange[0].rstrip('/')}: cannot be deployed; {wanted}")
    if "DynapSim" not in kinds:
        raise DeploymentError(f"{type(net).__name__}: there is no DynapSim in it; {wanted}")
    behind = kinds[::-1].index("DynapSim")
    if behind:
        path = layers[-behind][0]
        raise DeploymentError(
            f"{path.rstrip('/')}: a layer behind the last neurons runs off the chip; deploy the network without it, "
            f"and read out the spikes by it"
        )
    found: list[tuple[str | None, str]] = []
    linear = None
    for path, layer, kind in layers:
        if kind == "LinearJax":
            if linear is not None:
                raise DeploymentError(
                    f"{path.rstrip('/')}: follows {linear.rstrip('/')} without neurons between them; multiply their "
                    f"weights into those of one LinearJax"
                )
            linear = path
            continue
        if found and linear is None:
            raise DeploymentError(
                f"{path.rstrip('/')}: follows {found[-1][1].rstrip('/')} without weights between them, and every "
                f"connection on the chip has one; put LinearJax(({layer.size_in}, {layer.size_in}), "
                f"jnp.eye({layer.size_in}), has_bias=False) between them"
            )
        found.append((linear, path))
        linear = None
    return found


def _leaf_modules(module: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The layers in order, with their paths.

    Raises:
        DeploymentError: they do not simply follow one another, as in a residual block or a class of one's own: what
            else it computes would be lost.
    """
    inner = module.modules()
    if inner and type(module).__name__ != "JaxSequential":
        raise DeploymentError(
            f"{path.rstrip('/') or type(module).__name__}: layers in a {type(module).__name__} cannot be deployed, as "
            f"what it adds to them has no place on the chip; give a Sequential of LinearJax and DynapSim"
        )
    if not inner:
        yield path, module
    for name, submodule in inner.items():
        yield from _leaf_modules(submodule, f"{path}{name}/")


def _kind(layer: Any) -> str | None:
    names = [cls.__name__ for cls in type(layer).__mro__]
    return next((kind for kind in ("DynapSim", "LinearJax") if kind in names), None)
