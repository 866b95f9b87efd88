"""The law of measured / nominal under a deviation that has a density."""

import math
from typing import Any

from ..deviations._deviation import Deviation
from ..deviations._gaussian import Gaussian
from ..deviations._log_normal import LogNormal
from ..deviations._student_t import StudentT
from ..deviations._truncated_gaussian import TruncatedGaussian
from ..deviations._uniform import Uniform
from ..draws._truncated_normal import cut_for


def factor_law(deviation: Deviation, scale: float = 1.0) -> Any:
    """How measured / nominal is distributed: a frozen distribution of `scipy.stats`.

    Args:
        deviation: any.
        scale: the factor on the deviation.

    Returns:
        None where the deviation is no relative one with a density, or where it does nothing (sigma 0).

    Examples:
        >>> law = factor_law(Gaussian(sigma=0.1), scale=2)
        >>> print(f"{law.mean():.1f} {law.std():.1f}", factor_law(Gaussian(sigma=0)))
        1.0 0.2 None
    """
    from scipy import stats

    sigma = getattr(deviation, "sigma", None)
    if type(deviation) not in (Gaussian, LogNormal, StudentT, TruncatedGaussian, Uniform) or not sigma or not scale:
        return None
    sigma *= scale
    match deviation:
        case LogNormal(preserve=preserve):
            square = math.log1p(sigma**2)
            return stats.lognorm(math.sqrt(square), scale=math.exp(-square / 2) if preserve == "mean" else 1.0)
        case StudentT(degrees=degrees):
            return stats.t(degrees, 1.0, sigma / math.sqrt(degrees / (degrees - 2)))
        case TruncatedGaussian(bound=bound):
            cut = cut_for(bound)
            return stats.truncnorm(-cut.place, cut.place, 1.0, sigma / cut.spread)
        case Uniform():
            return stats.uniform(1 - math.sqrt(3) * sigma, 2 * math.sqrt(3) * sigma)
    return stats.norm(1.0, sigma)
