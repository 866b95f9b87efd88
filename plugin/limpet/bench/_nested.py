"""Values in groups of groups, such as neurons of cores of chips: the exact likelihood of what each level brings."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]

STEP = 1e-30
"""The imaginary part by which a variance is moved: the likelihood's then is its exact derivative times that."""
PRECISION = 1e-8
"""The relative change of all variances below which a search that begins anew has found its maximum."""
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
    covariance matrix is made from the inside out, one rank-one update for each effect of each group (Sherman and
    Morrison), and the likelihood costs as much as there are groups. It is exact for balanced and unbalanced groups.
    What is needed of the groups of the innermost effect is summed up once, for all of a parent that have the same
    loadings together: a likelihood then costs as much as there are cores, not devices.

    Args:
        values: the values, shape (values,).
        columns: the fixed columns, shape (values, columns); a column of ones for a common mean.
        effects: the random effects, the innermost first; the groups of each lie within those of the next.
    """

    def __init__(self, values: Values, columns: Values, effects: Sequence[Effect]) -> None:
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
        self._scales = (sizes / self._unit) ** 2
        # What the likelihood needs of any set of values are the sums of products of these columns.
        parts = [basis * np.sqrt(self.count), (loadings / sizes)[:, :-1], (left / self._unit)[:, None]]
        table = np.concatenate(parts, axis=1)
        self._stages: list[tuple[list[int], NDArray[np.intp]]] = []
        order = np.lexsort([effect.groups for effect in effects]) if effects else np.arange(len(values))
        # Groups are numbered anew, in the order in which they stand, which keeps those of one parent together.
        table, groups = table[order], [_runs(effect.groups[order]) for effect in effects]
        # Effects of the same groups are updated together.
        stages: list[tuple[list[int], NDArray[np.intp]]] = []
        for place, own in enumerate(groups):
            if stages and np.array_equal(stages[-1][1], own):
                stages[-1][0].append(self.columns + place)
            else:
                stages.append(([self.columns + place], own))
        if not stages:
            self._sums = (table.T @ table)[None]
            return
        self._prepare_innermost(table, stages)

    def _prepare_innermost(self, table: Values, stages: list[tuple[list[int], NDArray[np.intp]]]) -> None:
        inner, groups = stages[0]
        starts = _starts(groups)
        width = table.shape[1]
        products = np.add.reduceat(table[:, :, None] * table[:, None, :], starts)
        outer = stages[1][1][starts] if len(stages) > 1 else np.zeros(len(starts), np.intp)
        # Groups of one parent whose loadings have the same products are told apart by their values alone.
        known = products[:, inner][:, :, inner].reshape(len(starts), -1)
        _, kind = np.unique(np.round(known / np.abs(known).max(), 12), axis=0, return_inverse=True)
        both = np.stack([outer, kind.ravel()], axis=1)
        order = np.lexsort(both.T[::-1])
        products, both = products[order], both[order]
        starts = np.flatnonzero(np.r_[True, (both[1:] != both[:-1]).any(axis=1)])
        self._inner, self._number = inner, np.diff(np.r_[starts, len(both)])
        self._known = products[starts][:, inner][:, :, inner]
        self._sums = np.add.reduceat(products, starts)
        through = products[:, :, inner]
        squares = through[:, :, None, :, None] * through[:, None, :, None, :]
        self._squares = np.add.reduceat(squares.reshape(len(products), width * width, -1), starts)
        parent = both[starts, 0]
        for number, (effects, own) in enumerate(stages[1:], 1):
            self._stages.append((effects, _starts(parent)))
            if number + 1 < len(stages):
                above = np.zeros(int(own.max()) + 1, np.intp)
                above[own] = stages[number + 1][1]
                parent = above[parent[_starts(parent)]]

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
        total, log_determinant = self._totals(variances)
        fixed, last = self.columns, -1
        inside = total[:, :fixed, :fixed]
        solved = np.linalg.solve(inside, total[:, :fixed, last:])
        square = total[:, last, last] - (total[:, last, None, :fixed] @ solved)[:, 0, 0]
        free = self.count - fixed
        return -0.5 * (log_determinant + np.log(np.linalg.det(inside)) + square + free * np.log(2 * np.pi))

    def _totals(self, variances: NDArray) -> tuple[NDArray, NDArray]:
        """The products of all columns through the inverse of the covariance, and the logarithm of its determinant."""
        rest = variances[:, -1, None, None, None]
        log_determinant = self.count * np.log(variances[:, -1])
        sums = self._sums / rest
        if len(self.names) == 1:
            return sums[:, 0], log_determinant
        # With D the variances of the effects and K = U'BU their loadings' products, (B^-1 + U D U')^-1 is
        # B - B U D (I + K D)^-1 U' B.
        middle, determinant = self._middle(self._known / rest, variances[:, np.subtract(self._inner, self.columns)])
        log_determinant = log_determinant + (self._number * np.log(determinant)).sum(axis=1)
        width = sums.shape[-1]
        # Products of so small matrices are written out: BLAS would begin a thread for each.
        flat = middle.reshape(*middle.shape[:2], 1, -1)
        sums = sums - (self._squares * flat).sum(axis=-1).reshape(*flat.shape[:2], width, width) / rest**2
        for effects, starts in self._stages:
            sums = np.add.reduceat(sums, starts, axis=1)
            through = sums[..., effects]
            own = variances[:, np.subtract(effects, self.columns)]
            middle, determinant = self._middle(through[:, :, effects, :], own)
            log_determinant = log_determinant + np.log(determinant).sum(axis=1)
            taken = (through[..., None] * middle[:, :, None]).sum(axis=-2)
            sums = sums - (taken[:, :, :, None] * through[:, :, None]).sum(axis=-1)
        return sums.sum(axis=1), log_determinant

    @staticmethod
    def _middle(known: NDArray, variances: NDArray) -> tuple[NDArray, NDArray]:
        """D (I + K D)^-1 and the determinant of I + K D."""
        if known.shape[-1] == 1:
            held = variances[:, None, :, None]
            determinant = 1 + known * held
            return held / determinant, determinant[..., 0, 0]
        scaled = known * variances[:, None, None, :] + np.eye(known.shape[-1])
        return variances[:, None, :, None] * np.linalg.inv(scaled), np.linalg.det(scaled)

    def coefficients(self, variances: Values) -> tuple[Values, Values]:
        """The coefficients of the fixed columns, and their covariance, by generalised least squares."""
        total = self._totals((np.asarray(variances) * self._scales)[None])[0][0]
        fixed = self.columns
        inverse, back = np.linalg.inv(total[:fixed, :fixed]), np.linalg.inv(self._back)
        found = self._first + back @ (inverse @ total[:fixed, -1]) * self._unit
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
        unit = np.maximum(held[free], 1e-6)

        def cost(point: Values) -> tuple[float, Values]:
            moved = np.repeat(held[None].astype(complex), len(free), axis=0)
            moved[:, free] = point * unit
            moved[np.arange(len(free)), free] += 1j * STEP
            found = self._likelihoods(moved)
            return -float(np.real(found[0])), -np.imag(found) / STEP * unit

        last = len(held) - 1
        bounds = [(LEAST / own if place == last else 0.0, None) for place, own in zip(free, unit, strict=True)]
        point, height = np.maximum(held[free] / unit, [low for low, _ in bounds]), 0.0
        size = abs(cost(point)[0]) + 1
        options = {"ftol": 1e-5 / size, "gtol": 1e-2} if rough else {"ftol": 1e-16, "gtol": 1e-9}
        for _ in range(1 if rough else 3):  # anew from where it stopped, until it goes no further
            found = optimize.minimize(cost, point, jac=True, bounds=bounds, method="L-BFGS-B", options=options)
            moved, point, height = np.abs(found.x - point).max(), found.x, -float(found.fun)
            if moved < PRECISION:
                break
        held[free] = point * unit
        return height, held

    def interval(self, place: int, variances: Values, drops: tuple[float, float]) -> tuple[float, float]:
        """Where a variance lies: from where to where its profile likelihood falls by no more than is allowed.

        The profile likelihood of a variance is the highest one that there is with it, whatever the others are; it is
        highest at the estimate, which so lies within.

        Args:
            place: the place of the variance in `names`.
            variances: the variances of highest likelihood.
            drops: by how much twice the log-likelihood may fall below the estimate, and above it.
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
        return low / self._scales[place], high / self._scales[place]


def _runs(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """The number of the run of equal numbers that each belongs to."""
    return np.cumsum(np.r_[0, groups[1:] != groups[:-1]])


def _starts(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
