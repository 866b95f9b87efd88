"""Calibration by gradients of a loss."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, cast

import jax
import optax
from jax.typing import ArrayLike

from .._checked import shown, whole
from .._errors import LimpetError, MetricError, warn_user
from ..analog._products import computing
from ..leaves._adapters import adapter_of
from ..leaves._paths import listing
from ..measure._metric import function_name
from ._chip_fit import Given, TreeOf


@dataclass(frozen=True, eq=False)
class GradientFit:
    """A few digital parameters of each chip, trained on the chip by gradients; what `limpet.calibrate` takes.

    What an analog chip holds, it holds once it was programmed; but biases, gains behind a layer and the scales of a
    normalisation are often digital, and can be set for each chip. A parameter that is given anew may deviate as well,
    such as a bias current: then what is fitted is the nominal value that the chip is set to, and the chip makes of it
    what it makes of every value. Where the hardware has limits for such a leaf, of whatever policy, a chip is never
    given values beyond them.

    Attributes:
        loss_fn: the loss, `loss_fn(tree, batch)`, jittable: that of a mean over examples, or a tuple of it and more.
        batches: the data that chips are calibrated on: batches of one shape, over which steps go again and again. Of
            more batches than steps the first are taken, so that they may come from a stream without an end.
        trainable: path globs of the leaves that each chip is given anew.
        gains: path globs of weights of two axes or more: each output gets a gain, which is trained as well. It stands
            for a digital factor behind the crossbar: the chip's weights are multiplied by it, whatever they deviate by.
            Which axes count outputs, and which stacked layers with outputs of their own, follows from the hardware's
            `limpet.Array`, and from the framework.
        levels: the only values that a chip can be given, by path glob of trainable leaves; None where it can be given
            any. Those beyond the hardware's limits are left out. What was fitted is rounded to the nearest before the
            chip is measured, and so is what it was given before. For a DynapSim:
            `{"*/Itau_mem": limpet.dynapse.bias_currents("Itau_mem")}`.
        steps: the number of steps that each chip is fitted for.
        optimizer: an optimizer from optax. Where parameters are currents, of picoamperes say, take steps relative to
            them: `optax.chain(optax.scale_by_adam(eps=1e-30), optax.scale_by_trust_ratio(), optax.scale(-0.01))`.

    Raises:
        LimpetError: the optimizer is none.
        MetricError: `steps` is no whole number from 1 on.
    """

    loss_fn: Callable[[Any, Any], Any]
    batches: Iterable[Any]
    _: KW_ONLY
    trainable: Sequence[str] = ("*/bias",)
    gains: Sequence[str] = ()
    levels: Mapping[str, ArrayLike] | None = None
    steps: int = 200
    optimizer: optax.GradientTransformation = field(default_factory=lambda: optax.adam(1e-2))

    def __post_init__(self) -> None:
        whole("steps", self.steps, 1, error=MetricError)
        if not callable(getattr(self.optimizer, "init", None)) or not callable(getattr(self.optimizer, "update", None)):
            raise LimpetError(f"optimizer = {shown(self.optimizer)}: give one of optax, such as optax.adam(1e-2)")

    def initial(self, given: Given) -> Any:
        """The state before the first step; see `limpet.calibration._chip_fit.Procedure`."""
        return self.optimizer.init(given)

    def step(self, tree_of: TreeOf, given: Given, state: Any, batch: Any) -> tuple[Given, Any]:
        """What a chip is given after one step more; see `limpet.calibration._chip_fit.Procedure`."""

        def loss(given: Given) -> jax.Array:
            tree = tree_of(given)
            value, written = adapter_of(tree).written_by(tree, lambda tree: self.loss_fn(tree, batch))
            if written:
                warn_user(
                    f"loss_fn '{function_name(self.loss_fn)}' wrote {listing(sorted(written), limit=6)}, which is "
                    f"dropped: the module is in training mode, so dropout is on and batch statistics are those of the "
                    f"batch. Call model.eval() at the beginning of the loss"
                )
            return value[0] if isinstance(value, tuple) else value

        moved, state = self.optimizer.update(jax.grad(computing(loss))(given), state, given)
        updates = cast(Given, moved)
        return {path: value + updates[path].astype(value.dtype) for path, value in given.items()}, state
