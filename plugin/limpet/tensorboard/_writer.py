"""Event files: scalars, texts and robustness curves, written incrementally."""

import io
import time
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from .._curve import RobustnessCurve
from .._errors import LogdirError
from ._curve_summary import curve_summary

PERCENTILES = (5, 50, 95)


class CurveWriter:
    """Writes one run's event file. Everything handed over is on disk after `flush`.

    Args:
        logdir: the run's directory; made if need be.

    Raises:
        LogdirError: the directory cannot be made or written.
    """

    def __init__(self, logdir: str | Path) -> None:
        self.logdir = Path(logdir)
        try:
            self.logdir.mkdir(parents=True, exist_ok=True)
            self._file = EventFileWriter(str(self.logdir))
        except OSError as error:
            raise LogdirError(
                f"tensorboard.logdir = {str(logdir)!r}: cannot be written ({error.strerror or error}); "
                f"name a directory in which you may write"
            ) from None

    def scalar(self, tag: str, value: float, step: int, wall_time: float | None = None) -> None:
        """Log one number."""
        self._add(scalar_pb(tag, value), step, wall_time)

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Log a text, shown as Markdown."""
        self._tensor(tag, text_metadata.create_summary_metadata("", ""), [markdown.encode()], step)

    def curve(self, curve: RobustnessCurve, step: int, target: float | None = None) -> None:
        """Log a robustness curve: its values, its statistics as scalars for each sigma, and a picture.

        Args:
            curve: the curve.
            step: training step.
            target: where given, the yield at this value is logged too.
        """
        statistics: dict[str, Iterable[float]] = {"mean": curve.mean(), "std": curve.std(), "worst": curve.worst()}
        statistics |= {f"p{percent}": curve.quantile(percent / 100) for percent in PERCENTILES}
        if target is not None:
            statistics["yield"] = [found.fraction for found in curve.yield_at(target)]
        # TensorBoard sorts groups by name: this one, hopefully all zeros, comes last.
        groups: dict[str, Iterable[float]] = {f"robustness_{name}": values for name, values in statistics.items()}
        groups["virtual_chips_failed"] = curve.failed
        now = time.time()
        for group, values in groups.items():
            for sigma, value in zip(curve.sigmas, values, strict=True):
                self.scalar(f"{group}/{curve.metric}/sigma={sigma:g}", float(value), step, now)
        self._add(curve_summary(curve, target), step, now)
        self._picture(f"robustness/{curve.metric}", curve, step)

    def flush(self) -> None:
        """Put everything on disk."""
        self._file.flush()

    def close(self) -> None:
        """Flush, and end the file."""
        self._file.close()

    def _picture(self, tag: str, curve: RobustnessCurve, step: int) -> None:
        figure = curve.plot().figure
        width, height = figure.canvas.get_width_height()
        png = io.BytesIO()
        figure.savefig(png, format="png")
        metadata = image_metadata.create_summary_metadata("", f"{curve.metric} over sigma", converted_to_tensor=True)
        self._tensor(tag, metadata, [str(width).encode(), str(height).encode(), png.getvalue()], step)

    def _tensor(self, tag: str, metadata: SummaryMetadata, content: list[bytes], step: int) -> None:
        tensor = make_tensor_proto(content)
        self._add(Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)]), step)

    def _add(self, summary: Summary, step: int, wall_time: float | None = None) -> None:
        event = Event(wall_time=time.time() if wall_time is None else wall_time, step=step, summary=summary)
        self._file.add_event(event)
