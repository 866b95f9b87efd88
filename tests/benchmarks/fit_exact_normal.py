"""Find the coefficients of `limpet.draws._exact_normal`: a rational function of w = -log(2 p) for the normal quantile.

Linear least squares, weighted anew at each turn by the denominator before (Sanathanan and Koerner, 1963) and by where
the error is largest (Lawson, 1961), so that the largest error becomes least.

    python tests/benchmarks/fit_exact_normal.py
"""

import math

import numpy as np
from numpy.polynomial.polynomial import polyval
from scipy.special import ndtri_exp

LARGEST = -math.log(2 * 2.0**-33)
POWERS, POWERS_BELOW = 5, 4

places = (1 - np.cos(np.linspace(0, math.pi, 4001))) / 2 * LARGEST * 1.0005
wanted = -ndtri_exp(-places - math.log(2))
weight, denominator, best = np.ones_like(places), np.ones_like(places), (np.inf, np.zeros(0), np.zeros(0))
for _ in range(400):
    terms = np.concatenate(
        [
            places[:, None] ** np.arange(1, POWERS + 1),
            -wanted[:, None] * places[:, None] ** np.arange(1, POWERS_BELOW + 1),
        ],
        axis=1,
    )
    scaled = terms * (np.sqrt(weight) / denominator)[:, None]
    size = np.abs(scaled).max(axis=0)
    found = np.linalg.lstsq(scaled / size, wanted * np.sqrt(weight) / denominator, rcond=None)[0] / size
    above, below = found[:POWERS], np.array([1.0, *found[POWERS:]])
    denominator = polyval(places, below)
    error = np.abs(places * polyval(places, above) / denominator - wanted)
    best = min(best, (error.max(), above, below), key=lambda fit: fit[0])
    weight *= (error / error.mean() + 0.02) ** 0.7
    weight /= weight.mean()
print(f"largest error {best[0]:.1e}")
print("P =", tuple(float(f"{value:.9g}") for value in best[1]))
print("Q =", tuple(float(f"{value:.9g}") for value in best[2]))
