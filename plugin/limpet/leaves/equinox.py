"""All that is known of Equinox: which leaves of a module can deviate. Equinox is never imported here."""

from collections.abc import Collection
from typing import Any

from .tree import PlainTree


class Equinox(PlainTree):
    """Equinox modules: pytrees, some of whose leaves are functions, texts and plain numbers; see `Adapter`."""

    name = "an Equinox module"

    def recognises(self, model: Any) -> bool:
        return any(cls.__module__.partition(".")[0] == "equinox" for cls in type(model).__mro__)

    def globbed(self, model: Any) -> Collection[str]:
        return [path for path, leaf in self.leaves(model).items() if hasattr(leaf, "dtype")]
