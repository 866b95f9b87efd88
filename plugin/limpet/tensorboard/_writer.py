"""Event files: scalars, texts, robustness curves and sensitivities, written incrementally."""

import io
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from .._errors import LogdirError, warn_user
from ..results._robustness_curve import RobustnessCurve
from ..results._sensitivity import Sensitivity
from ._curve_summary import curve_summary
from ._event_files import SUFFIX, first_tags, own_and_foreign
from ._sensitivity_summary import sensitivity_summary
from ._session import HParamValue, experiment, session_end, session_start
from ._stock_charts import chip_histograms, margin_layout, statistic_tag

PERCENTILES = (5, 50, 95)


class CurveWriter:
    """Writes an event file of a run, beside those that lie there. Everything handed over is on disk after `flush`.

    This adds to a run: a sensitivity after training, say. To start one, use `start_run`, which sets an earlier run in
    the same directory aside.

    Args:
        logdir: the run's directory; made if need be.
        prefix: what the tags of scalars, histograms, pictures, texts and curves begin with, such as "limpet/".

    Raises:
        LogdirError: the directory cannot be made or written.
    """

    def __init__(self, logdir: str | Path, prefix: str = "") -> None:
        self.logdir = Path(logdir)
        self.prefix = prefix
        try:
            self.logdir.mkdir(parents=True, exist_ok=True)
            self._file = EventFileWriter(str(self.logdir), filename_suffix=SUFFIX)
        except OSError as error:
            raise LogdirError(
                f"tensorboard.logdir = {str(logdir)!r}: cannot be written ({error.strerror or error}); "
                f"name a directory in which you may write"
            ) from None
        self._sigmas: dict[str, list[float]] = {}  # by metric, of the curves logged
        self._yields: set[str] = set()  # metrics of which a yield was logged
        self._hparams: Mapping[str, HParamValue] | None = None
        self._foreign_tags: set[str] | None = None  # read when they are first asked for
        self._warned: set[str] = set()

    def start_session(self, step: int) -> None:
        """Say that the run starts, or goes on, at a step: readers drop what earlier files hold of it and later steps.

        Args:
            step: the first that will be logged.
        """
        start = SessionLog(status=SessionLog.START)
        self._file.add_event(Event(wall_time=time.time(), step=step, session_log=start))

    def scalar(self, tag: str, value: float, step: int, wall_time: float | None = None) -> None:
        """Log one number."""
        self._add(scalar_pb(self.prefix + tag, value), step, wall_time)

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Log a text, shown as Markdown."""
        self._tensor(tag, text_metadata.create_summary_metadata("", ""), [markdown.encode()], step)

    def hparams(self, hparams: Mapping[str, HParamValue]) -> None:
        """Log the run's hyperparameters, by which TensorBoard's HParams tab tells it from other runs.

        TensorBoard has room for one set in a directory. Where event files that Limpet did not write hold one, it is the
        user's own: then nothing is written, with a warning.

        Args:
            hparams: numbers, bools and strings by name; None for what other runs may have and this one has not.
        """
        if self._is_taken(SESSION_START_INFO_TAG, "hyperparameters"):
            return
        self._hparams = hparams
        self._add(session_start(hparams, self.logdir.as_posix()), 0)

    def curve(self, curve: RobustnessCurve, step: int, target: float | None = None) -> None:
        """Log a robustness curve: its values, statistics as scalars and histograms for each sigma, and a picture.

        Args:
            curve: the curve.
            step: training step.
            target: where given, the yield at this value is logged too.
        """
        statistics: dict[str, Iterable[float]] = {"mean": curve.mean(), "std": curve.std(), "worst": curve.worst()}
        statistics |= {f"p{percent}": curve.quantile(percent / 100) for percent in PERCENTILES}
        if target is not None:
            statistics["yield"] = [yield_.fraction for yield_ in curve.yield_at(target)]
        # TensorBoard sorts groups by name: this one, hopefully all zeros, comes last.
        groups: dict[str, Iterable[float]] = {f"robustness_{name}": values for name, values in statistics.items()}
        groups["virtual_chips_failed"] = curve.failed
        now = time.time()
        for group, values in groups.items():
            for sigma, value in zip(curve.sigmas, values, strict=True):
                self.scalar(statistic_tag(group, curve.metric, sigma), float(value), step, now)
        self.scalar(f"robustness_area/{curve.metric}", curve.area(), step, now)
        for histogram in chip_histograms(curve, self.prefix):
            self._add(histogram, step, now)
        self._add(curve_summary(curve, target, self.prefix), step, now)
        self._picture(f"robustness/{curve.metric}", f"{curve.metric} over sigma", curve, step)
        self._announce(curve, step, target is not None)

    def sensitivity(self, costs: Sensitivity, step: int, metric: str) -> None:
        """Log which leaves cost the metric how much, as `limpet.sensitivity` found it; with a picture.

        Args:
            costs: what `limpet.sensitivity` gave.
            step: training step.
            metric: name of the metric.
        """
        self._add(sensitivity_summary(costs, metric, self.prefix), step)
        self._picture(f"sensitivity/{metric}", f"what each leaf costs {metric}", costs, step)

    def flush(self) -> None:
        """Put everything on disk."""
        self._file.flush()

    def close(self, succeeded: bool = True) -> None:
        """Flush, and end the file.

        Args:
            succeeded: whether the HParams tab shows the run as a success; a run that was killed shows as unfinished.
        """
        if self._hparams is not None:
            self._add(session_end(succeeded), 0)
        self._file.close()

    def _announce(self, curve: RobustnessCurve, step: int, has_yield: bool) -> None:
        """Tell the Custom Scalars and HParams tabs of a metric when it comes up."""
        new_yield = has_yield and curve.metric not in self._yields
        if self._sigmas.get(curve.metric) == (sigmas := curve.sigmas.tolist()) and not new_yield:
            return
        self._sigmas[curve.metric] = sigmas
        self._yields |= {curve.metric} if has_yield else set()
        if not self._is_taken(CONFIG_SUMMARY_TAG, "a layout of the Custom Scalars tab"):
            self._add(margin_layout(self._sigmas, self.prefix), step)
        if self._hparams is not None:
            tags = [f"robustness_area/{metric}" for metric in self._sigmas]
            for metric in sorted(self._yields):
                tags += [statistic_tag("robustness_yield", metric, sigma) for sigma in self._sigmas[metric]]
            self._add(experiment(self._hparams, [self.prefix + tag for tag in tags]), step)

    def _is_taken(self, tag: str, what: str) -> bool:
        """Whether a foreign event file of this directory holds, among its first events, what TensorBoard has room for
        once in a run; with a warning the first time.
        """
        if self._foreign_tags is None:
            _, foreign = own_and_foreign(self.logdir)
            self._foreign_tags = {foreign_tag for path in foreign for foreign_tag in first_tags(path)}
        if tag in self._foreign_tags and tag not in self._warned:
            self._warned.add(tag)
            warn_user(
                f"tensorboard.logdir = {str(self.logdir)!r}: event files that Limpet did not write hold {what}, so "
                f"Limpet writes none; to have both, name another directory, such as '{self.logdir / 'limpet'}'",
            )
        return tag in self._foreign_tags

    def _picture(self, tag: str, description: str, drawable: Any, step: int) -> None:
        figure = drawable.plot().figure
        width, height = figure.canvas.get_width_height()
        png = io.BytesIO()
        figure.savefig(png, format="png")
        metadata = image_metadata.create_summary_metadata("", description, converted_to_tensor=True)
        self._tensor(tag, metadata, [str(width).encode(), str(height).encode(), png.getvalue()], step)

    def _tensor(self, tag: str, metadata: SummaryMetadata, content: list[bytes], step: int) -> None:
        tensor = make_tensor_proto(content)
        self._add(Summary(value=[Summary.Value(tag=self.prefix + tag, metadata=metadata, tensor=tensor)]), step)

    def _add(self, summary: Summary, step: int, wall_time: float | None = None) -> None:
        event = Event(wall_time=time.time() if wall_time is None else wall_time, step=step, summary=summary)
        self._file.add_event(event)
