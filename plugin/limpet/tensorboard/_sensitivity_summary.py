"""How a sensitivity lies in an event file: one tensor summary.

The tensor is one row: the nominal metric, the first-order estimate of each group, then the metric of each chip with
everything deviating, with each group alone, and with all but each group. The groups' names stand in the metadata, as
JSON, which TensorBoard keeps of a tag's first event only; so the tag names the metadata by their hash.
"""

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.util.tensor_util import make_tensor_proto

from .._errors import MetricError
from ..results._sensitivity import Sensitivity
from ._curve_summary import FORMAT, PLUGIN_NAME, described


def sensitivity_summary(costs: Sensitivity, metric: str, prefix: str = "") -> Summary:
    """The sensitivity of a metric as a summary.

    Args:
        costs: what `limpet.sensitivity` gave.
        metric: name of the metric.
        prefix: what the tag begins with.
    """
    chips = len(costs.everything)
    description = {
        "format": FORMAT,
        "kind": "sensitivity",
        "metric": metric,
        "groups": list(costs.groups),
        "higher_is_better": costs.higher_is_better,
    }
    content = json.dumps(description).encode()
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=content),
        display_name=metric,
        summary_description=f"what {len(costs.groups)} groups of leaves cost {metric} on {chips} virtual chips",
        data_class="DATA_CLASS_TENSOR",
    )
    parts = (costs.nominal, costs.first_order, costs.everything, costs.alone, costs.without)
    row = np.concatenate([np.ravel(part) for part in parts])
    tensor = make_tensor_proto(row, dtype=DT_DOUBLE)
    tag = f"{prefix}limpet/sensitivity/{metric}/{hashlib.sha256(content).hexdigest()[:8]}"
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


def sensitivity_of(content: bytes, row: NDArray[Any]) -> Sensitivity:
    """The sensitivity that `sensitivity_summary` wrote.

    Raises:
        MetricError: the metadata are of another format, or do not fit the values.
    """
    description = described(content, "sensitivity")
    if description is None:
        raise MetricError(f"metadata of a sensitivity of format {FORMAT} are needed, got {content[:80]!r}")
    try:
        metric, groups, better = (
            description["metric"],
            tuple(description["groups"]),
            bool(description["higher_is_better"]),
        )
    except (KeyError, TypeError) as error:
        raise MetricError(f"metadata that describe no sensitivity: {error}") from None
    if not all(isinstance(name, str) for name in (metric, *groups)):
        raise MetricError(f"metadata whose names are no texts: {metric!r}, {groups!r}")
    count = len(groups)
    chips, left_over = divmod(row.size - 1 - count, 2 * count + 1)
    if row.dtype.kind != "f" or row.ndim != 1 or left_over or chips < 1:
        raise MetricError(
            f"a sensitivity of {count} groups cannot lie in a tensor of shape {row.shape} and type {row.dtype}"
        )
    everything, alone, without = np.split(row[1 + count :], [chips, chips * (1 + count)])
    return Sensitivity(
        groups=groups,
        nominal=float(row[0]),
        everything=everything,
        alone=alone.reshape(count, chips),
        without=without.reshape(count, chips),
        first_order=row[1 : 1 + count],
        higher_is_better=better,
    )
