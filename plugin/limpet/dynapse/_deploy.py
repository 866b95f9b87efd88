"""From a trained network to the one that runs on DYNAP-SE2."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from limpet import LimpetError, MetricError, PrototypeError
from limpet.checks import listing, one_of
from limpet.leaves import PlainTree, adapter_of, is_real, leaves_by_path, nested
from limpet.rockpool import is_module, nominal_attributes
from limpet.typing import MetricFn

from ._bias_generator import bias_codes, bias_currents
from ._branch_currents import Quantized, by_autoencoder, fitted, nearest, weights_of
from ._deployment import Deployment
from ._mapping import BRANCHES, CURRENTS, FAN_IN, MappedNetwork, mapped
from ._report import BiasCurrent, DeploymentReport, Stage

Quantizer = Literal["least-squares", "autoencoder"]
"""Who chooses the branch currents: least squares, in a fraction of a second; or Rockpool's autoencoder."""


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

    1. *mapped*: neurons are laid over cores. Neurons of a core share all bias currents: each gets their mean.
    2. *pruned*, if asked for: of each neuron, the 64 largest weights stay.
    3. *quantised*: a core has four branch currents, and each synapse switches some of them on. They are chosen for the
       smallest squared error of the weights, and each weight becomes the nearest sum.
    4. *rounded*: bias currents, and branch currents, to what the bias generator can give; weights to the sums of those.

    Where a chip was frozen into the network, what is deployed is the network before.

    Args:
        net: a Rockpool JAX module: a LinearJax and a DynapSim, or a DynapSim alone. (Its capacitances and transistor
            constants are those of the layout, and stay as they are.)
        params: parameters trained, as the optimizer holds them; None for those in `net`.
        cores: how many of a chip's four cores to spread over; None for as few as hold the neurons.
        quantizer: "least-squares", or "autoencoder" for Rockpool's `autoencoder_quantization` (seconds).
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
    """
    one_of("quantizer", quantizer, get_args(Quantizer))
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
        wanted = _checked_branches(branch_currents, source, quantizer) / source.scale
        quantized, stages["quantised"] = nearest(source, wanted)
    elif quantizer == "autoencoder":
        quantized, stages["quantised"] = by_autoencoder(source)
    else:
        quantized, stages["quantised"] = nearest(source, fitted(source))
    biases = [*_generated(source.currents), *_generated(_branch_currents(quantized, source.scale))]
    given = np.array([[bias.given for bias in biases if bias.name == name] for name in BRANCHES]).T / source.scale
    masks = quantized.masks if quantizer == "autoencoder" else nearest(source, given)[0].masks
    currents = {name: np.array([bias.given for bias in biases if bias.name == name]) for name in CURRENTS}
    deployed = replace(source.with_weights(weights_of(source, masks, given)), currents=currents)
    stages["rounded"] = deployed
    trees = {name: PlainTree().loaded(nominal, network.by_neuron()) for name, network in stages.items()}
    metrics = _metrics(metric_fn, {"trained": nominal, **trees}, batch)
    leaves = leaves_by_path(nominal)[0]
    by_neuron = {name: np.asarray(leaves[trained.prefix + name]) for name in CURRENTS}
    return Deployment(
        net=net.set_attributes(nested(deployed.by_neuron())),
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
                        _current_error(network, by_neuron, adapter_of(net).never_read),
                        *_counts(network, trained),
                    )
                    for name, network in stages.items()
                ),
            ),
            currents=tuple(biases),
            quantizer=quantizer if branch_currents is None else "given",
            neurons=len(deployed.core_map),
            inputs=deployed.inputs,
            cores=deployed.cores,
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


def _checked_branches(given: ArrayLike, network: MappedNetwork, quantizer: Quantizer) -> NDArray[np.float64]:
    currents = np.asarray(given, float)
    if quantizer != "least-squares":
        raise LimpetError(f"branch_currents: quantizer = {quantizer!r} chooses them itself; give one of the two")
    if currents.shape != (network.cores, len(BRANCHES)) or not (np.isfinite(currents) & (currents >= 0)).all():
        raise LimpetError(
            f"branch_currents: allowed are amperes, finite and >= 0, of shape ({network.cores}, {len(BRANCHES)}); got "
            f"shape {currents.shape}"
        )
    return currents


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
    now, before = (np.concatenate([*of.weights.values()]) for of in (network, trained))
    return float(np.sqrt(np.mean((now - before) ** 2) / np.mean(before**2)))


def _current_error(
    network: MappedNetwork, by_neuron: Mapping[str, NDArray[Any]], never_read: Callable[[str], bool]
) -> float:
    """The largest relative change of a current that is above 0 and that the simulator reads."""
    changes = [
        np.abs(network.currents[name][network.core_map] / np.where(before > 0, before, np.inf) - (before > 0)).max()
        for name, before in by_neuron.items()
        if not never_read(name)
    ]
    return float(max(changes))


def _counts(network: MappedNetwork, trained: MappedNetwork) -> tuple[int, int, int]:
    """How many weights are not 0, how many no longer are, and how many neurons have too many."""
    now, before = (np.concatenate([*of.weights.values()]) != 0 for of in (network, trained))
    return int(now.sum()), int((before & ~now).sum()), int((network.fan_in() > FAN_IN).sum())
