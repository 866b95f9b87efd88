"""Values in groups of groups, such as neurons of cores of chips: the exact likelihood of what each level brings."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._alike import Alike, Values

STEP = 1e-30
"""The imaginary part by which a variance is moved: the likelihood's then is its exact derivative times that."""
PRECISION = 1e-8
"""The relative change of all variances below which a search that begins anew has found its maximum."""
SEARCHES = 8
"""The most searches for one maximum."""
RELATIVE = 1e-4
"""The precision of the ends of intervals."""
LEAST, MOST = 1e-8, 1e8
"""The variances between which is searched, as fractions of the variance of all values."""


@dataclass(frozen=True)
class Effect:
    """A random effect: each group has one number of it, which enters the values of the group times their loading.

    Attributes:
        name: the name of the effect, such as "chip".
        groups: the number of each value's group, from 0 on, shape (values,).
        loading: the factor by which the effect enters each value, shape (values,).
    """

    name: str
    groups: NDArray[np.intp]
    loading: Values


class Nested:
    """Values as fixed columns times coefficients, plus random effects of nested groups, plus what is left.

    `value = columns @ coefficients + sum(effect[group] * loading) + residual`, with effects and residuals normal, each
    of the variance of its own level. Chips are independent, and so are cores given their chip; so the inverse of the
    covariance matrix is made from the inside out, one update of the rank of its effects for each group (Sherman,
    Morrison and Woodbury). It is exact for balanced and unbalanced groups; and groups that are built alike are computed
    once, see `Alike`, so that a likelihood of a balanced bench takes as long for 10 devices as for 100,000.

    Args:
        values: the values, shape (values,).
        columns: the fixed columns, shape (values, columns); a column of ones for a common mean.
        effects: the random effects, the innermost first; the groups of each lie within those of the next.
    """

    def __init__(self, values: Values, columns: Values, effects: Sequence[Effect]) -> None:
        self.effects = tuple(effects)
        self.names = (*(effect.name for effect in effects), "residual")
        self.count, self.columns = columns.shape
        # Everything is computed in units in which what varies is about 1, so that no digits are lost.
        basis, back = np.linalg.qr(columns)
        self._back = back / np.sqrt(self.count)
        self._first = np.linalg.solve(back, basis.T @ values)
        left = values - columns @ self._first
        self._unit = float(left.std()) or 1.0
        loadings = np.stack([*(effect.loading for effect in effects), np.ones(self.count)], axis=1)
        sizes = np.sqrt((loadings**2).mean(axis=0))
        sizes[sizes == 0] = 1.0
        self._scales = (sizes / self._unit) ** 2
        # What the likelihood needs of any set of values are the sums of products of these columns.
        known = np.concatenate([basis * np.sqrt(self.count), (loadings / sizes)[:, :-1]], axis=1)
        value = left / self._unit
        order = np.lexsort([effect.groups for effect in effects]) if effects else np.arange(self.count)
        known, value = known[order], value[order]
        levels = [([self.columns + place], effect.groups[order]) for place, effect in enumerate(effects)]
        self._alike = Alike.of(known, value, levels)

    def likelihood(self, variances: Values) -> float:
        """The restricted log-likelihood.

        It is that of the values' parts that no fixed column reaches (Patterson and Thompson, 1971, Biometrika 58:545),
        `-(log det V + log det X'V^-1 X + z' P z + (values - columns) log 2 pi) / 2`. It is also the likelihood averaged
        over all coefficients.

        Args:
            variances: the variances of the effects and of the residual, in the order of `names`.
        """
        inside = float(self._likelihoods((np.asarray(variances) * self._scales)[None])[0])
        determinant = float(np.linalg.slogdet(self._back)[1])
        return inside - (self.count - self.columns) * np.log(self._unit) - determinant

    def _likelihoods(self, variances: NDArray) -> NDArray:
        """The restricted log-likelihood in the inner units, for several sets of variances, shape (sets, names)."""
        inside, across, square, log_determinant = self._totals(variances)
        solved = np.linalg.solve(inside, across[..., None])[..., 0]
        square = square - (across * solved).sum(axis=-1)
        free = self.count - self.columns
        return -0.5 * (log_determinant + np.log(np.linalg.det(inside)) + square + free * np.log(2 * np.pi))

    def _totals(self, variances: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Products through the inverse of the covariance, and the logarithm of the covariance's determinant: the fixed
        columns' with themselves and with the values, and the values' with themselves."""
        rest, fixed = variances[:, -1], self.columns
        alike = self._alike
        log_determinant, square = self.count * np.log(rest), alike.square / rest
        # What a type's columns have in common, and the matrix by which what values bring along a path is multiplied.
        products = alike.products / rest[:, None, None, None]
        paths = np.eye(alike.products.shape[-1]) / rest[:, None, None, None]
        paths = np.broadcast_to(paths, products.shape)
        for stage in alike.stages:
            parts = products[:, stage.part_type] * stage.part_count[:, None, None]
            products = np.add.reduceat(parts, stage.part_starts, axis=1)
            through = products[..., stage.places]
            middle, determinant = _middle(through[:, :, stage.places], variances[:, np.subtract(stage.places, fixed)])
            log_determinant = log_determinant + (stage.counts * np.log(determinant)).sum(axis=1)
            brought = (paths[:, stage.entry_path] * stage.entries[:, None]).sum(axis=-1)
            brought = np.add.reduceat(brought, stage.row_starts, axis=1)[..., stage.places]
            taken = (middle[:, stage.row_type] * brought[:, :, None]).sum(axis=-1)
            square = square - (brought * taken).sum(axis=(1, 2))
            # (B^-1 + U D U')^-1 = (1 - B U D (1 + U'BU D)^-1 U') B, with D the variances of the effects.
            update = (through[..., None] * middle[:, :, None]).sum(axis=-2)
            products = products - (update[:, :, :, None] * through[:, :, None]).sum(axis=-1)
            below = paths[:, stage.path_below]
            change = (update[:, stage.path_type][..., None] * below[:, :, None, stage.places]).sum(axis=-2)
            paths = below - change
        products = (products[:, alike.end_type] * alike.end_count[:, None, None]).sum(axis=1)
        across = (paths[:, :, :fixed] * alike.ends[:, None]).sum(axis=(1, 3))
        return products[:, :fixed, :fixed], across, square, log_determinant

    def coefficients(self, variances: Values) -> tuple[Values, Values]:
        """The coefficients of the fixed columns, and their covariance, by generalised least squares."""
        inside, across, _, _ = self._totals((np.asarray(variances) * self._scales)[None])
        inverse, back = np.linalg.inv(inside[0]), np.linalg.inv(self._back)
        found = self._first + back @ (inverse @ across[0]) * self._unit
        return found, back @ inverse @ back.T * self._unit**2

    def maximum(self, zero: Collection[int] = ()) -> Values:
        """The variances of highest restricted likelihood, in the order of `names`.

        Args:
            zero: the places in `names` of variances that are 0.
        """
        start = np.full(len(self.names), 1 / len(self.names))
        return self._maximum(start, dict.fromkeys(zero, 0.0))[1] / self._scales

    def is_least(self, variances: Values) -> bool:
        """Whether the residual's variance is the least that is looked at: nothing is left for it."""
        return bool((variances * self._scales)[-1] < 2 * LEAST)

    def _maximum(self, start: Values, fixed: Mapping[int, float], rough: bool = False) -> tuple[float, Values]:
        """The highest likelihood in the inner units, and the variances where it is.

        Args:
            start: the variances to begin with.
            fixed: variances that stay as they are, by place.
            rough: whether it is enough to find the likelihood to about 1e-4.
        """
        from scipy import optimize

        held = np.array(start, np.float64)
        held[list(fixed)] = list(fixed.values())
        free = np.array([place for place in range(len(held)) if place not in fixed], np.intp)
        if not len(free):
            return float(self._likelihoods(held[None])[0]), held

        def cost(point: Values, unit: Values) -> tuple[float, Values]:
            height, gradient = self._with_gradient(held, free, point * unit)
            return -height, -gradient * unit

        least = np.where(free == len(held) - 1, LEAST, 0.0)
        size = abs(float(self._likelihoods(held[None])[0])) + 1
        options = {"ftol": 1e-5 / size, "gtol": 1e-2} if rough else {"ftol": 1e-16, "gtol": 1e-9}
        height = 0.0
        # Anew from where it stopped, each variance in units of its own size, until it goes no further.
        for _ in range(1 if rough else SEARCHES):
            unit = np.maximum(held[free], LEAST)
            found = optimize.minimize(
                cost,
                np.maximum(held[free], least) / unit,
                (unit,),
                jac=True,
                bounds=[(low, None) for low in (least / unit).tolist()],
                method="L-BFGS-B",
                options=options,
            )
            moved = np.abs(found.x - held[free] / unit).max()
            held[free], height = found.x * unit, -float(found.fun)
            if moved < PRECISION:
                break
        if not rough:
            self._polish(held, free[held[free] > 2 * LEAST])
        return height, held

    def _with_gradient(self, held: Values, free: NDArray[np.intp], point: Values) -> tuple[float, Values]:
        """The likelihood in the inner units, and its exact slopes along the free variances, which are at a point."""
        moved = np.repeat(held[None].astype(complex), len(free), axis=0)
        moved[:, free] = point
        moved[np.arange(len(free)), free] += 1j * STEP
        found = self._likelihoods(moved)
        return float(np.real(found[0])), np.imag(found) / STEP

    def _polish(self, held: Values, free: NDArray[np.intp]) -> None:
        """Go the last of the way to a maximum by Newton's method, where a search ends for want of digits."""

        def gradient(point: Values) -> Values:
            return self._with_gradient(held, free, point)[1]

        for _ in range(SEARCHES if len(free) else 0):
            point = held[free]
            steps = np.diag(point * 1e-4)
            slopes = np.stack([(gradient(point + step) - gradient(point - step)) / (2 * step.sum()) for step in steps])
            try:
                moved = np.linalg.solve(slopes, -gradient(point))
            except np.linalg.LinAlgError:
                return
            # Newton's method leads to a maximum from near it alone, where the likelihood bends downwards.
            if not (np.abs(moved) < 0.1 * point).all() or (np.linalg.eigvalsh((slopes + slopes.T) / 2) >= 0).any():
                return
            held[free] = point + moved
            if (np.abs(moved) < PRECISION * point).all():
                return

    def interval(self, place: int, variances: Values, drops: tuple[float, float]) -> tuple[float, float]:
        """Where a variance lies: from where to where its profile likelihood falls by no more than is allowed.

        The profile likelihood of a variance is the highest one that there is with it, whatever the others are; it is
        highest at the estimate, which so lies within.

        Args:
            place: the place of the variance in `names`.
            variances: the variances of highest likelihood.
            drops: the amounts by which twice the log-likelihood may fall, below the estimate and above it.
        """
        from scipy import optimize

        brentq: Any = optimize.brentq
        best = variances * self._scales
        highest, estimate = float(self._likelihoods(best[None])[0]), float(best[place])
        found: dict[float, tuple[float, Values]] = {}

        def drop(variance: float, allowed: float) -> float:
            if variance not in found:
                near = min(found, key=lambda other: abs(other - variance), default=None)
                start = np.maximum(best if near is None else found[near][1], 1e-6)
                found[variance] = self._maximum(start, {place: variance}, rough=True)
            return 2 * (highest - found[variance][0]) - allowed

        def end(factor: float, allowed: float) -> float:
            near, far = estimate, max(estimate, LEAST) * factor
            while drop(far, allowed) < 0:
                near, far = far, far * factor
                if not LEAST < far < MOST:
                    return 0.0 if far < 1 else float("inf")
            if near == estimate:
                found[near] = (highest, best)
            return float(brentq(drop, near, far, args=(allowed,), rtol=RELATIVE, xtol=RELATIVE * LEAST))

        low, high = 0.0 if estimate < 2 * LEAST else end(0.5, drops[0]), end(2.0, drops[1])
        return float(low / self._scales[place]), float(high / self._scales[place])


def _middle(known: NDArray, variances: NDArray) -> tuple[NDArray, NDArray]:
    """D (1 + K D)^-1 and the determinant of 1 + K D, with K the products of loadings and D the variances."""
    if known.shape[-1] == 1:
        held = variances[:, None, :, None]
        determinant = 1 + known * held
        return held / determinant, determinant[..., 0, 0]
    scaled = known * variances[:, None, None, :] + np.eye(known.shape[-1])
    return variances[:, None, :, None] * np.linalg.inv(scaled), np.linalg.det(scaled)
