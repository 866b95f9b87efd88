"""A network laid over the cores of a chip."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from limpet import DeploymentError, LimpetError, PrototypeError
from limpet.checks import listing, whole
from limpet.leaves import leaves_by_path
from limpet.rockpool import is_module, nominal_attributes

from ._bias_generator import DEVICE_NAMES

NEURONS_OF_CORE, CORES_OF_CHIP, TAGS, FAN_IN = 256, 4, 2048, 64
BRANCHES = ("Iw_0", "Iw_1", "Iw_2", "Iw_3")
CURRENTS = tuple(name for name in DEVICE_NAMES if name not in BRANCHES)
"""What neurons of a core share, by the names of DynapSim."""


@dataclass(frozen=True)
class MappedNetwork:
    """What a chip has to hold of a network.

    Attributes:
        weights: the weights by leaf path, those of the inputs (inputs, neurons) first, then the recurrent ones
            (neurons, neurons); either may be missing.
        currents: the bias currents by name, in amperes, one for each core.
        core_map: the core of each neuron.
        scale: Iscale, the current in amperes of a weight of 1.
        prefix: the beginning of the paths of the neurons' leaves, such as "1_DynapSim/".
    """

    weights: Mapping[str, NDArray[np.float64]]
    currents: Mapping[str, NDArray[np.float64]]
    core_map: NDArray[np.int64]
    scale: float
    prefix: str

    @property
    def cores(self) -> int:
        return int(self.core_map.max()) + 1

    @property
    def inputs(self) -> int:
        """How many inputs there are, without the neurons themselves."""
        return sum(len(weight) for path, weight in self.weights.items() if path != f"{self.prefix}w_rec")

    def of_core(self, core: int) -> NDArray[np.float64]:
        """The weights onto the neurons of one core, input and recurrent ones together."""
        return np.concatenate([weight[:, self.core_map == core] for weight in self.weights.values()])

    def by_neuron(self) -> dict[str, NDArray[np.float32]]:
        """Weights, and currents for each neuron, by path: what a network is given."""
        currents = {self.prefix + name: values[self.core_map] for name, values in self.currents.items()}
        return {path: np.asarray(value, np.float32) for path, value in {**self.weights, **currents}.items()}

    def fan_in(self) -> NDArray[np.int64]:
        """How many synapses each neuron has."""
        return sum((weight != 0).sum(axis=0) for weight in self.weights.values())  # pyright: ignore[reportReturnType]

    def pruned(self, fan_in: int) -> Self:
        """The same network with the largest weights of each neuron alone.

        Args:
            fan_in: how many of them, inputs and recurrent ones together.
        """
        stacked = np.concatenate(list(self.weights.values()))
        places = np.argsort(-np.abs(stacked), axis=0, kind="stable")
        kept = np.zeros(stacked.shape, bool)
        np.put_along_axis(kept, places[:fan_in], True, axis=0)
        return self.with_weights(np.where(kept, stacked, 0))

    def split(self, stacked: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What is stacked, inputs above the recurrent ones, by leaf path."""
        ends = np.cumsum([len(weight) for weight in self.weights.values()])[:-1]
        return dict(zip(self.weights, np.split(stacked, ends), strict=True))

    def with_weights(self, stacked: NDArray[np.float64]) -> Self:
        """The same network with other weights.

        Args:
            stacked: those of inputs above the recurrent ones.
        """
        return replace(self, weights=self.split(stacked))


