"""What curves were measured on, in words: their hardware, and the chips that they leave out."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ._robustness_curve import RobustnessCurve

NOT_RECORDED = "not recorded"
"""The name of hardware that a curve does not tell, as curves of the first version do not."""
NAME_LENGTH = 44
"""Longer descriptions of hardware are cut to so many characters where they stand in a table or a sentence."""


def hardware_names(descriptions: Mapping[str, str]) -> dict[str, str]:
    """Short names for the hardware that curves were measured on, no two of them the same.

    Args:
        descriptions: what each hardware is in words, by fingerprint; an empty fingerprint stands for hardware that was
            not recorded.

    Returns:
        Names by fingerprint. Descriptions that begin alike get the first digits of the fingerprint.

    Examples:
        >>> hardware_names({"3fa2": "gaussian on w (3x4)", "": ""})
        {'3fa2': 'gaussian on w (3x4)', '': 'not recorded'}
    """
    names = {
        fingerprint: _shortened(words or fingerprint) if fingerprint else NOT_RECORDED
        for fingerprint, words in descriptions.items()
    }
    count = Counter(names.values())
    return {
        fingerprint: name if count[name] == 1 else f"{name} [{fingerprint[:6]}]" for fingerprint, name in names.items()
    }


def excluded_words(chips: Sequence[int]) -> str:
    """Why numbers are missing among the chips of a curve; empty where none are.

    Args:
        chips: the curve's `excluded_chips`.

    Examples:
        >>> excluded_words([17]), excluded_words([3, 17])
        ('trained on chip 17, which is left out', 'trained on chips 3, 17, which are left out')
    """
    if not chips:
        return ""
    if len(chips) == 1:
        return f"trained on chip {chips[0]}, which is left out"
    return f"trained on chips {', '.join(map(str, chips))}, which are left out"


def are_same_chips(first: RobustnessCurve, second: RobustnessCurve) -> bool:
    """Whether it is known that chips of one number are the same chip in both curves.

    It is not where one of them does not tell its hardware, as curves of the first version do not.
    """
    return bool(first.fingerprint) and first.fingerprint == second.fingerprint


def common_chips(first: RobustnessCurve, second: RobustnessCurve) -> NDArray[np.int64]:
    """The numbers of the chips that both curves hold."""
    return np.intersect1d(first.chip_numbers, second.chip_numbers)


def _shortened(words: str) -> str:
    return words if len(words) <= NAME_LENGTH else words[: NAME_LENGTH - 1].rstrip(" ,;(") + "…"
