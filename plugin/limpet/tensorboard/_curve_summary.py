"""How a robustness curve lies in an event file: one tensor summary, so that the data lives there and not a picture.

The tensor is the values, shape (strengths, chips), in double precision; all else stands in the summary's metadata, as
JSON. TensorBoard keeps the metadata of a tag's first event only. So the tag names the metadata by their hash, and the
curves under one tag differ in values alone. Readers go by the metadata, never by the tag, which may have a prefix.
"""

import hashlib
import json
from typing import Any

from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.util.tensor_util import make_tensor_proto

from .._errors import MetricError
from ..results._curve_description import checked_description, is_number, require_numbers
from ..results._robustness_curve import RobustnessCurve

PLUGIN_NAME = "limpet"
FORMAT = 1
"""Of the metadata; readers leave newer ones alone."""


def curve_summary(curve: RobustnessCurve, target: float | None = None, prefix: str = "") -> Summary:
    """The curve as a summary.

    Args:
        curve: the curve.
        target: at which its yield is shown, unless the viewer chooses another.
        prefix: what the tag begins with.
    """
    description = {name: value for name, value in curve.to_dict().items() if name != "values"}
    content = json.dumps({"format": FORMAT, "kind": "curve", "target": target, "curve": description}).encode()
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=content),
        display_name=curve.metric,
        summary_description=f"{curve.metric} of {curve.chips} virtual chips at {len(curve.sigmas)} strengths",
        data_class="DATA_CLASS_TENSOR",
    )
    tensor = make_tensor_proto(curve.values, dtype=DT_DOUBLE)
    tag = f"{prefix}limpet/curve/{curve.metric}/{hashlib.sha256(content).hexdigest()[:8]}"
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


def described(content: bytes, kind: str = "curve") -> dict[str, Any] | None:
    """What a summary's metadata say; None where they are not of this kind, or of a newer format."""
    try:
        description = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        return None
    return description if description.get("kind") == kind else None


def curve_of(content: bytes, values: NDArray[Any]) -> RobustnessCurve:
    """The curve that `curve_summary` wrote.

    Raises:
        MetricError: the metadata are of another format, hold what a curve cannot have, or do not fit the values.
    """
    description = described(content)
    if description is None:
        raise MetricError(f"metadata of a robustness curve of format {FORMAT} are needed, got {content[:80]!r}")
    require_numbers(values, "values")
    arguments = checked_description(description.get("curve"))
    if "sigmas" not in arguments:
        raise MetricError("its description names no sigmas")
    return RobustnessCurve(values=values, **arguments)


def target_of(content: bytes) -> float | None:
    """The target of the yield that a curve's metadata name; None where they name none, or are of a sensitivity.

    Raises:
        MetricError: what they name is no finite number.
    """
    target = (described(content) or {}).get("target")
    if target is not None and not is_number(target):
        raise MetricError(f"its target is {str(target)[:80]}; allowed is a finite number")
    return target
