"""The numbers of a tensor in an event file."""

import math

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_FLOAT  # pyright: ignore[reportAttributeAccessIssue]

from .._errors import MetricError

_TYPES = {DT_DOUBLE: (np.dtype("<f8"), "double_val"), DT_FLOAT: (np.dtype("<f4"), "float_val")}


def tensor_values(tensor: TensorProto) -> NDArray[np.floating]:
    """The numbers of a tensor, in its shape.

    Where TensorBoard's own function repeats a single number until the shape is filled, however large it is said to be,
    this one asks for as many as the shape has.

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
