import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from rows import first
from sklearn.decomposition import PCA
from standard_errors import assert_mean

from jaxvae.bounds import batched_elbo, batched_iwae_bound, elbo, iwae_bound
from jaxvae.draws import doubly_reparameterized, pathwise, sticking_the_landing
from jaxvae.models import linear

DIMENSIONS, LATENT, NOISE = 5, 2, 0.6
CENTER = np.array([0.5, -1.0, 0.0, 2.0, 0.3])
X = np.array([1.5, -2.0, 0.4, 2.2, -0.7])
ROTATION = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])


def orthogonal_loadings():
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(DIMENSIONS, LATENT)))
    return q * np.array([1.5, 0.7])


def params_of(loadings):
    return linear.parameters(jnp.asarray(loadings), jnp.asarray(CENTER), jnp.asarray(NOISE))


def posterior_of(loadings):
    """The exact posterior of X by conditioning the joint Gaussian of (z, x): another road than the library's."""
    covariance = loadings @ loadings.T + NOISE**2 * np.eye(DIMENSIONS)
    gain = loadings.T @ np.linalg.inv(covariance)
    return gain @ (X - CENTER), np.eye(LATENT) - gain @ loadings


def kl_of_gaussians(q_mean, q_covariance, p_mean, p_covariance):
    """KL(q || p)."""
    shift, inverse = p_mean - q_mean, np.linalg.inv(p_covariance)
    log_determinants = np.linalg.slogdet(p_covariance)[1] - np.linalg.slogdet(q_covariance)[1]
    return 0.5 * (np.trace(inverse @ q_covariance) + shift @ inverse @ shift - len(shift) + log_determinants)


def chi_squared_of_gaussians(p_mean, p_covariance, q_mean, q_covariance):
    """χ²(p || q) = ∫ p²/q - 1, which is finite where 2 P - Q is positive definite (P, Q the precisions)."""
    p_precision, q_precision = np.linalg.inv(p_covariance), np.linalg.inv(q_covariance)
    precision = 2 * p_precision - q_precision
    assert np.all(np.linalg.eigvalsh(precision) > 0)
    slope = 2 * p_precision @ p_mean - q_precision @ q_mean
    constant = 2 * p_mean @ p_precision @ p_mean - q_mean @ q_precision @ q_mean
    log_determinants = [np.linalg.slogdet(matrix)[1] for matrix in (p_precision, q_precision, precision)]
    log_integral = np.dot([1, -0.5, -0.5], log_determinants)
    return np.exp(log_integral + 0.5 * (slope @ np.linalg.solve(precision, slope) - constant)) - 1


@pytest.mark.parametrize("num_samples", first(2, [1, 50, 2, 5]))
def test_with_the_exact_posterior_the_bounds_are_log_p(num_samples, float64):
    """Every weight is p(x): no draw and no number of draws matters. (An ELBO with a closed KL is not such a bound.)"""
    params, x = params_of(orthogonal_loadings()), jnp.asarray(X)
    truth, xs, key = linear.log_marginal(params, x), jnp.tile(x, (10, 1)), jax.random.key(0)
    importance_weighted = batched_iwae_bound(linear.linear_vae(latent=LATENT), key, params, xs, num_samples=num_samples)
    np.testing.assert_allclose(importance_weighted, truth, atol=1e-8)
    model = linear.linear_vae(latent=LATENT, draw=sticking_the_landing)
    np.testing.assert_allclose(batched_elbo(model, key, params, xs, num_samples=num_samples), truth, atol=1e-8)


def test_with_the_exact_posterior_the_elbo_with_a_closed_kl_is_log_p_in_expectation(float64):
    params, x = params_of(orthogonal_loadings()), jnp.asarray(X)
    model = linear.linear_vae(latent=LATENT)
    bounds = batched_elbo(model, jax.random.key(0), params, jnp.tile(x, (20_000, 1)))
    assert bounds.std() > 0.1  # unlike the drawn form, it is not exact draw by draw
    assert_mean(bounds, linear.log_marginal(params, x))


