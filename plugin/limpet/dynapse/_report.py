"""What becomes of a network on its way to the chip, stage by stage."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from limpet.files import write_text


@dataclass(frozen=True)
class Stage:
    """The network after one step of deployment.

    Attributes:
        name: "trained", "mapped", "pruned", "quantised" or "rounded".
        metrics: what the metric gives of it, by name, without mismatch; empty where there is none.
        weight_error: root mean square of the change of its weights since training, relative to that of the weights.
        current_error: the largest relative change of a neuron's bias current since training.
        synapses: how many weights are not 0.
        zeroed: how many were not 0 when it was trained, and are now.
        over_fan_in: how many neurons have more inputs than 64.
    """

    name: str
    metrics: Mapping[str, float]
    weight_error: float
    current_error: float
    synapses: int
    zeroed: int
    over_fan_in: int


@dataclass(frozen=True)
class BiasCurrent:
    """One current of one core, as the bias generator gives it.

    Attributes:
        name: the name that DynapSim gives it; "Iw_0" to "Iw_3" are those of weights.
        core: the number of the core, from 0 to 3.
        wanted: the current that the network asks for, in amperes.
        given: the current that the generator gives, in amperes.
        coarse: the coarse value of the generator, 0 to 5.
        fine: the fine value of the generator, 0 to 255.
        range: the smallest and the largest current of the generator.
    """

    name: str
    core: int
    wanted: float
    given: float
    coarse: int
    fine: int
    range: tuple[float, float]

    @property
    def error(self) -> float:
        """The relative change; infinite where 0 was wanted."""
        return self.given / self.wanted - 1 if self.wanted else float("inf")

    @property
    def out_of_range(self) -> bool:
        return not self.range[0] <= self.wanted <= self.range[1]


@dataclass(frozen=True)
class DeploymentReport:
    """What `limpet.dynapse.deploy` did to a network; prints as text.

    Attributes:
        stages: the network after each step, in order.
        currents: every bias current and branch current of every core.
        quantizer: the method by which the branch currents were chosen, or the name of the function that chose them;
            "given" where they were given.
        neurons: the number of neurons of all layers together.
        inputs: the number of inputs from outside of the chip.
        cores: the number of cores in use.
        layers: the core of each neuron of each DynapSim, by the layer's path.
        fan_in: the largest number of inputs that a neuron has, as deployed.
    """

    stages: tuple[Stage, ...]
    currents: tuple[BiasCurrent, ...]
    quantizer: str
    neurons: int
    inputs: int
    cores: int
    layers: Mapping[str, tuple[int, ...]]
    fan_in: int

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the network does not fit on the chip; empty where it does."""
        over = self.stages[-1].over_fan_in
        if not over:
            return ()
        return (
            f"{over} of {self.neurons} neurons have more than 64 inputs, up to {self.fan_in}: train with fewer, or "
            f"deploy with prune=True (--prune), which keeps the 64 largest weights of each",
        )

    @property
    def fits(self) -> bool:
        """Whether the chip can hold the network."""
        return not self.problems

    @property
    def warnings(self) -> tuple[str, ...]:
        """Currents that the bias generator cannot give."""
        return tuple(
            f"{current.name} of core {current.core}: {current.wanted:.3g} A is outside of the bias generator's "
            f"{current.range[0]:.3g} to {current.range[1]:.3g} A; it gives {current.given:.3g} A"
            for current in self.currents
            if current.out_of_range
        )

    def plain(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        said = {"fits": self.fits, "problems": list(self.problems), "warnings": list(self.warnings)}
        currents = [asdict(current) | {"out_of_range": current.out_of_range} for current in self.currents]
        return said | asdict(self) | {"currents": currents}

    def stage_table(self) -> tuple[list[str], list[list[str]]]:
        """Headers and rows: a row for each stage."""
        names = list(self.stages[0].metrics)
        headers = ["stage", *names, "weight error", "current error", "synapses", "became 0", "over 64 inputs"]
        rows = [
            [
                stage.name,
                *(f"{stage.metrics[name]:.4g}" for name in names),
                f"{stage.weight_error:.1%}",
                f"{stage.current_error:.1%}",
                f"{stage.synapses}",
                f"{stage.zeroed}",
                f"{stage.over_fan_in}",
            ]
            for stage in self.stages
        ]
        return headers, rows

    def current_table(self) -> tuple[list[str], list[list[str]]]:
        """Headers and rows: a row for each current of each core."""
        rows = [
            [
                current.name,
                f"{current.core}",
                f"{current.wanted:.4g}",
                f"{current.given:.4g}",
                f"{current.coarse}, {current.fine}",
                f"{current.error:+.1%}" if current.wanted else "",
                "out of range" if current.out_of_range else "",
            ]
            for current in self.currents
        ]
        return ["current", "core", "wanted (A)", "given (A)", "coarse, fine", "change", ""], rows

    def headline(self) -> str:
        """The result in a line."""
        verdict = "fits on" if self.fits else "does not fit on"
        cores = f"{self.cores} core{'s' * (self.cores != 1)}"
        if len(self.layers) > 1:
            cores += "".join(
                f", {layer} on {' and '.join(map(str, sorted(set(own))))}" for layer, own in self.layers.items()
            )
        return (
            f"{self.neurons} neurons with {self.inputs} inputs: the network {verdict} DYNAP-SE2 ({cores}, at most "
            f"{self.fan_in} inputs a neuron)"
        )

    def __str__(self) -> str:
        lines = [self.headline(), *(f"problem: {problem}" for problem in self.problems), ""]
        for headers, rows in (self.stage_table(), self.current_table()):
            lines += [*aligned(headers, rows), ""]
        return "\n".join([*lines, *self.warnings]).rstrip()

    def write_page(self, path: str) -> None:
        """Write the report as one HTML file.

        Raises:
            LogdirError: it cannot be written.
        """
        from ._page import page

        write_text(path, page(self))


def aligned(headers: list[str], rows: list[list[str]]) -> list[str]:
    """A table in lines: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if index == 0 else f"{cell:>{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (headers, *rows)
    ]
