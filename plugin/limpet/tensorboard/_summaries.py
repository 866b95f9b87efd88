"""How results lie in an event file: one tensor summary each, so that the data lives there and not a picture.

The tensor holds the numbers in double precision; all else stands in the summary's metadata, as JSON. TensorBoard keeps
the metadata of a tag's first event only. So the tag names the metadata by their hash, and what stands under one tag
differs in numbers alone. Readers go by the metadata, never by the tag, which may have a prefix.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_FLOAT  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.util.tensor_util import make_tensor_proto

from limpet import MetricError, RobustnessCurve, Sensitivity, checks
from limpet.results import BeyondLimits

PLUGIN_NAME = "limpet"
FORMAT = 1
"""The version of the metadata's format. Readers skip summaries of other versions."""
Kind = Literal["curve", "sensitivity", "limits"]
Result = RobustnessCurve | Sensitivity | BeyondLimits
_TYPES = {DT_DOUBLE: (np.dtype("<f8"), "double_val"), DT_FLOAT: (np.dtype("<f4"), "float_val")}


class Logged(NamedTuple):
    """What a summary holds.

    Attributes:
        kind: the kind of the result: a curve, a sensitivity or counts beyond limits.
        metric: the metric's name; empty for counts beyond limits, which are of no metric.
        result: the curve, the sensitivity or the counts.
        description: what the metadata say, as plain values.
    """

    kind: Kind
    metric: str
    result: Result
    description: Mapping[str, Any]


def curve_summary(curve: RobustnessCurve, target: float | None = None, prefix: str = "") -> Summary:
    """A curve as a summary.

    Args:
        curve: the curve; the tensor is its values, shape (strengths, chips).
        target: the target at which its yield is shown, unless the viewer chooses another.
        prefix: the text that stands before the tag, for directories shared with another writer.
    """
    described = {name: value for name, value in curve.to_dict().items() if name != "values"}
    if any(condition.read for condition in curve.conditions):  # each evaluation would have a tag of its own
        del described["conditions"]
    words = f"{curve.metric} of {curve.chips} virtual chips at {len(curve.sigmas)} strengths"
    return _packed("curve", curve.metric, {"target": target, "curve": described}, curve.values, words, prefix)


def sensitivity_summary(costs: Sensitivity, metric: str, prefix: str = "") -> Summary:
    """A sensitivity as a summary.

    Args:
        costs: what `limpet.sensitivity` gave. The tensor is one row: the nominal metric, the first-order estimate of
            each group, then the metric of each chip with everything deviating, with each group alone, and with all but
            each group.
        metric: the name of the metric, which the tag and the metadata hold.
        prefix: the text that stands before the tag, for directories shared with another writer.
    """
    described = {"metric": metric, "groups": list(costs.groups), "higher_is_better": costs.higher_is_better}
    described |= {"antithetic": costs.antithetic}
    parts = (costs.nominal, costs.first_order, costs.everything, costs.alone, costs.without)
    words = f"what {len(costs.groups)} groups of leaves cost {metric} on {len(costs.everything)} virtual chips"
    return _packed("sensitivity", metric, described, np.concatenate([np.ravel(part) for part in parts]), words, prefix)


def limits_summary(beyond: BeyondLimits, prefix: str = "") -> Summary:
    """Counts beyond limits as a summary.

    Args:
        beyond: the counts. The tensor has shape (2, strengths, leaves): the share of values, and the number of chips.
        prefix: the text that stands before the tag, for directories shared with another writer.
    """
    described = {
        "leaves": list(beyond.leaves),
        "limits": list(beyond.limits),
        "sigmas": beyond.sigmas.tolist(),
        "chips": beyond.chips,
        "axis": beyond.axis,
    }
    words = f"values beyond their limits, of {len(beyond.leaves)} leaves on {beyond.chips} chips"
    return _packed("limits", "", described, np.stack([beyond.share, beyond.chips_beyond]), words, prefix)


def _packed(
    kind: Kind, metric: str, described: Mapping[str, Any], numbers: ArrayLike, words: str, prefix: str
) -> Summary:
    content = json.dumps({"format": FORMAT, "kind": kind, **described}).encode()
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=content),
        display_name=metric or "values beyond their limits",
        summary_description=words,
        data_class="DATA_CLASS_TENSOR",
    )
    tag = "/".join(["limpet", kind, *([metric] if metric else []), hashlib.sha256(content).hexdigest()[:8]])
    tensor = make_tensor_proto(numbers, dtype=DT_DOUBLE)
    return Summary(value=[Summary.Value(tag=prefix + tag, metadata=metadata, tensor=tensor)])