@pytest.mark.parametrize("num_samples", [1, 50])
def test_with_the_exact_posterior_the_path_gradient_of_the_encoder_vanishes(num_samples, float64):
    params, x = params_of(orthogonal_loadings()), jnp.asarray(X)

    def encoder_gradient(draw, bound):
        model = linear.linear_vae(latent=LATENT, draw=draw)
        gradient = jax.jit(jax.grad(lambda p: bound(model, jax.random.key(0), p, x, num_samples=num_samples)))
        return max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradient(params)["encoder"]))

    assert encoder_gradient(sticking_the_landing, elbo) < 1e-12
    assert encoder_gradient(sticking_the_landing, iwae_bound) < 1e-12
    assert encoder_gradient(doubly_reparameterized, iwae_bound) < 1e-12
    assert encoder_gradient(pathwise, elbo) > 1e-3
    assert encoder_gradient(pathwise, iwae_bound) > 1e-3


@pytest.mark.parametrize("draw", [pathwise, sticking_the_landing, doubly_reparameterized])
def test_with_the_exact_posterior_the_decoder_gradient_is_that_of_log_p(draw, float64):
    params, x = params_of(orthogonal_loadings()), jnp.asarray(X)
    model = linear.linear_vae(latent=LATENT, draw=draw)

    @jax.jit
    @jax.vmap
    def gradient(key):
        return jax.grad(lambda p: iwae_bound(model, key, p, x, num_samples=2))(params)["decoder"]

    found = gradient(jax.random.split(jax.random.key(0), 5000))
    expected = jax.jit(jax.grad(linear.log_marginal))(params, x)["decoder"]
    for name in ("W", "log_scale"):
        assert_mean(found[name], expected[name])


def test_log_marginal_agrees_with_scipy(float64):
    loadings = orthogonal_loadings() @ ROTATION
    covariance = loadings @ loadings.T + NOISE**2 * np.eye(DIMENSIONS)
    expected = scipy.stats.multivariate_normal(CENTER, covariance).logpdf(X)
    np.testing.assert_allclose(linear.log_marginal(params_of(loadings), jnp.asarray(X)), expected, rtol=1e-12)


def test_log_marginal_and_posterior_agree_with_quadrature(float64):
    loadings = np.array([[0.8], [-0.5], [1.2], [0.1], [0.4]])
    params, x = params_of(loadings), jnp.asarray(X)

    def moment(order):
        def integrand(z):
            likelihood = np.prod(scipy.stats.norm(loadings[:, 0] * z + CENTER, NOISE).pdf(X))
            return z**order * likelihood * scipy.stats.norm.pdf(z)

        return scipy.integrate.quad(integrand, -8, 8, points=[0.0, 1.0], epsabs=1e-16, epsrel=1e-11)[0]

    evidence, first, second = (moment(order) for order in range(3))
    np.testing.assert_allclose(linear.log_marginal(params, x), np.log(evidence), rtol=1e-10)
    mean, covariance = linear.exact_posterior(params, x)
    np.testing.assert_allclose(mean, [first / evidence], rtol=1e-8)
    np.testing.assert_allclose(covariance, [[second / evidence - (first / evidence) ** 2]], rtol=1e-8)


