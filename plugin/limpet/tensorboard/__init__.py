"""What TensorBoard shows: the event files that Limpet writes, with the tensorboard package alone (no TensorFlow)."""

from ._calibration_runs import write_calibration
from ._logged_runs import LoggedRun, logged_runs
from ._report import write_report
from ._run_directory import start_run
from ._writer import CurveWriter

__all__ = ["CurveWriter", "LoggedRun", "logged_runs", "start_run", "write_calibration", "write_report"]
