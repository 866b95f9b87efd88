"""Which leaves of a network a configuration selects, and at which strength."""

from dataclasses import dataclass
from typing import Any

from .._errors import PrototypeError
from ..config._config import Config
from ..hardware._mismatch import Recipe
from ..leaves import rockpool as _rockpool
from ..leaves._paths import leaves_by_path


@dataclass(frozen=True)
class LeafSelection:
    """One leaf, and what the configuration does to it.

    Attributes:
        path: canonical leaf path.
        shape: of the array; None for what is no array.
        dtype: of the array; the type's name for what is none.
        sections: sigma by the section of the configuration that selects the leaf in training, dynamic or frozen.
        measured: whether the leaf deviates on the virtual chips that `robustness` measures.
        unread: whether Rockpool registers the leaf, but its simulation never reads it.
    """

    path: str
    shape: tuple[int, ...] | None
    dtype: str
    sections: dict[str, float]
    measured: bool
    unread: bool

    @property
    def deviates(self) -> bool:
        """Whether any section selects the leaf."""
        return bool(self.sections) or self.measured


def select_leaves(config: Config, model: Any) -> list[LeafSelection]:
    """Every leaf of a model, in flattening order.

    Raises:
        PrototypeError: the configuration's targets do not fit the model.
    """
    recipes: dict[str, Recipe] = {
        name: section.recipe(model)
        for name, section in (("dynamic", config.dynamic), ("frozen", config.frozen))
        if section is not None
    }
    if config.fresh_chips and len(recipes) == 2:
        _ = recipes["dynamic"] | recipes["frozen"]  # refuses leaves that are selected twice
    measured = _measured(config, model)
    is_module = _rockpool.is_module(model)
    leaves, _ = leaves_by_path(_rockpool.attributes(model) if is_module else model)
    return [
        LeafSelection(
            path,
            tuple(leaf.shape) if hasattr(leaf, "shape") else None,
            str(leaf.dtype) if hasattr(leaf, "dtype") else type(leaf).__name__,
            {name: recipe.sigma(path) for name, recipe in recipes.items() if path in recipe.paths},
            path in measured,
            is_module and _rockpool.is_unread(path),
        )
        for path, leaf in leaves.items()
    ]


def _measured(config: Config, model: Any) -> frozenset[str]:
    try:
        return frozenset(config.chip_recipe(model).paths)
    except PrototypeError:
        if "robustness" in config.model_fields_set:
            raise
        return frozenset()  # nothing asks for a measurement, so what cannot be measured is no mistake
