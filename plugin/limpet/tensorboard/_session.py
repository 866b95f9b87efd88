"""A run as a session of TensorBoard's HParams tab: its configuration, and the metrics by which a sweep is sorted."""

import time
from collections.abc import Iterable, Mapping

from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb

HParamValue = bool | int | float | str | None


def session_start(hparams: Mapping[str, HParamValue], name: str) -> Summary:
    """The beginning of a session.

    Args:
        hparams: values by name; None stands for a value that this run does not have.
        name: of the run; sessions of one name are averaged.
    """
    return hparams_pb({key: value for key, value in hparams.items() if value is not None}, trial_id=name)


def experiment(hparams: Iterable[str], metric_tags: Iterable[str]) -> Summary:
    """The columns of the HParams tab. TensorBoard takes those of one run for all, so name what other runs may have."""
    return hparams_config_pb([HParam(name) for name in hparams], [Metric(tag) for tag in metric_tags])


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
