"""Coefficients of quotients of polynomials, and of polynomials in float64 for results in float32: `python tools/coefficients.py`.

`coefficients.sollya` finds polynomials that are rounded to their working type; Sollya has no quotients. Here Lawson's reweighted least
squares make the largest error small, and coefficients are rounded one after the other, the rest fitted anew each time.
Prints the tuples of `kernels/definitions` and log2 of their largest error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

Array = np.ndarray[Any, Any]
mp.mp.prec = 120


def nodes(low: float, high: float, count: int) -> Array:
    """Chebyshev's."""
    return (low + high) / 2 - (high - low) / 2 * np.cos(np.pi * (np.arange(count) + 0.5) / count)


def fit(x: Array, f: Array, weight: Array, top: int, bottom: int, kind: Any, fixed: dict[tuple[str, int], float]) -> None:
    """Print P of degree `top` and Q of degree `bottom` with Q(0) = 1, rounded to `kind`, such that weight * (P / Q - f) is small."""
    known = {("Q", 0): 1.0, **fixed}
    wanted = [
        (name, i) for i in range(max(top, bottom) + 1) for name, n in (("P", top), ("Q", bottom)) if i <= n and (name, i) not in known
    ]
    q = np.ones_like(x)

    def column(key: tuple[str, int]) -> Array:
        return x ** key[1] * weight / q * (1.0 if key[0] == "P" else -f)

    def solve(rounds: int) -> tuple[float, dict[tuple[str, int], float]]:
        nonlocal q
        free, emphasis, best = [key for key in wanted if key not in known], np.full(x.size, 1 / x.size), (np.inf, known)
        for _ in range(rounds if free else 1):
            rest = -sum(value * column(key) for key, value in known.items())
            found = dict(known)
            if free:
                matrix = np.stack([column(key) for key in free], 1)
                scale, root = np.abs(matrix).max(0), np.sqrt(emphasis)
                found |= dict(zip(free, np.linalg.lstsq(matrix / scale * root[:, None], rest * root, rcond=None)[0] / scale, strict=True))
            q = sum(value * x**i for (name, i), value in found.items() if name == "Q")
            error = np.abs(weight * (sum(value * x**i for (name, i), value in found.items() if name == "P") / q - f))
            if error.max() < best[0]:
                best = (error.max(), found)
            emphasis = emphasis * (error / error.max() + 0.02)
            emphasis /= emphasis.sum()
        return best

    solve(600)
    for key in wanted:
        known[key] = float(kind(solve(150)[1][key]))
    error, found = solve(1)
    for name in "PQ":
        written = [found[key] for key in sorted(found) if key[0] == name]
        print(f"    {name} = ({', '.join(repr(v) if kind is np.float64 else str(np.float32(v)) for v in written)})")
    print(f"    2^{np.log2(error):.1f}")


def exact(f: Callable[[Any], Any], x: Array) -> Array:
    """f in many digits."""
    return np.array([float(f(mp.mpf(v))) for v in x])


if __name__ == "__main__":
    x = np.concatenate([nodes(0, 15, 2500), nodes(0, 3, 1500)])
    inverse = exact(lambda a: 2 / (mp.erfc(a / mp.sqrt(2)) * mp.exp(a * a / 2)), x)
    for label, top, bottom, kind in (("MILLS", 3, 4, np.float32), ("MILLS_WIDE", 4, 5, np.float64)):
        root = float(kind(np.sqrt(2 * np.pi)))
        rest = exact(lambda a, root=root: root - (2 / (mp.erfc(a / mp.sqrt(2)) * mp.exp(a * a / 2)) - 2) / a, x)
        print(f"{label}: 1 / normal_tail(a) = 2 + a ({root!r} - P(a) / Q(a))")
        fit(x, rest, x / inverse, top, bottom, kind, {})
    x = nodes(0, 1, 2000)
    f = exact(lambda e: mp.log1p(e) / e, x)
    print("RATIO: log1p(e) / e = P(e) / Q(e)")
    fit(x, f, 1 / f, 3, 4, np.float64, {("P", 0): 1.0})
    x = nodes(-0.3476, 0.3476, 1500)
    print("EXP_WIDE: expm1(r) = r + r^2 P(r)")
    fit(x, exact(lambda r: (mp.expm1(r) - r) / r**2, x), x**2 / np.exp(x), 5, 0, np.float64, {})
    x = nodes(-0.5005, 0.5005, 1500)
    f = exact(lambda t: (mp.mpf(2) ** t - 1) / t, x)
    for label, degree, kind in (("EXP2_32", 5, np.float32), ("EXP2_WIDE", 6, np.float64)):
        print(f"{label}: 2^f = 1 + f P(f)")
        fit(x, f, np.abs(x) / 2**x, degree, 0, kind, {})
