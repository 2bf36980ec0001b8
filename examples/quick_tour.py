"""A quick tour: values, gradients, choices."""

import numpy as np

import fastact
from fastact import leaky_relu, relu, sigmoid, softmax, tanh

# Values. Integers are fine: smooth functions make float64 of them, relu keeps them.
print(sigmoid(np.array([-1, 0, 1])))
print(tanh(np.array([-1, 0, 1])))
print(relu(np.array([-1, -0.5, 0, 0.5, 1])))
print(leaky_relu(np.array([-1, -0.5, 0, 0.5, 1]), alpha=0.01))
print(softmax(np.array([2, 1, 0])))

# Shape and dtype stay; the result can go into an array that is there already, or into the input.
x = np.random.default_rng(0).standard_normal((4, 1000), dtype=np.float32)
y = fastact.gelu(x)
fastact.gelu(x, out=y)
print(y.shape, y.dtype)

# Gradients: the chain rule in one pass, from the gradient and the input; softmax also from its output.
grad = np.ones_like(x)
dx = fastact.gelu.backward(grad, x)
p = softmax(x, axis=-1)
dx = softmax.backward_from_output(grad, p)
dx, dalpha = fastact.prelu.backward(grad, x, 0.25)  # learnable: the parameter's gradient comes along
print(dx.shape, float(dalpha))

# What runs it, and how exactly.
print(fastact.backends())
print(fastact.explain(fastact.gelu, x))
with fastact.use_backend("cython"), fastact.use_accuracy("precise"):
    y = fastact.gelu(x)