def test_posterior_agrees_with_conditioning_the_joint_gaussian(float64):
    loadings = orthogonal_loadings() @ ROTATION
    for found, expected in zip(
        linear.exact_posterior(params_of(loadings), jnp.asarray(X)), posterior_of(loadings), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    orthogonal = params_of(orthogonal_loadings())
    q = linear.linear_vae(latent=LATENT).posterior(orthogonal, jnp.asarray(X))
    mean, covariance = posterior_of(orthogonal_loadings())
    np.testing.assert_allclose(q.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(np.diag(np.exp(2 * q.log_scale)), covariance, atol=1e-12)


def data():
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(DIMENSIONS, DIMENSIONS)) * np.array([2.0, 1.4, 0.7, 0.4, 0.3])
    return rng.normal(size=(400, DIMENSIONS)) @ mixing.T + CENTER


def mean_log_marginal(params, xs):
    return jnp.mean(jax.vmap(linear.log_marginal, (None, 0))(params, xs))


@pytest.mark.parametrize("latent", [1, 2, 4])
def test_probabilistic_pca_attains_the_closed_form_maximum(latent, float64):
    xs = data()
    params = linear.probabilistic_pca(jnp.asarray(xs), latent=latent)
    eigenvalues = np.linalg.eigvalsh(np.cov(xs.T, bias=True))[::-1]
    variance = eigenvalues[latent:].mean()
    logs = np.log(eigenvalues[:latent]).sum() + (DIMENSIONS - latent) * np.log(variance)
    maximum = -0.5 * (DIMENSIONS * np.log(2 * np.pi) + logs + DIMENSIONS)
    np.testing.assert_allclose(mean_log_marginal(params, jnp.asarray(xs)), maximum, rtol=1e-12)

    decoder, encoder = params["decoder"], params["encoder"]
    precision = np.asarray(decoder["W"]).T @ np.asarray(decoder["W"]) + variance * np.eye(latent)
    np.testing.assert_allclose(np.exp(2 * decoder["log_scale"]), variance, rtol=1e-10)
    np.testing.assert_allclose(encoder["V"], np.linalg.inv(precision) @ np.asarray(decoder["W"]).T, rtol=1e-8)
    np.testing.assert_allclose(np.exp(2 * encoder["log_scale"]), variance / np.diag(precision), rtol=1e-10)

    model = linear.linear_vae(latent=latent, draw=sticking_the_landing)
    bounds = batched_elbo(model, jax.random.key(0), params, jnp.asarray(xs))
    np.testing.assert_allclose(bounds.mean(), maximum, rtol=1e-10)  # its columns are orthogonal: the bound is tight


def test_probabilistic_pca_is_a_maximum(float64):
    xs = jnp.asarray(data())
    params = linear.probabilistic_pca(xs, latent=LATENT)
    likelihood = jax.jit(mean_log_marginal)
    maximum, gradient = jax.jit(jax.value_and_grad(mean_log_marginal))(params, xs)
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_allclose(leaf, 0, atol=1e-10)
    rng = np.random.default_rng(2)
    for _ in range(20):
        moved = jax.tree.map(lambda leaf: leaf + 0.05 * rng.normal(size=leaf.shape), params["decoder"])
        assert likelihood(params | {"decoder": moved}, xs) < maximum - 1e-4


def test_probabilistic_pca_agrees_with_scikit_learn(float64):
    xs = data()
    decoder = linear.probabilistic_pca(jnp.asarray(xs), latent=LATENT)["decoder"]
    found = decoder["W"] @ decoder["W"].T + np.exp(2 * decoder["log_scale"]) * np.eye(DIMENSIONS)
    peer = PCA(LATENT).fit(xs)
    # scikit-learn divides the covariance by N - 1, the likelihood's maximum by N
    np.testing.assert_allclose(found, peer.get_covariance() * (len(xs) - 1) / len(xs), rtol=1e-8)
    np.testing.assert_allclose(decoder["center"], peer.mean_, rtol=1e-10)


@pytest.mark.parametrize("latent", [0, DIMENSIONS])
def test_probabilistic_pca_refuses_as_many_latents_as_dimensions(latent):
    with pytest.raises(ValueError, match=f"latent={latent} must lie between 1 and 4"):
        linear.probabilistic_pca(jnp.zeros((10, DIMENSIONS)), latent=latent)


def test_rotated_loadings_leave_log_p_and_open_the_gap_of_the_best_diagonal_posterior(float64):
    """log p - max ELBO = KL(q || p) = ½ [Σ ln M_ii - ln |M|] ≥ 0, by Hadamard's inequality."""
    loadings, x = orthogonal_loadings() @ ROTATION, jnp.asarray(X)
    params = params_of(loadings)
    truth = linear.log_marginal(params, x)
    np.testing.assert_allclose(truth, linear.log_marginal(params_of(orthogonal_loadings()), x), rtol=1e-12)

    precision = loadings.T @ loadings + NOISE**2 * np.eye(LATENT)
    gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    assert gap > 0.05
    posterior = posterior_of(loadings)

    def divergence(free):
        return kl_of_gaussians(free[:LATENT], np.diag(np.exp(2 * free[LATENT:])), *posterior)

    found = scipy.optimize.minimize(divergence, np.array([1.0, -1.0, 0.5, -0.5]), tol=1e-12)
    np.testing.assert_allclose(found.fun, gap, rtol=1e-8)
    model = linear.linear_vae(latent=LATENT)
    q = model.posterior(params, x)
    np.testing.assert_allclose(np.concatenate([q.mean, q.log_scale]), found.x, atol=1e-5)

    bounds = batched_elbo(model, jax.random.key(1), params, jnp.tile(x, (20_000, 1)), num_samples=5)
    assert_mean(truth - bounds, gap)


def perturbed():
    """Params whose posterior of X is off in the mean and too wide."""
    params = params_of(orthogonal_loadings() @ ROTATION)
    encoder = params["encoder"]
    encoder = encoder | {"V": encoder["V"] + 0.05, "log_scale": encoder["log_scale"] + jnp.array([0.3, 0.2])}
    params = params | {"encoder": encoder}
    q = linear.linear_vae(latent=LATENT).posterior(params, jnp.asarray(X))
    q_mean, q_covariance = np.asarray(q.mean), np.diag(np.exp(2 * np.asarray(q.log_scale)))
    return params, (q_mean, q_covariance), posterior_of(orthogonal_loadings() @ ROTATION)


@pytest.mark.parametrize("bound", [batched_elbo, batched_iwae_bound])
def test_the_gap_of_one_sample_is_the_divergence_from_the_posterior(bound, float64):
    params, q, p = perturbed()
    x = jnp.asarray(X)
    bounds = bound(linear.linear_vae(latent=LATENT), jax.random.key(2), params, jnp.tile(x, (50_000, 1)), num_samples=1)
    assert kl_of_gaussians(*q, *p) > 0.1
    assert_mean(linear.log_marginal(params, x) - bounds, kl_of_gaussians(*q, *p))


def test_the_gap_of_many_samples_tends_to_chi_squared_over_2k(float64):
    params, q, p = perturbed()
    x, num_samples = jnp.asarray(X), 200
    model = linear.linear_vae(latent=LATENT)
    bounds = batched_iwae_bound(model, jax.random.key(3), params, jnp.tile(x, (4000, 1)), num_samples=num_samples)
    log_ratio = np.asarray(bounds) - float(linear.log_marginal(params, x))
    # e^log_ratio, the mean weight over p(x), has mean one: a control variate
    gap = np.expm1(log_ratio) - log_ratio
    assert_mean(np.expm1(log_ratio), 0)
    expected = chi_squared_of_gaussians(*p, *q) / (2 * num_samples)
    error = gap.std() / np.sqrt(len(gap))
    assert error < 0.05 * expected
    # beyond the first order there are terms of order 1/k²
    assert abs(gap.mean() - expected) < 5 * error + 0.05 * expected


def test_the_model_draws_from_its_marginal():
    params = params_of(orthogonal_loadings())
    model = linear.linear_vae(latent=LATENT)
    draws = np.asarray(jax.jit(jax.vmap(model.sample, (0, None)))(jax.random.split(jax.random.key(0), 20_000), params))
    assert_mean(draws, CENTER)
    products = (draws - CENTER)[:, :, None] * (draws - CENTER)[:, None, :]
    loadings = orthogonal_loadings()
    assert_mean(products, loadings @ loadings.T + NOISE**2 * np.eye(DIMENSIONS))


def test_initial_params_have_the_shapes_of_the_closed_form_ones():
    model = linear.linear_vae(latent=LATENT)
    params = model.init(jax.random.key(0), jnp.zeros(DIMENSIONS))
    expected = params_of(orthogonal_loadings())
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)
