"""The orthonormal columns of a Sylvester flow and their derivatives, against the QR of LAPACK and differences of it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.flows import orthonormal

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(6, 4))


def by_lapack(matrix):
    """The Q whose R has a positive diagonal."""
    columns, upper = np.linalg.qr(matrix)
    return columns * np.sign(np.einsum("...ii->...i", upper))[..., None, :]


def height(columns):
    return jnp.sum(jnp.sin(columns) * WEIGHTS)


def differences(function, matrix, step):
    """(f(A + s E) - f(A - s E)) / 2s for every matrix E that is zero but for a one: [6, 4, ...]."""
    units = np.eye(matrix.size).reshape(-1, *matrix.shape)
    found = [(np.asarray(function(matrix + step * e)) - np.asarray(function(matrix - step * e))) for e in units]
    return np.stack(found).reshape(*matrix.shape, *found[0].shape) / (2 * step)


def test_the_columns_are_those_of_a_qr(float64):
    matrices = RNG.normal(size=(50, 6, 4))
    found = jax.jit(jax.vmap(orthonormal))(matrices)
    np.testing.assert_allclose(found, by_lapack(matrices), atol=1e-12)


def test_they_are_orthonormal_to_the_last_digit_even_where_the_matrix_is_nearly_singular():
    """Columns that differ from a common one by 1e-3 only: one round of Gram-Schmidt leaves errors of 1e-4."""
    common = RNG.normal(size=(500, 20, 1)) / np.sqrt(20)
    near = common + 1e-3 * RNG.normal(size=(500, 20, 8)) / np.sqrt(20)
    for matrices in (RNG.normal(size=(500, 20, 8)), near, np.zeros((1, 20, 8)) + np.eye(20, 8)):
        found = np.asarray(jax.jit(jax.vmap(orthonormal))(jnp.asarray(matrices, jnp.float32)), float)
        errors = np.swapaxes(found, 1, 2) @ found - np.eye(8)
        assert np.abs(errors).max() < 5e-7


def test_the_gradient_is_that_of_the_qr(float64):
    matrix = RNG.normal(size=(6, 4))
    gradient = jax.jit(jax.grad(lambda matrix: height(orthonormal(matrix))))(matrix)
    expected = differences(lambda matrix: np.sum(np.sin(by_lapack(matrix)) * WEIGHTS), matrix, 1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


def test_the_second_derivatives_are_those_of_the_gradient(float64):
    """Forward over reverse and reverse over reverse, through the formula's own inverse."""
    matrix = RNG.normal(size=(6, 4))
    gradient = jax.grad(lambda matrix: height(orthonormal(matrix)))
    expected = differences(jax.jit(gradient), matrix, 1e-5)
    for jacobian in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jax.jit(jacobian(gradient))(matrix), expected, rtol=1e-6, atol=1e-7)


def test_the_way_back_has_no_loop():
    """Products alone: a batch's gradient neither stores nor repeats the steps of the orthonormalisation."""
    _, back = jax.vjp(jax.vmap(orthonormal), jnp.ones((3, 6, 4)) + jnp.eye(6, 4)[None])
    jaxpr = str(jax.make_jaxpr(back)(jnp.ones((3, 6, 4))))
    assert "dot_general" in jaxpr
    assert "scan" not in jaxpr
    assert "while" not in jaxpr
