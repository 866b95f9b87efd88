"""What TensorBoard shows: the event files that Limpet writes, with the tensorboard package alone (no TensorFlow)."""

from ._calibration_runs import write_calibration as write_calibration
from ._logged_runs import LoggedRun as LoggedRun
from ._logged_runs import logged_runs as logged_runs
from ._report import write_report as write_report
from ._run_directory import start_run as start_run
from ._writer import CurveWriter as CurveWriter
