"""Losses over drawn chips: what training minimises. Each is a function of a loss and a recipe, or a callback."""

from ._a_trice import a_trice as a_trice
from ._adversarial import adversarial as adversarial
from ._antithetic import antithetic as antithetic
from ._consistency import consistency as consistency
from ._cvar import cvar as cvar
from ._distillation import distillation as distillation
from ._evaluation import loss_of as loss_of
from ._evaluation import over_draws as over_draws
from ._kl_divergence import kl_divergence as kl_divergence
from ._step_chips import StepChips as StepChips
from ._varied import varied as varied
from ._weight_perturbation import adaptive_sam as adaptive_sam
from ._weight_perturbation import weight_perturbation as weight_perturbation
from ._with_mismatch import with_mismatch as with_mismatch
from ._worst_of import worst_of as worst_of
