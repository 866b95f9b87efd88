"""Where the coefficients of limpet's normal numbers come from, and how near to normal they are.

python tests/benchmarks/fit_bend.py [TERMS]

Works on the exact distribution of `_bell` (all 2^32 words, but for the weighted differences' last 2^-16), not on draws.
"""

import sys

import numpy as np
from scipy import optimize, stats

from limpet.draws._normal import BEND, WEIGHTS

TAILS = np.array([3.0, 3.5, 4.0])
ALLOWED = {"distance": 2e-3, "kurtosis": 0.02, "3 sigma": 0.05, "3.5 sigma": 0.1, "4 sigma": 0.2}
ROUNDS, EVALUATIONS = 8, 300


def positive_bells() -> tuple[np.ndarray, np.ndarray]:
    """The positive values of a bell, ascending, and twice their probabilities."""
    lower, upper = WEIGHTS >> 16, WEIGHTS & 0xFFFF  # what the differences of the lower and of the upper bytes count
    one = (256 - np.abs(np.arange(-255, 256))) / 2**16  # the distribution of a difference of two bytes
    largest = 255 * (lower + upper)
    together = np.zeros(2 * largest + 1)
    for difference, probability in zip(range(-255, 256), one, strict=True):
        middle = largest + lower * difference
        together[middle - 255 * upper : middle + 255 * upper + 1 : upper] += probability * one
    return np.arange(1, largest + 1) / 2**15, 2 * together[largest + 1 :]


def errors(normal: np.ndarray, mass: np.ndarray) -> dict[str, float]:
    """How far positive values of given mass are from a normal distribution's."""
    beyond = np.cumsum(mass[::-1])[::-1]  # this value or a larger one, of either sign
    expected = 2 * stats.norm.sf(normal)
    distance = max(np.abs(beyond - expected).max(), np.abs(np.append(beyond[1:], 0) - expected).max()) / 2
    tails = np.append(beyond, 0)[np.searchsorted(normal, TAILS)] / (2 * stats.norm.sf(TAILS)) - 1
    kurtosis = (mass * normal**4).sum() / (mass * normal**2).sum() ** 2 - 3
    return dict(zip(ALLOWED, (distance, kurtosis, *tails), strict=True))


def fit(terms: int) -> tuple[np.ndarray, dict[str, float]]:
    """Coefficients of bell, bell^3, ... for variance 1, and their errors."""
    bell, mass = positive_bells()
    powers = bell[:, None] ** np.arange(1, 2 * terms, 2)
    beyond = np.cumsum(mass[::-1])[::-1]
    weight = np.sqrt(mass) + 1e-3
    orthogonal, triangular = np.linalg.qr(powers * weight[:, None])
    orthogonal /= weight[:, None]

    def normalised(found: np.ndarray) -> np.ndarray:
        coefficients = np.linalg.solve(triangular, found)
        return coefficients / np.sqrt((mass * (powers @ coefficients) ** 2).sum())

    def worst(found: np.ndarray) -> float:
        normal = powers @ normalised(found)
        if (np.diff(normal) <= 0).any():
            return 1e3
        fractions = [abs(error) / ALLOWED[name] for name, error in errors(normal, mass).items()]
        return max(fractions) + 0.02 * sum(fractions)

    ideal = stats.norm.isf(np.maximum((beyond - mass / 2) / 2, 1e-14))
    best = found = (orthogonal * weight[:, None]).T @ (ideal * weight)
    random = np.random.default_rng(1)
    for turn in range(ROUNDS):
        steps = np.diag(0.01 * np.abs(found).max() * random.choice([-1, 1], terms) / (1 + turn))
        simplex = np.vstack([found, found + steps])
        options = {"maxfev": EVALUATIONS, "initial_simplex": simplex, "xatol": 1e-9, "fatol": 1e-7}
        found = optimize.minimize(worst, found, method="Nelder-Mead", options=options).x
        best = min(best, found, key=worst)
    coefficients = normalised(best)
    return coefficients, errors(powers @ coefficients, mass)


def show(name: str, coefficients: np.ndarray, found: dict[str, float]) -> None:
    print(f"{name}: {', '.join(f'{coefficient:.8f}' for coefficient in coefficients)}")
    print("  " + ", ".join(f"{what} {error:+.5f} (of {ALLOWED[what]})" for what, error in found.items()))


def main() -> None:
    bell, mass = positive_bells()
    in_use = np.array(BEND)
    show("in use", in_use, errors(bell[:, None] ** np.arange(1, 2 * len(BEND), 2) @ in_use, mass))
    show("fitted", *fit(int(sys.argv[1]) if len(sys.argv) > 1 else len(BEND)))


if __name__ == "__main__":
    main()
