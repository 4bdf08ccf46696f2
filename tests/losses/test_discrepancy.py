"""The maximum mean discrepancy: without bias, and its kernels' means against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from standard_errors import assert_mean

from jaxvae.losses import gaussian_kernel, inverse_multiquadric, maximum_mean_discrepancy

D, SHIFT, SCALE = 3, np.array([0.8, -0.5, 0.0]), 0.6
KERNELS = [inverse_multiquadric(D), gaussian_kernel(D)]


def quadrature(kernel, variance, shift):
    """E k(|u|²), u ~ N(shift, variance I): |u|²/variance is a noncentral chi-square."""
    centre = float(np.sum(np.square(shift))) / variance
    law = scipy.stats.ncx2(D, centre) if centre else scipy.stats.chi2(D)
    with jax.enable_x64(True):
        values = lambda s: float(kernel(jnp.asarray(variance * s, float))) * law.pdf(s)  # noqa: E731
        return scipy.integrate.quad(values, 0, 12, limit=200)[0] + scipy.integrate.quad(values, 12, 120)[0]


def statistics(kernel, shift, scale, repeats=2000, n=6, m=9):
    """The statistic of n draws of N(shift, scale² I) and m of N(0, I), again and again."""
    key_x, key_y = jax.random.split(jax.random.key(0))
    xs = shift.astype(np.float32) + scale * np.asarray(jax.random.normal(key_x, (repeats, n, D)))
    ys = jax.random.normal(key_y, (repeats, m, D))
    return jax.jit(jax.vmap(lambda x, y: maximum_mean_discrepancy(kernel, x, y)))(jnp.asarray(xs, jnp.float32), ys)


@pytest.mark.parametrize("kernel", KERNELS, ids=["inverse multiquadric", "gaussian"])
def test_the_statistic_has_mean_zero_under_the_null(kernel):
    found = statistics(kernel, np.zeros(D), 1.0)
    assert_mean(found, 0.0)
    assert np.min(found) < 0  # the diagonal is left out


@pytest.mark.parametrize("kernel", KERNELS, ids=["inverse multiquadric", "gaussian"])
def test_the_statistic_has_the_mean_of_quadrature(kernel):
    within = quadrature(kernel, 2 * SCALE**2, np.zeros(D)) + quadrature(kernel, 2.0, np.zeros(D))
    truth = within - 2 * quadrature(kernel, 1 + SCALE**2, SHIFT)
    assert_mean(statistics(kernel, SHIFT, SCALE), truth)
    assert truth > 0.05


def test_the_gaussian_kernel_is_its_closed_form():
    """E exp(-|u|²/(2 D)) = (1 + v/D)^(-D/2), u ~ N(0, v I)."""
    np.testing.assert_allclose(quadrature(gaussian_kernel(D), 2.0, np.zeros(D)), (1 + 2 / D) ** (-D / 2), rtol=1e-6)


def test_one_of_a_kind_is_refused():
    with pytest.raises(ValueError, match="needs two of each, and there are 1 and 5"):
        maximum_mean_discrepancy(KERNELS[0], jnp.zeros((1, D)), jnp.zeros((5, D)))
