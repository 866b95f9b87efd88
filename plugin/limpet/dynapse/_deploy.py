"""From a trained network to the one that runs on DYNAP-SE2."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from limpet import LimpetError, MetricError, PrototypeError
from limpet.checks import listing, shown
from limpet.leaves import PlainTree, adapter_of, is_real, leaves_by_path, nested
from limpet.rockpool import is_module, nominal_attributes
from limpet.typing import MetricFn

from ._bias_generator import bias_codes, bias_currents
from ._branch_currents import Quantized, by_autoencoder, by_function, checked, fitted, nearest, with_masks
from ._deployment import Deployment
from ._mapping import BRANCHES, CURRENTS, FAN_IN, MappedNetwork, mapped
from ._report import BiasCurrent, DeploymentReport, Stage

Method = Literal["least-squares", "autoencoder"]
"""How branch currents are chosen: by least squares, in a fraction of a second; or by Rockpool's autoencoder."""

Quantizer = Method | Callable[[NDArray[np.float64]], ArrayLike]
"""A method, or a function from the weights of one core to its four branch currents."""


def deploy(
    net: Any,
    params: Any = None,
    *,
    cores: int | None = None,
    quantizer: Quantizer = "least-squares",
    branch_currents: ArrayLike | None = None,
    prune: bool | int = False,
    metric_fn: MetricFn | None = None,
    batch: Any = None,
) -> Deployment:
    """The network as it would run on DYNAP-SE2, and what it became on its way there.

    In order:

    1. *mapped*: neurons are laid over cores. Neurons of a core share all bias currents: each gets their mean. Several
       layers of neurons become one population, in which the weights between them are recurrent ones; each layer has
       cores of its own where there are enough.
    2. *pruned*, if asked for: of each neuron, the 64 largest weights stay.
    3. *quantised*: a core has four branch currents, and each synapse switches some of them on. They are chosen for the
       smallest squared error of the weights, and each weight becomes the nearest sum.
    4. *rounded*: bias currents, and branch currents, to what the bias generator can give; weights to the sums of those.

    Where a chip was frozen into the network, what is deployed is the network before.

    Args:
        net: a Rockpool JAX module: LinearJax and DynapSim in turns, such as one of each, or a DynapSim alone. (Its
            capacitances and transistor constants are those of the layout, and stay as they are.)
        params: parameters trained, as the optimizer holds them; None for those in `net`.
        cores: how many of a chip's four cores to spread over; None for as few as hold the neurons, each DynapSim on
            cores of its own where four are enough for that. On fewer, layers share a core and get the mean of their
            currents; where it is more than 20% away from a layer's own, the network is refused.
        quantizer: "least-squares"; "autoencoder" for Rockpool's `autoencoder_quantization` (seconds); or a function of
            your own. It takes the weights of one core, (inputs + neurons, neurons of the core), with their signs, and
            gives what each of the core's four branches is worth, as a weight: numbers >= 0.
        branch_currents: the four currents of each core in amperes, (cores, 4), in place of those that a quantizer
            chooses: those of an earlier deployment (`.branch_currents`), after fine-tuning for it.
        prune: True keeps the 64 largest weights of each neuron, which is all it has places for; a number keeps so many
            (63, where Rockpool's allocator is to place them: at 64 it refuses what it need not). Without it, a network
            that has more is deployed as if the places were there, and its report says that it does not fit.
        metric_fn: `metric_fn(tree, batch)` as for `limpet.robustness_curve`, to be given at each stage; or None.
        batch: the second argument of the metric.

    Returns:
        A `Deployment`: the network (`.net`), its tree for metrics (`.tree`), the report (`.report`), and ways to
        measure it under the mismatch of the chip.

    Raises:
        DeploymentError: the network cannot be deployed at all, with what to change.
        LimpetError: its weights or currents hold NaN, or an argument is none of these.
        PrototypeError: it is no Rockpool module of the JAX back end, or the parameters are not its own.

    Examples:
        >>> import limpet.dynapse
        >>> from rockpool.devices.dynapse import DynapSim  # doctest: +SKIP
        >>> deployment = limpet.dynapse.deploy(DynapSim((4, 4), has_rec=True))  # doctest: +SKIP
        >>> print(deployment.report)  # doctest: +SKIP

        A quantiser of one's own: currents in the ratio 1 : 2 : 4 : 8, whose sum is the largest weight.

        >>> def binary(weights):
        ...     return abs(weights).max() / 15 * np.array([1, 2, 4, 8])
        >>> deployment = limpet.dynapse.deploy(DynapSim((4, 4), has_rec=True), quantizer=binary)  # doctest: +SKIP
    """
    if not callable(quantizer) and quantizer not in get_args(Method):
        raise LimpetError(
            f"quantizer = {shown(quantizer)}: allowed are 'least-squares' and 'autoencoder', and a function from the "
            f"weights of one core to its four branch currents"
        )
    kept = FAN_IN if prune is True else prune
    if not isinstance(kept, int) or (prune is not False and not 1 <= kept <= FAN_IN):
        raise LimpetError(f"prune = {prune!r}: allowed are True, False and a whole number from 1 to {FAN_IN}")
    if metric_fn is None and batch is not None:
        raise LimpetError("batch: is for metric_fn, which is missing")
    if params is not None and is_module(net):
        net = _with_parameters(net, params)
    trained = mapped(net, cores)
    nominal = nominal_attributes(net)
    stages = {"mapped": trained}
    if prune:
        stages["pruned"] = trained.pruned(kept)
    source = stages["pruned" if prune else "mapped"]
    if branch_currents is not None:
        quantized, stages["quantised"] = nearest(source, _given_branches(branch_currents, source, quantizer))
    elif callable(quantizer):
        quantized, stages["quantised"] = nearest(source, by_function(source, quantizer, _name_of(quantizer)))
    elif quantizer == "autoencoder":
        quantized, stages["quantised"] = by_autoencoder(source)
    else:
        quantized, stages["quantised"] = nearest(source, fitted(source))
    biases = [*_generated(source.currents), *_generated(_branch_currents(quantized, source.scale))]
    given = np.array([[bias.given for bias in biases if bias.name == name] for name in BRANCHES]).T / source.scale
    masks = quantized.masks if quantizer == "autoencoder" else nearest(source, given)[0].masks
    currents = {name: np.array([bias.given for bias in biases if bias.name == name]) for name in CURRENTS}
    deployed = replace(with_masks(source, masks, given), currents=currents)
    stages["rounded"] = deployed
    trees = {name: PlainTree().loaded(nominal, network.by_path()) for name, network in stages.items()}
    metrics = _metrics(metric_fn, {"trained": nominal, **trees}, batch)
    return Deployment(
        net=net.set_attributes(nested(deployed.by_path())),
        tree=trees["rounded"],
        trained_net=net,
        network=deployed,
        quantized=Quantized(masks, given),
        report=DeploymentReport(
            stages=(
                Stage("trained", metrics["trained"], 0.0, 0.0, *_counts(trained, trained)),
                *(
                    Stage(
                        name,
                        metrics[name],
                        _weight_error(network, trained),
                        _current_error(network, adapter_of(net).never_read),
                        *_counts(network, trained),
                    )
                    for name, network in stages.items()
                ),
            ),
            currents=tuple(biases),
            quantizer="given" if branch_currents is not None else _name_of(quantizer),
            neurons=len(deployed.core_map),
            inputs=deployed.inputs,
            cores=deployed.cores,
            layers=deployed.by_population(),
            fan_in=int(deployed.fan_in().max()),
        ),
    )


