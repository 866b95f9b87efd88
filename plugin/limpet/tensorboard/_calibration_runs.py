"""A calibration in the tab: before and after as two runs, whose curves stand in one chart, paired chip by chip."""

from collections.abc import Mapping
from pathlib import Path

from limpet import Calibration, LogdirError, RobustnessCurve

from ._run_directory import start_run

BEFORE, AFTER = "before calibration", "after calibration"


def write_calibration(
    logdir: str | Path,
    calibrations: Calibration[RobustnessCurve] | Mapping[str, Calibration[RobustnessCurve]],
    *,
    step: int = 0,
    target: float | Mapping[str, float] | None = None,
) -> None:
    """Log the curves of virtual chips before and after they were calibrated.

    They become two runs, `<logdir>/before calibration` and `<logdir>/after calibration`, which the Robustness tab,
    `limpet compare` and `limpet gate` take as they take any others. Earlier runs there are set aside.

    Args:
        logdir: the directory of the two runs.
        calibrations: the result of `limpet.calibrate`, or the results of `limpet.calibrations` by metric name.
        step: the training step under which they are logged.
        target: the target of the yield; by metric name where there are several.

    Raises:
        LogdirError: the directory cannot be written, or the calibration is of measured chips, which have no curve.
    """
    each = calibrations.values() if isinstance(calibrations, Mapping) else [calibrations]
    if not all(isinstance(calibration.before, RobustnessCurve) for calibration in each):
        raise LogdirError(f"{logdir}: measured chips have no curve over strength, so that there is nothing to log")
    for name in (BEFORE, AFTER):
        writer = start_run(Path(logdir) / name)
        try:
            for calibration in each:
                curve = calibration.before if name == BEFORE else calibration.after
                of_metric = target.get(curve.metric) if isinstance(target, Mapping) else target
                writer.curve(curve, step, of_metric)
            fitted = ", ".join(next(iter(each)).given)
            counts = f"{next(iter(each)).samples} examples, {next(iter(each)).steps} steps"
            writer.text("limpet/calibration", f"{name}; each chip is given {fitted}, from {counts}", step)
        finally:
            writer.close()