def unpacked(content: bytes, numbers: NDArray[Any] | None = None) -> Logged:
    """What one of the functions above has written.

    Args:
        content: the content of the summary's metadata, in JSON.
        numbers: the numbers of its tensor; None for zeros in their place, where only the metadata are of interest.

    Raises:
        MetricError: the metadata are of another format, hold what such a result cannot have, or do not fit the numbers.
    """
    try:
        described = json.loads(content)
        if described["format"] != FORMAT:
            raise MetricError(f"metadata of format {described['format']!r:.80}; needed is {FORMAT}")
        kind = checks.one_of("kind", described["kind"], tuple(_READERS), MetricError)
        metric, result = _READERS[kind](described, numbers)
        return Logged(kind, metric, result, described)
    except MetricError:
        raise
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        said = f"{type(error).__name__}: {error}"[:80]
        raise MetricError(f"metadata {content[:80]!r} that describe no result of format {FORMAT} ({said})") from None


def target_of(description: Mapping[str, Any]) -> float | None:
    """The target of the yield that a curve's metadata name; None where they name none.

    Raises:
        MetricError: what they name is no finite number.
    """
    target = description.get("target")
    return None if target is None else checks.number("target", target, error=MetricError)


def _curve(described: Any, values: NDArray[Any] | None) -> tuple[str, RobustnessCurve]:
    arguments = described["curve"]
    values = np.zeros((len(arguments["sigmas"]), 2)) if values is None else values
    curve = RobustnessCurve.from_dict({**arguments, "values": values})
    return curve.metric, curve


def _sensitivity(described: Any, row: NDArray[Any] | None) -> tuple[str, Sensitivity]:
    groups = tuple(checks.text("groups", group, MetricError) for group in described["groups"])
    count = len(groups)
    row = np.zeros(3 * count + 2) if row is None else row
    chips, left_over = divmod(row.size - 1 - count, 2 * count + 1)
    if row.ndim != 1 or left_over or chips < 1:
        raise MetricError(f"a sensitivity of {count} groups cannot lie in a tensor of shape {row.shape}")
    everything, alone, without = np.split(row[1 + count :], [chips, chips * (1 + count)])
    costs = Sensitivity(
        groups=groups,
        nominal=float(row[0]),
        everything=everything,
        alone=alone.reshape(count, chips),
        without=without.reshape(count, chips),
        first_order=row[1 : 1 + count],
        higher_is_better=bool(described["higher_is_better"]),
        antithetic=bool(described.get("antithetic", False)),
    )
    return checks.text("metric", described["metric"], MetricError), costs


def _limits(described: Any, counts: NDArray[Any] | None) -> tuple[str, BeyondLimits]:
    leaves, limits, sigmas = (tuple(described[name]) for name in ("leaves", "limits", "sigmas"))
    share, chips = np.zeros((2, len(sigmas), len(leaves))) if counts is None else counts
    beyond = BeyondLimits(leaves, limits, np.asarray(sigmas), share, chips, described["chips"], described["axis"])
    return "", beyond


_READERS: Mapping[Kind, Any] = {"curve": _curve, "sensitivity": _sensitivity, "limits": _limits}


def tensor_values(tensor: TensorProto) -> NDArray[np.floating]:
    """The numbers of a tensor, in its shape.

    TensorBoard's own function repeats a single number until the shape is filled, however large it is said to be; this
    one asks for as many as the shape has.

    Raises:
        MetricError: it holds no numbers, or not as many as its shape has.
    """
    if tensor.dtype not in _TYPES:
        raise MetricError(f"a tensor of type {tensor.dtype}; needed are numbers of type {DT_DOUBLE} or {DT_FLOAT}")
    dtype, field = _TYPES[tensor.dtype]
    shape = tuple(dimension.size for dimension in tensor.tensor_shape.dim)
    content = tensor.tensor_content
    held = len(content) / dtype.itemsize if content else len(getattr(tensor, field))
    if min(shape, default=0) < 0 or math.prod(shape) != held:
        raise MetricError(f"a tensor of shape {shape} that holds {held:g} numbers")
    values = np.frombuffer(content, dtype) if content else np.array(getattr(tensor, field), dtype)
    return values.reshape(shape)