def mapped(net: Any, cores: int | None) -> MappedNetwork:
    """Lay a network over as many cores as it needs, or as are asked for.

    Neurons of a core stand next to one another, and cores are filled as evenly as they can be. A core's bias current is
    the mean of those of its neurons, as `rockpool.devices.dynapse.mapper` has it. (That gives neurons the number of a
    core that there is not where the cores do not divide them, and takes two cores for 256 neurons.)

    Args:
        net: the network.
        cores: how many; None for as few as hold it.

    Raises:
        DeploymentError: the network is none that the chip can hold, with what to change.
        LimpetError: weights or currents are none, or `cores` is no such number.
    """
    linear, prefix = _layers(net)
    leaves, _ = leaves_by_path(nominal_attributes(net))
    weights = {}
    if linear is not None:
        weights[f"{linear}weight"] = leaves[f"{linear}weight"]
        bias = leaves.get(f"{linear}bias")
        if bias is not None:
            raise DeploymentError(
                f"{linear}bias: DYNAP-SE2 has no biases of its inputs; train LinearJax with has_bias=False, or use "
                f"Idc, the constant current of each core"
            )
    if f"{prefix}w_rec" in leaves:
        weights[f"{prefix}w_rec"] = leaves[f"{prefix}w_rec"]
    weights = {path: np.asarray(weight, float) for path, weight in weights.items()}
    by_neuron = {name: np.asarray(leaves[prefix + name], float) for name in CURRENTS}
    for path, values in {**weights, **{prefix + name: values for name, values in by_neuron.items()}}.items():
        if not np.isfinite(values).all():
            raise LimpetError(
                f"{path}: holds NaN or infinite values, which no chip can; train again, or look when it did"
            )
    for name, values in by_neuron.items():
        if (values < 0).any():
            raise LimpetError(f"{prefix}{name}: {values.min():.3g} A is below 0, which no bias current is")
    count = int(np.size(by_neuron["Itau_mem"]))
    needed = -(-count // NEURONS_OF_CORE)
    if needed > CORES_OF_CHIP:
        raise DeploymentError(
            f"{count} neurons need {needed} cores of {NEURONS_OF_CORE}, and a chip has {CORES_OF_CHIP}: train a "
            f"network of at most {CORES_OF_CHIP * NEURONS_OF_CORE}"
        )
    if cores is not None:  # a core has 256 places, and holds a neuron at least
        whole("cores", cores, needed, min(CORES_OF_CHIP, count))
    inputs = len(next(iter(weights.values()))) if linear is not None else 0
    if inputs + 2 * count > TAGS:
        raise DeploymentError(
            f"{inputs} inputs and {count} neurons need {inputs + 2 * count} tags (one for an input, two for a neuron), "
            f"and there are {TAGS}: take fewer of either"
        )
    if not weights or not any(weight.any() for weight in weights.values()):
        raise DeploymentError(f"{listing(weights) or net}: there is no weight but 0, so that nothing can be deployed")
    core_map = np.arange(count) * (cores or needed) // count
    return MappedNetwork(
        weights,
        {name: _means(values, core_map) for name, values in by_neuron.items()},
        core_map,
        float(np.ravel(leaves[f"{prefix}Iscale"])[0]),
        prefix,
    )


def _means(by_neuron: NDArray[np.float64], core_map: NDArray[np.int64]) -> NDArray[np.float64]:
    values = np.broadcast_to(by_neuron, core_map.shape)
    return np.array([values[core_map == core].mean() for core in range(core_map.max() + 1)])


def _layers(net: Any) -> tuple[str | None, str]:
    """The path of the input layer, if there is one, and that of the neurons; paths end in a slash, or are empty.

    Raises:
        PrototypeError: it is no Rockpool module of the JAX back end.
        DeploymentError: it holds other layers, or in another order.
    """
    if not is_module(net):
        raise PrototypeError(f"net = {type(net).__name__}: expected a Rockpool JAX module, LinearJax and DynapSim")
    layers = [(path, layer, _kind(layer)) for path, layer in _leaf_modules(net)]
    kinds = [kind for *_, kind in layers]
    wanted = "DYNAP-SE2 holds a LinearJax (its inputs' weights) and a DynapSim, in this order, or a DynapSim alone"
    if strange := [path or type(layer).__name__ for path, layer, kind in layers if kind is None]:
        raise DeploymentError(f"{strange[0].rstrip('/')}: cannot be deployed; {wanted}")
    if "DynapSim" not in kinds:
        raise DeploymentError(f"{type(net).__name__}: there is no DynapSim in it; {wanted}")
    after = kinds[kinds.index("DynapSim") + 1 :]
    if "LinearJax" in after:
        path = layers[len(kinds) - len(after) + after.index("LinearJax")][0]
        raise DeploymentError(
            f"{path.rstrip('/')}: a layer behind the neurons runs off the chip; deploy the network without it, and "
            f"read out the spikes by it"
        )
    if len(kinds) > 2 or kinds.count("DynapSim") > 1:
        raise DeploymentError(
            f"{' - '.join(str(kind) for kind in kinds)}: {wanted}; write several layers as one DynapSim whose w_rec "
            f"has the weights between them"
        )
    return (layers[0][0] if len(layers) == 2 else None), layers[-1][0]


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
