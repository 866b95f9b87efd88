"""Event files: scalars, texts, robustness curves, sensitivities and counts beyond limits, written incrementally."""

import io
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.util.tensor_util import make_tensor_proto

from limpet import LogdirError, RobustnessCurve, Sensitivity
from limpet.checks import warn_user
from limpet.files import path_of
from limpet.results import BeyondLimits

from ._event_files import first_tags, own_and_foreign
from ._growing_file import GrowingFile
from ._stock_charts import HParamValue, chip_histograms, margin_layout, places_of, session_end, statistic_tag
from ._summaries import curve_summary, limits_summary, sensitivity_summary

PERCENTILES = (5, 50, 95)


class CurveWriter:
    """Writes an event file of a run, beside those that lie there.

    When a call returns, what it was given is on disk. A call that fails, because the disk is full, say, or that is
    interrupted, writes nothing, and the file stays readable.
    This adds to a run: a sensitivity after training, say. To start one, use `start_run`, which sets an earlier run in
    the same directory aside.

    Args:
        logdir: the run's directory; made if need be.
        prefix: what the tags of scalars, histograms, pictures, texts and curves begin with, such as "limpet/".
        run: the name of the run; None for that which the directory holds, or a new one.

    Attributes:
        run: the name of the run, which all its event files say.

    Raises:
        LogdirError: the directory cannot be made or written. Every method that writes raises this, too.
    """

    def __init__(self, logdir: str | Path, prefix: str = "", run: str | None = None) -> None:
        self.logdir = path_of(logdir)
        self.prefix = prefix
        with self._telling():
            self.logdir.mkdir(parents=True, exist_ok=True)
            self._file = GrowingFile(self.logdir, run)
        self.run = self._file.run
        self._places: dict[str, list[str]] = {}  # by metric, of the curves logged
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
        self._write([Event(wall_time=time.time(), step=step, session_log=start)])

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Log one number."""
        self._add(self._scalar(tag, value), step)

    def scalars(self, series: Mapping[str, Iterable[float]], steps: Iterable[int], wall_time: float) -> None:
        """Log the numbers of some steps: all of them or, if this is an error or interrupted, none.

        Args:
            series: a number for each step, by tag.
            steps: the numbers of the training steps, in rising order.
            wall_time: the time at which they were done, in seconds since 1970.
        """
        rows = zip(steps, *series.values(), strict=True)
        self._write(
            _event(self._scalar(tag, value), step, wall_time)
            for step, *values in rows
            for tag, value in zip(series, values, strict=True)
        )

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Log a text, shown as Markdown."""
        self._add(self._tensor(tag, text_metadata.create_summary_metadata("", ""), [markdown.encode()]), step)

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
        # Sessions of one name are averaged.
        known = {key: value for key, value in hparams.items() if value is not None}
        self._add(hparams_pb(known, trial_id=self.logdir.as_posix()), 0)

    def curve(self, curve: RobustnessCurve, step: int, target: float | None = None) -> None:
        """Log a robustness curve: its values, statistics as scalars and histograms for each sigma, and a picture.

        Args:
            curve: the curve to be logged under its own metric's name.
            step: the training step after which it was measured.
            target: where given, the yield at this value is logged too.
        """
        statistics: dict[str, Iterable[float]] = {"mean": curve.mean(), "std": curve.std(), "worst": curve.worst()}
        statistics |= {f"p{percent}": curve.quantile(percent / 100) for percent in PERCENTILES}
        if target is not None:
            statistics["yield"] = [yield_.fraction for yield_ in curve.yield_at(target)]
        # TensorBoard sorts groups by name: this one, hopefully all zeros, comes last.
        groups: dict[str, Iterable[float]] = {f"robustness_{name}": values for name, values in statistics.items()}
        groups["virtual_chips_failed"] = curve.failed
        # Everything is made before anything is written: what is interrupted, is made and written again as a whole.
        summaries = [
            self._scalar(statistic_tag(group, curve.metric, place), float(value))
            for group, values in groups.items()
            for place, value in zip(places_of(curve), values, strict=True)
        ]
        summaries.append(self._scalar(f"robustness_area/{curve.metric}", curve.area()))
        summaries += chip_histograms(curve, self.prefix)
        summaries.append(curve_summary(curve, target, self.prefix))
        summaries.append(self._picture(f"robustness/{curve.metric}", f"{curve.metric} over {curve.axis}", curve, 4.0))
        announced = self._places | {curve.metric: places_of(curve)}
        with_yield = self._yields | ({curve.metric} if target is not None else set())
        if (announced, with_yield) != (self._places, self._yields):
            summaries += self._announcements(announced, with_yield)
        self._add_all(summaries, step)
        self._places, self._yields = announced, with_yield

    def sensitivity(self, costs: Sensitivity, step: int, metric: str) -> None:
        """Log which leaves cost the metric how much, as `limpet.sensitivity` found it; with a picture.

        Args:
            costs: the result of `limpet.sensitivity`, with all groups of leaves.
            step: the training step after which it was measured.
            metric: the name of the metric that was asked for.
        """
        picture = self._picture(
            f"sensitivity/{metric}", f"what each leaf costs {metric}", costs, 1.2 + 0.28 * len(costs.groups)
        )
        self._add_all([sensitivity_summary(costs, metric, self.prefix), picture], step)

    def limits(self, beyond: BeyondLimits, step: int) -> None:
        """Log how many values were beyond their limits, by leaf.

        Args:
            beyond: the counts of values beyond their limits, by leaf.
            step: the training step after which it was measured.
        """
        self._add(limits_summary(beyond, self.prefix), step)

    def flush(self) -> None:
        """Make sure that what was handed over is on disk: that nobody has removed the file."""
        with self._telling():
            self._file.check()

    def abandon(self) -> None:
        """End the file as it is, without another word; no error follows an error."""
        self._file.abandon()

    def close(self, succeeded: bool = True) -> None:
        """End the file.

        Args:
            succeeded: whether the HParams tab shows the run as a success; a run that was killed shows as unfinished.
        """
        try:
            if self._hparams is not None:
                self._add(session_end(succeeded), 0)
            with self._telling():
                self._file.close()
        finally:
            self._file.abandon()

    def _announcements(self, places: Mapping[str, list[str]], with_yield: set[str]) -> Iterator[Summary]:
        """What tells the Custom Scalars and HParams tabs of the metrics that there are."""
        if not self._is_taken(CONFIG_SUMMARY_TAG, "a layout of the Custom Scalars tab"):
            yield margin_layout(places, self.prefix)
        if self._hparams is not None:
            tags = [f"robustness_area/{metric}" for metric in places]
            for metric in sorted(with_yield):
                tags += [statistic_tag("robustness_yield", metric, place) for place in places[metric]]
            # TensorBoard takes the columns of one run for all, so they name what other runs may have, too.
            yield hparams_config_pb(map(HParam, self._hparams), [Metric(self.prefix + tag) for tag in tags])

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

    def _scalar(self, tag: str, value: float) -> Summary:
        with np.errstate(over="ignore"):  # charts hold single precision, in which a larger number is infinite
            return scalar_pb(self.prefix + tag, value)

    def _picture(self, tag: str, description: str, drawable: Any, height_in_inches: float) -> Summary:
        metadata = image_metadata.create_summary_metadata("", description, converted_to_tensor=True)
        return self._tensor(tag, metadata, drawn(drawable, height_in_inches))

    def _tensor(self, tag: str, metadata: SummaryMetadata, content: list[bytes]) -> Summary:
        tensor = make_tensor_proto(content)
        return Summary(value=[Summary.Value(tag=self.prefix + tag, metadata=metadata, tensor=tensor)])

    def _add(self, summary: Summary, step: int) -> None:
        self._add_all([summary], step)

    def _add_all(self, summaries: Iterable[Summary], step: int) -> None:
        now = time.time()
        self._write(_event(summary, step, now) for summary in summaries)

    def _write(self, events: Iterable[Event]) -> None:
        with self._telling():
            self._file.add(events)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Say in words that the directory cannot be written."""
        try:
            yield
        except OSError as error:
            reason = f"cannot be written ({error.strerror or error})"
            raise refused(self.logdir, f"{reason}; name a directory of your own, on a disk that is not full") from None


def drawn(drawable: Any, height_in_inches: float) -> list[bytes]:
    """A picture as TensorBoard has it: its width and height in pixels, and the PNG."""
    from matplotlib.figure import Figure

    # Not one of pyplot's: those are kept until they are closed, and the user's own would be drawn on.
    figure = Figure(figsize=(6, height_in_inches), dpi=120)
    drawable.plot(figure.add_subplot())
    width, height = figure.canvas.get_width_height()
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return [str(width).encode(), str(height).encode(), png.getvalue()]


def refused(logdir: Path, reason: str) -> LogdirError:
    """The error that refuses a log directory."""
    return LogdirError(f"tensorboard.logdir = {str(logdir)!r}: {reason}")


def _event(summary: Summary, step: int, wall_time: float) -> Event:
    return Event(wall_time=wall_time, step=step, summary=summary)
