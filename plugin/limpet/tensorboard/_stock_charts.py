"""What stock TensorBoard shows of a run: margin charts, histograms over chips, and its session in the HParams tab."""

import time
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.util.tensor_util import make_tensor_proto

from limpet import RobustnessCurve


def places_of(curve: RobustnessCurve) -> list[str]:
    """What tags call each strength of a curve, or each time."""
    if curve.axis == "time":
        return [f"time={curve.place(time)}" for time in curve.sigmas]
    return [f"sigma={sigma:g}" for sigma in curve.sigmas]


def statistic_tag(statistic: str, metric: str, place: str) -> str:
    """The tag of the scalar that holds a statistic over chips at one place of a curve; see `places_of`."""
    return f"{statistic}/{metric}/{place}"


def margin_layout(places: Mapping[str, Iterable[str]], prefix: str = "") -> Summary:
    """The layout of the Custom Scalars tab: for each metric and place the mean over training, with its 5-95% margin.

    Args:
        places: what tags call the strengths of curves, by metric name.
        prefix: what the tags of the scalars begin with.
    """
    categories = [
        layout_pb2.Category(  # pyright: ignore[reportAttributeAccessIssue]
            title=f"{metric}: mean over virtual chips, with 5th and 95th percentile",
            chart=[_margin_chart(metric, place, prefix) for place in held],
        )
        for metric, held in places.items()
    ]
    layout = layout_pb2.Layout(category=categories)  # pyright: ignore[reportAttributeAccessIssue]
    tensor = make_tensor_proto([layout.SerializeToString()], shape=())
    described = layout_metadata.create_summary_metadata()
    return Summary(value=[Summary.Value(tag=layout_metadata.CONFIG_SUMMARY_TAG, metadata=described, tensor=tensor)])


def chip_histograms(curve: RobustnessCurve, prefix: str = "") -> Iterator[Summary]:
    """For each place of the curve a histogram over the chips that did not fail; tags begin with `prefix`."""
    for place, values in zip(places_of(curve), curve.values, strict=True):
        yield histogram_pb(prefix + statistic_tag("virtual_chips", curve.metric, place), values[np.isfinite(values)])


def _margin_chart(metric: str, place: str, prefix: str) -> layout_pb2.Chart:  # pyright: ignore[reportAttributeAccessIssue]
    mean, low, high = (prefix + statistic_tag(f"robustness_{name}", metric, place) for name in ("mean", "p5", "p95"))
    series = layout_pb2.MarginChartContent.Series(value=mean, lower=low, upper=high)  # pyright: ignore[reportAttributeAccessIssue]
    margin = layout_pb2.MarginChartContent(series=[series])  # pyright: ignore[reportAttributeAccessIssue]
    return layout_pb2.Chart(title=f"{metric} at {place.replace('=', ' = ')}", margin=margin)  # pyright: ignore[reportAttributeAccessIssue]


HParamValue = bool | int | float | str | None


def session_end(succeeded: bool) -> Summary:
    """The end of a session."""
    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE  # pyright: ignore[reportAttributeAccessIssue]
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())  # pyright: ignore[reportAttributeAccessIssue]
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)  # pyright: ignore[reportAttributeAccessIssue]
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])
