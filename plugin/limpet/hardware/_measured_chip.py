"""A chip whose values come from a bench."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._checked import refusal, shown
from .._errors import LimpetError, PrototypeError, warn_user
from ..deviations._exact import Exact
from ..draws._generator import DEFAULT_GENERATOR, Generator
from ..draws._keys import path_hash, virtual_chip
from ..leaves._adapter import Leaves
from ..leaves._adapters import adapter_of
from ..leaves._paths import is_real, listing
from ..results._condition import Condition, condition_of
from ..results._npz_file import arrays_of
from ._explanation import Explanation, explanation
from ._hardware import Hardware
from ._mismatch import Recipe


@dataclass(frozen=True, eq=False)
class MeasuredChip:
    """A chip whose values come from a bench, usable where the number of a virtual one is.

    It holds values by leaf path, which replace those of a network (`of` reads them from an .npz); or factors, measured
    / nominal, by which a network's own values are multiplied (`limpet.bench_chip` takes them from a bench's table),
    because a bench's devices were set to other values than those of a trained network, and are off by the same factor.

    Attributes:
        name: the name by which tables call the chip.
        values: arrays by leaf path, which take the place of a network's values.
        factors: arrays by path glob, each of which must match one leaf of a network, whose values are multiplied.

    Raises:
        LimpetError: there are neither values nor factors, or one that is no array of finite numbers.

    Examples:
        >>> import limpet
        >>> chip = MeasuredChip("A3", values={"dense/bias": np.array([0.9, 1.2])})
        >>> params = {"dense": {"bias": jnp.ones(2), "kernel": jnp.ones((2, 2))}}
        >>> limpet.freeze(params, chip=chip)["dense"]["bias"]
        Array([0.9, 1.2], dtype=float32)
    """

    name: str
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    factors: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.values and not self.factors:
            raise LimpetError(f"chip {self.name}: give values by leaf path, or factors by path glob")
        for what in ("values", "factors"):
            given = getattr(self, what)
            if not isinstance(given, Mapping):
                raise refusal(f"chip {self.name}: {what}", given, "allowed is a mapping from paths to arrays")
            # Copies, so that a chip stays what it is when an array that was handed over is filled anew.
            arrays = {path: _array(f"chip {self.name}: {what}[{path!r}]", array) for path, array in given.items()}
            for path, array in arrays.items():
                if array.dtype.kind not in "biufc":
                    raise LimpetError(f"chip {self.name}: {what}['{path}'] holds {array.dtype}; needed are numbers")
                if is_real(array) and not np.isfinite(np.asarray(array, np.float64)).all():
                    raise LimpetError(
                        f"chip {self.name}: {what}['{path}'] holds NaN or infinite values; a device that was not "
                        f"measured has no value here"
                    )
            object.__setattr__(self, what, arrays)

    @classmethod
    def of(cls, path: str | Path, name: str | None = None) -> "MeasuredChip":
        """A chip from an .npz of values by leaf path, as `limpet chips` and `limpet.save_parameters` write it.

        A bench's table is read by `limpet.bench_chip`.

        Args:
            path: the file.
            name: the name by which tables call the chip; None for the file's.

        Raises:
            LimpetError: the file is no .npz, or cannot be read.
        """
        if not isinstance(path, str | Path) or Path(path).suffix != ".npz":
            raise LimpetError(
                f"path = {shown(path)}: needed is an .npz of values by leaf path; a bench's table becomes a chip by "
                f"limpet.bench_chip(table, chip=...), and values at hand by MeasuredChip(name, values={{path: array}})"
            )
        try:
            return cls(name or Path(path).stem, values=arrays_of(path))
        except LimpetError as error:
            raise LimpetError(f"{path}: {error}") from None

    def on(self, tree: Any) -> Any:
        """The tree of a network on this chip; what was not measured stays as it is.

        Args:
            tree: nominal values: a tree as a recipe takes it, or a Flax nnx module.

        Raises:
            PrototypeError: a path or a glob matches no leaf, or a shape does not fit.
        """
        return adapter_of(tree).with_values(tree, self.on_leaves)

    def on_leaves(self, leaves: Leaves) -> Leaves:
        """Values by leaf path on this chip, for those who hold a network's leaves; see `on`."""
        return leaves | {path: _like(value, leaves[path]) for path, value in self.measured(leaves).items()}

    def measured(self, leaves: Leaves) -> dict[str, Any]:
        """What this chip makes of a network's leaves, for those that were measured.

        Raises:
            PrototypeError: see `on`.
        """
        if lost := [path for path in self.values if path not in leaves]:
            raise PrototypeError(
                f"chip {self.name} has values for {listing(lost, limit=10)}, which the network has not; it has "
                f"{listing(leaves, limit=20)}"
            )
        measured = {}
        for path, value in self.values.items():
            if not is_real(leaves[path]):  # a count or a key, as `limpet chips` writes them beside the parameters
                continue
            if value.dtype.kind == "c":
                raise PrototypeError(f"chip {self.name}: values of leaf '{path}' are complex; the network's are real")
            self._require_shape(path, np.shape(value), np.shape(leaves[path]), "values")
            measured[path] = value
        for glob, factor in self.factors.items():
            path = self._path(glob, leaves)
            if path in measured:
                raise PrototypeError(f"chip {self.name}: leaf '{path}' is measured twice, the second time as '{glob}'")
            nominal = leaves[path]
            if factor.size != np.size(nominal):
                self._require_shape(path, (factor.size,), np.shape(nominal), "devices")
            measured[path] = jnp.asarray(nominal) * jnp.asarray(
                factor.reshape(np.shape(nominal)), jnp.result_type(nominal)
            )
        return measured

    def key(self, seed: int, generator: Generator = DEFAULT_GENERATOR) -> jax.Array:
        """The random key of what is new at each product of this chip's arrays, for a seed."""
        return virtual_chip(seed, path_hash(f"measured chip {self.name}"), generator)

    def with_products(self, recipe: Recipe, key: jax.Array, tree: Any, condition: Condition) -> Any:
        """The tree of a network on this chip, with the products of a hardware's arrays; see `limpet.on_chip`.

        Args:
            recipe: the recipe of the hardware.
            key: the key of what is new at each product, see `key`.
            tree: nominal values.
            condition: a checked one.

        Raises:
            LimpetError: the devices of a weight are columns of their own, of which a measured weight says nothing.
        """
        for path, rule in recipe.rules.items():
            if rule is not None and rule.product is not None and rule.product.cells == "apart":
                raise LimpetError(
                    f"chip {self.name}: the devices of leaf '{path}' are converted apart (Product.cells), and a "
                    f"measured chip says what a weight is, not what each of its devices holds: say cells='together'"
                )

        def on_leaves(leaves: Leaves) -> Leaves:
            return recipe.with_products(key, leaves, self.on_leaves(leaves), condition, own=False)

        return adapter_of(tree).with_values(tree, on_leaves)

    def warn_of_unmeasured(self, recipe: Recipe, leaves: Leaves) -> None:
        """Warn of leaves that deviate on a hardware and were not measured."""
        measured = self.measured(leaves)
        deviating = [path for path, rule in recipe.rules.items() if rule and not isinstance(rule.deviation, Exact)]
        if missing := [path for path in deviating if path not in measured]:
            warn_user(
                f"chip {self.name}: {listing(missing, limit=10)} deviate on this hardware and were not measured: they "
                f"stay nominal"
            )

    def explained_by(
        self, mismatch: Recipe | Hardware, tree: Any, condition: Condition | ArrayLike = 1.0
    ) -> Explanation:
        """How well an assumed hardware explains this chip, leaf by leaf.

        p is the probability with which a chip of the assumed hardware would be as far from what is expected of it: of
        many chips that come from it, one in twenty has a p below 0.05. How far a chip is, is found in one of three
        ways:

        - Where a deviation says how measured / nominal is distributed (Gaussian, log-normal, Student's, truncated
          Gaussian, uniform, also behind a `Systematic` gain, without limits that cut or clip), the values are compared
          with that: the log-likelihood of a value, beside what it would be on average if the assumption held, and the
          Kolmogorov-Smirnov distance with its p-value.
        - Of other deviations of which each device has its own, each value is ranked among those of 999 virtual chips;
          the distance is that of the ranks from uniform ones.
        - Where devices have something in common (a `Shared`, a `Spatial`, drift compensation, what a core of DYNAP-SE2
          has in common, and whatever a class of one's own draws), the chip as a whole is ranked among the virtual ones,
          by three numbers: the median of measured / nominal, which is what its devices have in common; their spread
          about that; and the distance of what is left. Each of the first two has its p-value, and the leaf has one for
          the three together: the share of chips whose most unusual number is as unusual. None is below 0.001.

        Of a leaf of more than 4,096 values, so many by lot are compared with virtual chips.

        Args:
            mismatch: the recipe, or the hardware.
            tree: the nominal values that were set when the chip was measured.
            condition: the condition under which it was measured: `limpet.Condition(time="1 day")` for a chip that was
                programmed a day before; or a number, the factor on every deviation.

        Returns:
            A table; `print` it.

        Raises:
            PrototypeError: nothing that deviates was measured, or chip and tree do not fit.
            LimpetError: `mismatch` is neither, or there is no such condition.
        """
        recipe = mismatch.on(tree) if isinstance(mismatch, Hardware) else mismatch
        if not isinstance(recipe, Recipe):
            raise LimpetError(
                f"mismatch = {shown(mismatch)}: allowed are the hardware, and a recipe such as hardware.on(model)"
            )
        leaves = adapter_of(tree).leaves(tree)
        return explanation(self.name, self.measured(leaves), recipe, leaves, condition_of(condition))

    def _path(self, glob: str, leaves: Collection[str]) -> str:
        paths = [path for path in leaves if fnmatchcase(path, glob) or fnmatchcase(path, glob.removeprefix("*/"))]
        if len(paths) == 1:
            return paths[0]
        problem = "matches no leaf" if not paths else f"matches {listing(paths, limit=6)}"
        raise PrototypeError(
            f"chip {self.name}: '{glob}' {problem}; say which leaf it is by leaves={{parameter: path}}; the network "
            f"has {listing(leaves, limit=20)}"
        )

    def _require_shape(self, path: str, own: tuple[int, ...], shape: tuple[int, ...], what: str) -> None:
        if own != shape:
            raise PrototypeError(
                f"chip {self.name}: {what} of shape {own} for leaf '{path}', which has shape {shape}: it is of another "
                f"network, or not all of its devices were measured"
            )

    def __repr__(self) -> str:
        return f"MeasuredChip({self.name!r}, {listing([*self.values, *self.factors], limit=6)})"


def _array(name: str, given: Any) -> np.ndarray:
    try:
        return np.array(given)
    except (TypeError, ValueError):  # rows of several lengths
        raise refusal(name, given, "allowed is an array of numbers") from None


def _like(value: Any, leaf: Any) -> jax.Array:
    return jnp.asarray(value, jnp.result_type(leaf))
