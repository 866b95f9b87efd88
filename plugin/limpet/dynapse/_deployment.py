"""A network that was deployed: what it is, and how it does on chips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limpet import (
    DeploymentError,
    Gaussian,
    Hardware,
    Limits,
    LimpetError,
    Part,
    RobustnessCurve,
    StrengthError,
    SynapseBranches,
    robustness_curve,
)
from limpet.deviations import sigma_of
from limpet.leaves import selection
from limpet.rockpool import imported, nominal_attributes, quietly
from limpet.typing import ScalarMetric

from ._bias_generator import DEVICE_NAMES
from ._branch_currents import Quantized
from ._costs import DeploymentCosts
from ._mapping import BRANCHES, MappedNetwork
from ._report import DeploymentReport


@dataclass(frozen=True, eq=False)
class Deployment:
    """What `limpet.dynapse.deploy` gives.

    Attributes:
        net: the network as it runs on the chip, a copy of the trained one with other weights and bias currents.
        tree: its attributes, as a metric takes them.
        report: what became of it at each stage.
        trained_net: the network as it was trained, before it was deployed.
        network: the weights, bias currents and cores that the chip is set to.
        quantized: masks of the synapses, and branch currents.
    """

    net: Any
    tree: Any
    report: DeploymentReport
    trained_net: Any
    network: MappedNetwork
    quantized: Quantized

    @property
    def core_map(self) -> tuple[int, ...]:
        """The core of each neuron, as `limpet.Shared(groups=...)` takes it for what a core has in common.

        Of a network of several DynapSim layers, the neurons of all of them, in order; see `core_maps`.
        """
        return tuple(int(core) for core in self.network.core_map)

    @property
    def core_maps(self) -> dict[str, tuple[int, ...]]:
        """The core of each neuron of each DynapSim, by the layer's path ("" for a DynapSim alone)."""
        return self.network.by_population()

    @property
    def branch_currents(self) -> NDArray[np.float64]:
        """The four branch currents of each core in amperes, (cores, 4), as the bias generator gives them."""
        return self.quantized.currents * self.network.scale

    def hardware(
        self, hardware: Hardware | None = None, *, spread: float | None = None, core_spread: float = 0.0
    ) -> Hardware:
        """What deviates on the chip, once the network is deployed: mismatch where it falls on silicon.

        All weights deviate by the four branch currents of each synapse, within the limits that the hardware gives them;
        all else as the hardware of the trained network says. Curves and `limpet.freeze` take it with `.tree` and
        `.net`; training takes it to fine-tune the deployed network: weights are then rounded to sums of the branch
        currents inside the step.

        Args:
            hardware: the hardware of the trained network; None: all of Rockpool's frozen attributes and branch currents
                deviate by 10%, the first Gaussian.
            spread: relative standard deviation of a branch current; None: the sigma that the hardware has for weights.
            core_spread: relative standard deviation of what a core's synapses have in common, see
                `limpet.SynapseBranches`.

        Raises:
            StrengthError: the hardware has no one sigma for the weights, and no spread is given.
            LimpetError: another argument is none of these.
        """
        hardware = _checked(hardware)
        parts: dict[str, Part] = {}
        sigmas: set[float | None] = set()
        limits: set[Limits | None] = set()
        for name, part in hardware.parts.items():
            chosen = [path for path, selected in selection(part.prototype(self.trained_net)).items() if selected]
            others = [path for path in chosen if path not in self.network.blocks]
            if len(others) < len(chosen):
                if part.product is not None:
                    raise LimpetError(
                        f"hardware.{name}.product: synapses of DYNAP-SE2 add currents, which no converter converts; "
                        f"leave the product out"
                    )
                sigmas.add(sigma_of(part.deviation))
                limits.add(part.limits)
            if others:
                parts[name] = part if len(others) == len(chosen) else replace(part, leaves=others)
        if spread is None:
            if len(sigmas) != 1 or None in sigmas:
                raise StrengthError(
                    "spread: missing; the hardware has no one relative standard deviation for the weights that the "
                    "branch currents could have"
                )
            (spread,) = sigmas
        if len(limits) > 1:
            raise LimpetError("hardware: its parts give weights several limits, and a core's synapses have one kind")
        # Under the name that the weights had, where they had a part of their own.
        name = next((name for name in hardware.parts if name not in parts), "synapses")
        return Hardware({**dict(self._synapses(name, spread, core_spread, *limits)), **parts})

    def _synapses(
        self, name: str, spread: float | None, core_spread: float, limits: Limits | None = None
    ) -> Iterator[tuple[str, Part]]:
        """The part of each layer's weights, which has the cores of its neurons."""
        network = self.network
        several = len(network.populations) > 1
        for prefix, own in network.populations.items():
            branches = SynapseBranches(
                spread=spread,  # pyright: ignore[reportArgumentType]
                currents=tuple(tuple(map(float, core)) for core in self.quantized.currents),
                cores=self.core_map[own],
                core_spread=core_spread,
            )
            weights = [path for path, (_, columns) in network.blocks.items() if columns == own]
            yield f"{name}-{prefix.rstrip('/')}" if several else name, Part(weights, branches, limits)

    def curve(
        self,
        metric_fn: ScalarMetric,
        hardware: Hardware | None = None,
        *,
        scales: Sequence[float],
        spread: float | None = None,
        core_spread: float = 0.0,
        **options: Any,
    ) -> RobustnessCurve:
        """The robustness curve of the deployed network, with mismatch on its branch currents.

        Args:
            metric_fn: `metric_fn(tree, batch)`, see `limpet.robustness_curve`; it gives one number.
            hardware: the hardware of the trained network; None for the default of `hardware`.
            scales: multiples of the mismatch. Where all parts of the hardware have one sigma, which branch currents
                then have as well, the curve is one over sigma.
            spread: the spread of a branch current, as for `hardware`.
            core_spread: the spread that a core's synapses have in common, as for `hardware`.
            **options: further arguments of `limpet.robustness_curve`: chips, batch, condition and the like.

        Raises:
            MetricError: the metric gives several numbers; or what `limpet.robustness_curve` raises.
        """
        hardware = _checked(hardware)
        on_chip = self.hardware(hardware, spread=spread, core_spread=core_spread)
        curve = robustness_curve(metric_fn, self.tree, on_chip.on(self.net), scales=scales, **options)
        sigma = hardware.on(self.trained_net).shared_sigma
        if spread is not None or sigma is None:
            return curve if spread is not None else replace(curve, sigmas=tuple(scales), axis="scale")
        # 1.5 * 0.1 is 0.15, not 0.15000000000000002.
        return replace(curve, sigmas=tuple(float(f"{scale * sigma:.12g}") for scale in scales), axis="sigma")

    def costs(
        self,
        metric_fn: ScalarMetric,
        hardware: Hardware | None = None,
        *,
        scales: Sequence[float] = (0.0, 1.0),
        spread: float | None = None,
        core_spread: float = 0.0,
        **options: Any,
    ) -> DeploymentCosts:
        """What quantisation costs, what mismatch costs, and what both do: in one table.

        The trained network and the deployed one are measured on as many virtual chips each. (Their weights are not off
        by the same numbers: four branch currents of a synapse deviate where one weight did.)

        Args:
            metric_fn: the metric, `metric_fn(tree, batch)`, as `curve` takes it.
            hardware: the hardware of the trained network, as for `curve`.
            scales: the scales to measure at, 0 among them, by which quantisation alone is told.
            spread: the spread of a branch current, as for `hardware`.
            core_spread: the spread that a core's synapses have in common, as for `hardware`.
            **options: further arguments of `limpet.robustness_curve`: chips, batch, condition and the like.

        Raises:
            StrengthError: scales do not hold 0 and another one.
            MetricError: see `curve`.
        """
        if 0 not in scales or len(set(scales)) < 2:
            raise StrengthError(
                f"scales = {list(scales)}: give 0, for what quantisation costs alone, and one or more others"
            )
        hardware, net = _checked(hardware), self.trained_net
        trained = robustness_curve(metric_fn, nominal_attributes(net), hardware.on(net), scales=scales, **options)
        deployed = self.curve(metric_fn, hardware, scales=scales, spread=spread, core_spread=core_spread, **options)
        return DeploymentCosts(trained, deployed)

    def specification(self) -> dict[str, Any]:
        """The network as Rockpool's `config_from_specification` takes it: masks, signs, and currents by core.

        Several layers are one population in it, in their order: the weights from one to the next are among the
        recurrent ones. In Rockpool's simulation, recurrent spikes arrive one time step after they were sent, spikes
        through a LinearJax in the same step. So in the simulation of the specification each layer is one time step
        later than the layer before.
        """
        network = self.network
        own = [network.core_map == core for core in range(network.cores)]
        by_core: dict[str, Any] = {}
        for kind, values in (("weights", self.quantized.masks), ("sign", np.sign(network.matrix).astype(int))):
            ends = zip(("in", "rec"), np.split(values, [network.inputs]), strict=True)
            for end, rows in ends:
                by_core[f"{kind}_{end}"] = [np.where(columns, rows, 0) for columns in own] if len(rows) else None
        branches = self.branch_currents.T
        return {
            "n_cluster": network.cores,
            "core_map": network.core_map,
            "Iscale": network.scale,
            "dt": network.dt,
            **by_core,
            **{name: [float(current) for current in values] for name, values in network.currents.items()},
            **{name: [float(current) for current in row] for name, row in zip(BRANCHES, branches, strict=True)},
        }

    def configuration(self) -> dict[str, Any]:
        """The chip's configuration, as Rockpool's `config_from_specification` builds it, compared with this deployment.

        It needs `samna`, the software of the chip's makers, and nothing else here does.

        Returns:
            "config" and "input_channel_map", what one hands to samna.

        Raises:
            LimpetError: samna is not installed.
            DeploymentError: Rockpool cannot place the synapses, or the configuration has other ones, or other values of
                the bias generator.
        """
        builder = imported("rockpool.devices.dynapse.hardware.config.from_spec")
        if not builder.SAMNA_AVAILABLE:
            raise LimpetError("samna is not installed: only the configuration needs it; `.specification()` does not")
        with quietly():
            try:
                built = builder.config_from_specification(**self.specification())
            except imported("rockpool.typehints").DRCError as error:
                raise DeploymentError(
                    f"Rockpool's allocator: {error} It takes 63 inputs of a neuron, and a 64th only from the last row: "
                    f"deploy with prune=63"
                ) from None
        cores = [core for chip in built["config"].chips for core in chip.cores]
        for current in self.report.currents:
            for device in DEVICE_NAMES[current.name]:
                parameter = cores[current.core].parameters[device]
                codes = parameter.coarse_value, parameter.fine_value
                if codes != (current.coarse, current.fine):
                    raise DeploymentError(
                        f"{device} of core {current.core}: samna's configuration has coarse and fine values {codes}, "
                        f"the deployment {(current.coarse, current.fine)}"
                    )
        held = sum(any(synapse.weight) for core in cores for neuron in core.neurons for synapse in neuron.synapses)
        if held != self.report.stages[-1].synapses:
            raise DeploymentError(
                f"samna's configuration has {held} synapses, the deployment {self.report.stages[-1].synapses}"
            )
        return built


def _checked(hardware: Any) -> Hardware:
    """The hardware of the trained network; by default that of Rockpool's "30%", which is a sigma of 10%."""
    if hardware is None:
        return Hardware(weights=Part("dynapse-weights", Gaussian(0.1)), currents=Part("dynapse-frozen", Gaussian(0.1)))
    if not isinstance(hardware, Hardware):
        raise LimpetError(f"hardware = {hardware!r}: give a limpet.Hardware, or None for a sigma of 10%")
    return hardware
