"""What TensorBoard reads of a log directory."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util


def scalars(logdir):
    """All scalars of a log directory: tag to {step: value}."""
    events = EventAccumulator(str(logdir), size_guidance={"tensors": 0}).Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        for event in events.Tensors(tag):
            value = tensor_util.make_ndarray(event.tensor_proto)
            if value.ndim == 0 and value.dtype != object:
                found.setdefault(tag, {})[event.step] = float(value)
    return found
