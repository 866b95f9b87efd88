"""What deployment costs a network: quantisation, mismatch, and both."""

from dataclasses import dataclass
from typing import Any

from limpet import RobustnessCurve

from ._report import aligned


@dataclass(frozen=True)
class DeploymentCosts:
    """The trained network and the deployed one, without mismatch and with it; prints as a table.

    Attributes:
        trained: the curve of the network as it was trained, under the mismatch of the hardware.
        deployed: the curve of the network as it was deployed, with the mismatch on branch currents.
    """

    trained: RobustnessCurve
    deployed: RobustnessCurve

    def rows(self) -> list[dict[str, Any]]:
        """A row for each strength: means and 5th percentiles of both networks (of a loss, 95th), and what it costs.

        "quantisation" is what the metric loses from the trained network to the deployed one without mismatch;
        "mismatch" what the trained one loses to mismatch; "both" what is lost from the trained network without mismatch
        to the deployed one with it. Positive numbers are losses, in the metric's unit.
        """
        sign = 1 if self.trained.higher_is_better else -1
        tail = 0.05 if self.trained.higher_is_better else 0.95
        before, after = self.trained.mean(), self.deployed.mean()
        clean = int((self.trained.sigmas == 0).argmax())
        return [
            {
                "strength": self.trained.place(strength),
                "trained": float(before[index]),
                "trained_tail": float(self.trained.quantile(tail)[index]),
                "deployed": float(after[index]),
                "deployed_tail": float(self.deployed.quantile(tail)[index]),
                "quantisation": float(sign * (before[clean] - after[clean])),
                "mismatch": float(sign * (before[clean] - before[index])),
                "both": float(sign * (before[clean] - after[index])),
            }
            for index, strength in enumerate(self.trained.sigmas.tolist())
        ]

    def __str__(self) -> str:
        percentile = "5th percentile" if self.trained.higher_is_better else "95th percentile"
        headers = [
            "mismatch",
            "trained",
            percentile,
            "deployed",
            percentile,
            "quantisation costs",
            "mismatch costs",
            "both cost",
        ]
        keys = ("trained", "trained_tail", "deployed", "deployed_tail", "quantisation", "mismatch", "both")
        rows = [[row["strength"], *(f"{row[key]:.4f}" for key in keys)] for row in self.rows()]
        chips = self.trained.values.shape[-1]
        title = f"{self.trained.metric} on {chips} virtual chips, as trained and as deployed"
        return "\n".join([title, *aligned(headers, rows)])
