"""How counts of values beyond their limits lie in an event file: one tensor summary.

The tensor has shape (2, strengths, leaves): the share of values, and the number of chips. All else stands in the
metadata, as JSON, which TensorBoard keeps of a tag's first event only; so the tag names the metadata by their hash.
"""

import hashlib
import json
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.util.tensor_util import make_tensor_proto

from .._errors import MetricError
from ..results._beyond_limits import BeyondLimits
from ..results._curve_description import is_number, require_numbers
from ._curve_summary import FORMAT, PLUGIN_NAME, described


def limits_summary(beyond: BeyondLimits, prefix: str = "") -> Summary:
    """The counts as a summary.

    Args:
        beyond: what was counted.
        prefix: what the tag begins with.
    """
    description = {
        "format": FORMAT,
        "kind": "limits",
        "leaves": list(beyond.leaves),
        "limits": list(beyond.limits),
        "sigmas": beyond.sigmas.tolist(),
        "chips": beyond.chips,
        "axis": beyond.axis,
    }
    content = json.dumps(description).encode()
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=content),
        display_name="values beyond their limits",
        summary_description=f"values beyond their limits, of {len(beyond.leaves)} leaves on {beyond.chips} chips",
        data_class="DATA_CLASS_TENSOR",
    )
    tensor = make_tensor_proto(np.stack([beyond.share, beyond.chips_beyond]), dtype=DT_DOUBLE)
    tag = f"{prefix}limpet/limits/{hashlib.sha256(content).hexdigest()[:8]}"
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


def beyond_limits_of(content: bytes, values: NDArray[Any]) -> BeyondLimits:
    """The counts that `limits_summary` wrote.

    Raises:
        MetricError: the metadata are of another format, hold what counts cannot have, or do not fit the values.
    """
    description = described(content, "limits")
    if description is None:
        raise MetricError(f"metadata of counts beyond limits of format {FORMAT} are needed, got {content[:80]!r}")
    leaves, limits, sigmas = (description.get(name) for name in ("leaves", "limits", "sigmas"))
    chips, axis = description.get("chips"), description.get("axis")
    if not (_are_texts(leaves) and _are_texts(limits) and len(leaves) == len(limits) > 0):
        raise MetricError(f"metadata whose leaves and limits are no texts: {str(leaves)[:80]}, {str(limits)[:80]}")
    if not (isinstance(sigmas, list) and sigmas and all(map(is_number, sigmas))):
        raise MetricError(f"metadata whose sigmas are no finite numbers: {str(sigmas)[:80]}")
    if type(chips) is not int or chips < 1 or axis not in ("sigma", "scale", "time"):
        raise MetricError(f"metadata that tell no number of chips or no axis: {str(chips)[:80]}, {str(axis)[:80]}")
    require_numbers(values, "counts")
    if values.shape != (2, len(sigmas), len(leaves)):
        raise MetricError(
            f"counts of {len(leaves)} leaves at {len(sigmas)} strengths cannot lie in a tensor of shape {values.shape}"
        )
    share, chips_beyond = values
    if not ((share >= 0) & (share <= 1) & (chips_beyond >= 0) & (chips_beyond <= chips)).all():
        raise MetricError(f"counts beyond limits that are no shares, or more than the {chips} chips")
    return BeyondLimits(tuple(leaves), tuple(limits), np.array(sigmas), share, chips_beyond, chips, axis)


def _are_texts(values: Any) -> TypeGuard[list[str]]:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