def _with_parameters(net: Any, params: Any) -> Any:
    adapter = adapter_of(net)
    adapter.require_like(net, params)
    own, given = adapter.leaves(net), leaves_by_path(params)[0]
    if stray := [path for path in given if path not in own]:
        raise PrototypeError(f"params: the network has no {listing(stray)}; it has {listing(own)}")
    if wrong := [path for path, value in given.items() if np.shape(value) != np.shape(own[path])]:
        raise PrototypeError(
            f"params: {wrong[0]} has shape {np.shape(given[wrong[0]])}, in the network {np.shape(own[wrong[0]])}"
        )
    return net.set_attributes(params)


def _name_of(quantizer: Quantizer) -> str:
    return quantizer if isinstance(quantizer, str) else getattr(quantizer, "__name__", type(quantizer).__name__)


def _given_branches(given: ArrayLike, network: MappedNetwork, quantizer: Quantizer) -> NDArray[np.float64]:
    """The branch currents that were given in amperes, as weights."""
    if quantizer != "least-squares":
        raise LimpetError(
            f"branch_currents: quantizer = {_name_of(quantizer)!r} chooses them itself; give one of the two"
        )
    largest = [np.abs(network.of_core(core)).max() * network.scale for core in range(network.cores)]
    return checked(given, largest, "branch_currents", "amperes") / network.scale


def _generated(currents: Mapping[str, NDArray[np.float64]]) -> list[BiasCurrent]:
    """Currents of each core, as the bias generator gives them."""
    biases = []
    for name, by_core in currents.items():
        table = bias_currents(name)
        codes, given = bias_codes(name, by_core)
        for core, wanted in enumerate(by_core):
            coarse, fine = codes[core]
            ends = float(table.min()), float(table.max())
            biases.append(BiasCurrent(name, core, float(wanted), float(given[core]), int(coarse), int(fine), ends))
    return biases


def _branch_currents(quantized: Quantized, scale: float) -> dict[str, NDArray[np.float64]]:
    return {name: quantized.currents[:, branch] * scale for branch, name in enumerate(BRANCHES)}


def _metrics(metric_fn: MetricFn | None, trees: Mapping[str, Any], batch: Any) -> dict[str, dict[str, float]]:
    if metric_fn is None:
        return {name: {} for name in trees}
    name = getattr(metric_fn, "__name__", "metric").replace("<lambda>", "metric")

    @jax.jit
    def compiled(tree: Any) -> Mapping[str, Any]:
        found = metric_fn(tree, batch)
        return found if isinstance(found, Mapping) else {name: found}

    metrics = {}
    for stage, tree in trees.items():
        # Real numbers of one type, as a stage's weights are, so that one compiled function serves all.
        narrow = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32) if is_real(leaf) else leaf, tree)
        try:
            metrics[stage] = {key: float(value) for key, value in compiled(narrow).items()}
        except TypeError as error:
            raise MetricError(f"metric_fn '{name}' gives no number, and no dict of numbers ({error})") from None
    return metrics


def _weight_error(network: MappedNetwork, trained: MappedNetwork) -> float:
    change = network.matrix - trained.matrix
    return float(np.sqrt(np.sum(change**2) / np.sum(trained.matrix**2)))


def _current_error(network: MappedNetwork, never_read: Callable[[str], bool]) -> float:
    """The largest relative change of a current that is above 0 and that the simulator reads."""
    changes = [
        np.abs(network.currents[name][network.core_map] / np.where(before > 0, before, np.inf) - (before > 0)).max()
        for name, before in network.trained_currents.items()
        if not never_read(name)
    ]
    return float(max(changes))


def _counts(network: MappedNetwork, trained: MappedNetwork) -> tuple[int, int, int]:
    """How many weights are not 0, how many no longer are, and how many neurons have too many."""
    now, before = network.matrix != 0, trained.matrix != 0
    return int(now.sum()), int((before & ~now).sum()), int((network.fan_in() > FAN_IN).sum())
