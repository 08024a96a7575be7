"""Fits the polynomials of kernels/cpu/functions.h and prints coefficients and relative errors.

exp(r) = 1 + r + r^2 q(r) for |r| <= ln(2)/2, and erfc(z) = exp(-z^2) p(s) / (1 + 2 z) with
s = (z - 3) / (z + 3) for 0 <= z <= 10. Needs numpy.
"""
import math

import numpy as np
from numpy.polynomial import chebyshev


def fit(f, low, high, degree):
    """Coefficients of powers of x, lowest first, from interpolation at Chebyshev nodes."""
    nodes = np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    middle, half = (low + high) / 2, (high - low) / 2
    scaled = chebyshev.cheb2poly(chebyshev.chebfit(nodes, f(middle + half * nodes), degree))
    return np.poly1d([1 / half, -middle / half]), scaled


def expand(inner, scaled):
    total = np.poly1d([0.0])
    for coefficient in scaled[::-1]:
        total = total * inner + coefficient
    return total


def report(name, poly, error):
    print(name, "relative error %.2g" % error)
    print("  " + ", ".join(repr(float(np.float32(c))) + "f" for c in poly.coeffs))


def tail(r):
    """(exp(r) - 1 - r) / r^2 without cancellation."""
    return sum(r**i / math.factorial(i + 2) for i in range(20))


half = math.log(2) / 2 * 1.0005
poly = expand(*fit(tail, -half, half, 4)).coeffs
poly = np.poly1d([float(np.float32(c)) for c in poly])
r = np.linspace(-half, half, 100001)
report("exp", poly, np.max(np.abs((1 + r + r * r * poly(r)) / np.exp(r) - 1)))

erfc = np.vectorize(math.erfc)
centre, largest = 3.0, 10.0


def scaled_erfc(s):
    z = centre * (1 + s) / (1 - s)
    return erfc(z) * np.exp(z * z) * (1 + 2 * z)


poly = expand(*fit(scaled_erfc, -1.0, (largest - centre) / (largest + centre), 10)).coeffs
poly = np.poly1d([float(np.float32(c)) for c in poly])
z = np.linspace(0, largest, 100001)
s = (z - centre) / (z + centre)
report("erfc", poly, np.max(np.abs(poly(s) / scaled_erfc(s) - 1)))
