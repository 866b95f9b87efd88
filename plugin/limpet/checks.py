"""Checks of arguments in Limpet's wording, for deviations, sections and programs of one's own. Imports no JAX.

Each names the argument, the value it was given, and what is allowed, in an error that derives from `LimpetError`.

Examples:
    >>> from limpet import checks
    >>> checks.whole("chips", 0, 1)
    Traceback (most recent call last):
    limpet.LimpetError: chips = 0: allowed is a whole number from 1 on
"""

from ._checked import flag as flag
from ._checked import listing as listing
from ._checked import number as number
from ._checked import one_of as one_of
from ._checked import shown as shown
from ._checked import text as text
from ._checked import whole as whole
from ._errors import warn_user as warn_user
from .draws._generator import MAX_SEED as MAX_SEED
