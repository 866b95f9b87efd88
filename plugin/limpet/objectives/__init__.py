"""Losses over drawn chips: what training minimises. Each is a function of a loss and a recipe, or a callback."""

from ._a_trice import a_trice
from ._adversarial import adversarial
from ._antithetic import antithetic
from ._consistency import consistency
from ._cvar import cvar
from ._distillation import distillation
from ._evaluation import loss_of, over_draws
from ._kl_divergence import kl_divergence
from ._step_chips import StepChips
from ._varied import varied
from ._weight_perturbation import adaptive_sam, weight_perturbation
from ._with_mismatch import with_mismatch
from ._worst_of import worst_of

__all__ = [
    "StepChips",
    "a_trice",
    "adaptive_sam",
    "adversarial",
    "antithetic",
    "consistency",
    "cvar",
    "distillation",
    "kl_divergence",
    "loss_of",
    "over_draws",
    "varied",
    "weight_perturbation",
    "with_mismatch",
    "worst_of",
]
