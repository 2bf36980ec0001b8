"""Your own training loop in NumPy: a layer of prelu, slopes and all, learns abs(x)."""

import numpy as np

import fastact

rng = np.random.default_rng(0)
weights, alpha, mix = rng.standard_normal((1, 8)), np.full(8, 0.25), rng.standard_normal((8, 1)) / 8

for step in range(401):
    x = rng.uniform(-1, 1, (64, 1))
    z = x @ weights
    h = fastact.prelu(z, alpha)
    error = h @ mix - np.abs(x)
    grad = 2 * error / len(x)
    dz, dalpha = fastact.prelu.backward(grad @ mix.T, z, alpha)
    for parameter, gradient in ((mix, h.T @ grad), (alpha, dalpha), (weights, x.T @ dz)):
        parameter -= 0.1 * gradient
    if step % 100 == 0:
        print(f"step {step:3}: loss {np.mean(error**2):.1e}, slopes {alpha.round(2)}")
