"""Whether more of a metric is better: said by the user, or told by its name where that is safe."""

import re

from .._checked import flag
from .._errors import MetricError

LOWER_IS_BETTER = frozenset(
    "negative loss losses error errors err mse rmse mae nll entropy perplexity divergence kl cost regret distance "
    "objective energy".split()
)
"""Words of a metric's name that say that less of it is better."""


def checked_direction(metric: str, higher_is_better: bool | None) -> bool:
    """Whether more of a metric is better.

    Args:
        metric: its name.
        higher_is_better: what the user said; None if nothing.

    Raises:
        MetricError: the name speaks of a loss or an error, and the user did not say.

    Examples:
        >>> checked_direction("accuracy", None), checked_direction("loss", False)
        (True, False)
    """
    if higher_is_better is not None:
        return flag("higher_is_better", higher_is_better, MetricError)
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", metric)}
    if telling := words & LOWER_IS_BETTER:
        raise MetricError(
            f"metric '{metric}' says '{', '.join(sorted(telling))}', so less of it may be better, which decides what "
            f"the worst chip and the yield are: give higher_is_better=False, or True if more is better"
        )
    return True
