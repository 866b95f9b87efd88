"""Measuring networks on chips that training never saw; result files, tables and pictures."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy.stats import t
from tasks import Task
from tasks._task import batches_of
from ways import WAYS

import limpet

CHIP_SEEDS = {"test": 1_000, "validation": 2_000}
"""Of the chips measured; those that settings are chosen on are others."""

AS_IT_IS = "as it is"

Rows = dict[str, dict[str, Any]]


def measured(network: Any, task: Task, recipe: limpet.Recipe, split: str, chips: int) -> dict[str, Any]:
    """A network on chips, as it is and with what can be set fitted to each."""
    examples, test = task.shown(split)
    row: dict[str, Any] = {"nominal": float(task.accuracy(network, test)), "chips": {}}
    virtual = limpet.Chips(chips, seed=CHIP_SEEDS[split], progress=False)
    settings: dict[str, Any] = {"chips": virtual, "scales": [1], "batch": test}
    for name, calibrate in task.calibrations.items():
        calibration = calibrate(network, recipe, batches=batches_of(examples, 64, 20), **settings)
        row["chips"].setdefault(AS_IT_IS, of_curve(calibration.before, task.target))
        row["chips"][name] = of_curve(calibration.after, task.target)
    if not task.calibrations:
        curve = limpet.robustness_curve(task.accuracy, network, recipe, **settings)
        row["chips"][AS_IT_IS] = of_curve(curve, task.target)
    return row


def of_curve(curve: limpet.RobustnessCurve, target: float) -> dict[str, float]:
    return {
        "mean": float(curve.mean()[0]),
        "p5": float(curve.quantile(0.05)[0]),
        "worst": float(curve.worst()[0]),
        "yield": curve.yield_at(target)[0].fraction,
    }


class Results:
    """A file of rows by name and seed, which a run that is interrupted finds again.

    Raises:
        ValueError: the file holds results of other settings.
    """

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / "results.json"
        held = json.loads(self._file.read_text()) if self._file.exists() else {"settings": settings, "rows": {}}
        if held["settings"] != settings:
            raise ValueError(
                f"{self._file} holds results of other settings, {held['settings']}; name another directory by --out"
            )
        self._held = held
        self.rows: Rows = held["rows"]

    def add(self, key: str, row: dict[str, Any]) -> None:
        self.rows[key] = row
        part = self._file.with_suffix(".part")
        part.write_text(text_of(self._held))
        part.replace(self._file)  # a run that is killed leaves the old file or the new one


def text_of(held: dict[str, Any]) -> str:
    """JSON with a row on each line, of figures that are rounded to what 100 chips tell."""
    rounded = json.loads(json.dumps(held), parse_float=lambda number: round(float(number), 5))
    rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in rounded["rows"].items())
    return f'{{\n "settings": {json.dumps(held["settings"])},\n "rows": {{\n{rows}\n }}\n}}\n'


def rows_of(rows: Rows, name: str) -> list[dict[str, Any]]:
    return [row for key, row in rows.items() if key.rpartition("/")[0] == name]


def table(rows: Rows, target: float) -> str:
    """Means over seeds, and half the width of their 95% interval."""
    states = list(next(iter(rows.values()))["chips"]) if rows else [AS_IT_IS]
    what = {"mean": "mean", "p5": "5th percentile", "worst": "worst", "yield": f"at {100 * target:g}"}
    heads = ["trained", "steps", "nominal"]
    for state in states:
        first, *others = what.values()
        heads += [first if state == AS_IT_IS else f"{state}: {first}", *others]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in WAYS:
        if runs := rows_of(rows, name):
            cells = [f"{np.mean([row['steps'] for row in runs]):,.0f}", interval([row["nominal"] for row in runs])]
            cells += [interval([row["chips"][state][figure] for row in runs]) for state in states for figure in what]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def interval(values: list[float]) -> str:
    percent = 100 * np.array(values)
    if len(percent) < 2:
        return f"{percent.mean():.1f}"
    half = t.ppf(0.975, len(percent) - 1) * percent.std(ddof=1) / len(percent) ** 0.5
    return f"{percent.mean():.1f} ± {half:.1f}"


def picture(rows: Rows, title: str, path: Path) -> None:
    """Mean and worst chip of each way, as it is and calibrated."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in WAYS if rows_of(rows, name)]
    states = list(next(iter(rows.values()))["chips"])
    figure, axes = plt.subplots(figsize=(8, 0.35 * len(names) + 1.9), layout="constrained")
    for state, color, marker in zip(states, ("tab:blue", "tab:green", "tab:orange"), "os^", strict=False):
        for what, fill in (("mean", "full"), ("worst", "none")):
            values = [100 * np.mean([row["chips"][state][what] for row in rows_of(rows, name)]) for name in names]
            label = f"{state if state == AS_IT_IS else f'{state} fitted to each chip'}, {what}"
            axes.plot(values, range(len(names)), marker, color=color, fillstyle=fill, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    others = [row["chips"][AS_IT_IS]["worst"] for key, row in rows.items() if not key.startswith("standard/")]
    noise = [row["chips"][AS_IT_IS]["worst"] for row in rows_of(rows, "forward noise")]
    left = 100 * max(min(others, default=0.0), np.mean(noise) - 0.15 if noise else 0.0) - 2
    axes.set_xlim(left, 101)
    for line, name in enumerate(names):  # what lies too far to the left is written, lest the rest be squeezed
        runs = [row["chips"][AS_IT_IS] for row in rows_of(rows, name)]
        mean, worst = (100 * np.mean([run[what] for run in runs]) for what in ("mean", "worst"))
        if worst < left:
            text = f" ← worst {worst:.0f}" + (f", mean {mean:.0f}" if mean < left else "")
            axes.text(left, line + 0.3, text, va="center", color="tab:blue", fontsize="small")
    axes.set_xlabel("accuracy on chips, %")
    figure.suptitle(title, fontsize="medium")
    figure.legend(fontsize="small", loc="outside lower center", ncols=len(states))
    figure.savefig(path, dpi=100)
    plt.close(figure)
