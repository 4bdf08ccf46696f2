"""The limit that no program for a network of matrix products can pass: the products alone, one after another.

A fully connected layer of B rows, i inputs and o outputs is three products: forward [B, i] [i, o], the gradient of the
weights [i, B] [B, o], and the gradient of the inputs [B, o] [o, i], which the first layer does not need. A convolution
is the same over patches: as many rows as output pixels, and as many inputs as a patch has; gathering the patches is
left out.

Two rates of the machine itself stand beside it: of one large product, and of memory.
"""

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import numpy as np

from benchmarks.timing import Run, timed

Kind = Literal["forward", "weight gradient", "input gradient"]


class Layer(NamedTuple):
    """A linear layer, for one example."""

    rows: int  # one, or the number of draws, or of pixels
    inputs: int
    outputs: int
    first: bool = False  # its input is data, which needs no gradient


class Product(NamedTuple):
    """One matrix product of a layer."""

    kind: Kind
    rows: int
    inputs: int
    outputs: int

    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The shapes of its two operands, before any transposition."""
        x, weights, gradient = (self.rows, self.inputs), (self.inputs, self.outputs), (self.rows, self.outputs)
        match self.kind:
            case "forward":
                return x, weights
            case "weight gradient":
                return x, gradient
            case "input gradient":
                return gradient, weights

    def contracted(self) -> tuple[int, int]:
        """The axis of each operand that is summed over."""
        return {"forward": (1, 0), "weight gradient": (0, 0), "input gradient": (1, 1)}[self.kind]


def products(layers: Sequence[Layer], batch_size: int, *, training: bool = True) -> list[Product]:
    """The products of one step over a batch: forward in order, then backward.

    Args:
        layers: of the encoder and the decoder, in order.
        batch_size: B.
        training: with the gradients.

    Returns:
        The products.
    """
    batches = [layer._replace(rows=batch_size * layer.rows) for layer in layers]
    sequence = [Product("forward", *layer[:3]) for layer in batches]
    for layer in reversed(batches) if training else []:
        sequence.append(Product("weight gradient", *layer[:3]))
        if not layer.first:
            sequence.append(Product("input gradient", *layer[:3]))
    return sequence


def flops(sequence: Sequence[Product]) -> int:
    """Multiplications and additions, 2 B i o for each product."""
    return sum(2 * product.rows * product.inputs * product.outputs for product in sequence)


def in_numpy(sequence: Sequence[Product], *, steps: int) -> Run:
    """The products by NumPy's BLAS, into memory that is there already.

    Args:
        sequence: the products of one step.
        steps: how many steps one repetition takes.

    Returns:
        The run.
    """

    @functools.cache
    def operand(shape: tuple[int, int]) -> np.ndarray:
        return np.random.default_rng(0).standard_normal(shape, np.float32)

    calls = []
    for product in sequence:
        left, right = (operand(shape) for shape in product.shapes())
        axis_left, axis_right = product.contracted()
        left, right = left if axis_left else left.T, right.T if axis_right else right
        calls.append((left, right, np.empty((left.shape[0], right.shape[1]), np.float32)))

    def run() -> None:
        for _ in range(steps):
            for left, right, out in calls:
                np.matmul(left, right, out=out)

    return timed(run)


def in_xla(sequence: Sequence[Product], *, steps: int) -> Run:
    """The products by XLA, a call for each step: out of a loop within the program XLA would hoist them.

    Args:
        sequence: the products of one step.
        steps: how many steps one repetition takes.

    Returns:
        The run.
    """
    program, operands = xla_program(sequence)

    def run() -> list[jax.Array]:
        for _ in range(steps):
            results = program(operands)
        return results

    return timed(run)


def xla_program(sequence: Sequence[Product]) -> tuple[jax.stages.Compiled, list[tuple]]:
    """The compiled products of one step and their operands: every product has its own, so that no two are the same."""

    def multiply(product: Product, left: jax.Array, right: jax.Array) -> jax.Array:
        axis_left, axis_right = product.contracted()
        return jax.lax.dot_general(left, right, (((axis_left,), (axis_right,)), ((), ())))

    def all_products(operands: list[tuple]) -> list[jax.Array]:
        return [multiply(product, *pair) for product, pair in zip(sequence, operands, strict=True)]

    keys = jax.random.split(jax.random.key(0), 2 * len(sequence)).reshape(-1, 2)
    operands = [
        tuple(jax.random.normal(key, shape) for key, shape in zip(pair, product.shapes(), strict=True))
        for pair, product in zip(keys, sequence, strict=True)
    ]
    return jax.jit(all_products).lower(operands).compile(), operands


def large_product(platform: str) -> tuple[Run, int]:
    """One product of two large square matrices: the arithmetic that the machine can do at best.

    Args:
        platform: cpu, gpu or tpu.

    Returns:
        The run, and its multiplications and additions. XLA's default precision, which is less than float32's on some
        accelerators, as it is in the workloads.
    """
    length = 2048 if platform == "cpu" else 8192
    left, right = jax.random.normal(jax.random.key(0), (2, length, length))
    multiply = jax.jit(jax.numpy.matmul)
    return timed(lambda: multiply(left, right)), 2 * length**3


def triad(platform: str) -> tuple[Run, int]:
    """a ← a + 3 b over arrays that no cache holds: the rate of memory.

    Args:
        platform: cpu, gpu or tpu.

    Returns:
        The run, and the bytes that it reads and writes.

    Source: McCalpin's STREAM benchmark (1995).
    """
    length = 2**25 if platform == "cpu" else 2**28
    add = jax.jit(lambda a, b: a + 3 * b, donate_argnums=0)
    a, b = jax.numpy.zeros(length), jax.numpy.ones(length)

    def run() -> jax.Array:
        nonlocal a
        a = add(a, b)
        return a

    return timed(run), 3 * 4 * length
