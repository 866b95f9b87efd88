"""Settings of a measurement in one flat mapping, as tests vary them."""

from typing import Any

import limpet

OF_CHIPS = ("seed", "generator", "antithetic", "mesh", "progress")


def measured_on(settings: dict[str, Any]) -> dict[str, Any]:
    """The same settings, those that say which virtual chips are drawn gathered in `limpet.Chips`."""
    chips = {name: settings[name] for name in OF_CHIPS if name in settings}
    rest = {name: value for name, value in settings.items() if name not in OF_CHIPS}
    return rest | {"chips": limpet.Chips(rest.get("chips", 100), **chips)} if chips else rest
