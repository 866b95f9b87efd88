"""The query parameters of the tab's requests, checked: what is wrong is answered in one line."""

import math

from werkzeug.datastructures import MultiDict

from limpet import LimpetError


class QueryError(LimpetError):
    """A request that cannot be answered, and why."""


class Query:
    """A request's parameters.

    Args:
        parameters: as the request has them.
        allowed: names that this route knows.

    Raises:
        QueryError: there is another.
    """

    def __init__(self, parameters: MultiDict[str, str], *allowed: str) -> None:
        for name in parameters:
            if name not in allowed:
                raise QueryError(f"unknown parameter {name[:80]!r}; allowed are {', '.join(allowed) or 'none'}")
        self._parameters = parameters

    def text(self, name: str) -> str:
        """A parameter that must be there.

        Raises:
            QueryError: it is not.
        """
        value = self._parameters.get(name)
        if value is None:
            raise QueryError(f"parameter '{name}' is missing")
        return value

    def texts(self, name: str) -> list[str]:
        """All values of a parameter.

        Raises:
            QueryError: there is none.
        """
        self.text(name)
        return self._parameters.getlist(name)

    def number(self, name: str) -> float:
        """A finite number.

        Raises:
            QueryError: it is missing or no such thing.
        """
        text = self.text(name)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise QueryError(f"{name} = {text[:80]!r}: allowed is a finite number")
        return value

    def optional_number(self, name: str) -> float | None:
        """A finite number, or None where there is none.

        Raises:
            QueryError: it is something else.
        """
        return self.number(name) if name in self._parameters else None

    def optional_step(self, name: str = "step") -> int | None:
        """A training step, or None where there is none.

        Raises:
            QueryError: it is no integer.
        """
        text = self._parameters.get(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            raise QueryError(f"{name} = {text[:80]!r}: allowed is an integer") from None
