"""The textbook's experiments: their numbers against closed forms, quadrature, scipy and scikit-learn."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.stats
from PIL import Image
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.mixture import GaussianMixture

from experiments.foundations import (
    elbo_curves,
    gradient_variance,
    latent_variable,
    linear_models,
    mixture_em,
    nonlinear_model,
)
from jaxvae import batched_elbo
from jaxvae.models import linear
from jaxvae.run import RunError

pytestmark = pytest.mark.usefixtures("float64")


def saved(folder: Path, *figures: str) -> dict:
    """The numbers of a run, once its pictures and protocol are seen to be there."""
    for name in figures:
        with Image.open(folder / name) as picture:
            assert picture.width == 1440
            assert np.asarray(picture.convert("L")).std() > 5
    numbers = json.loads((folder / "result.json").read_text())
    assert numbers["protocol"]
    assert numbers["config"]["folder"] == str(folder)
    return numbers


@pytest.fixture(scope="module")
def fitted():
    with jax.enable_x64(True):
        xs = mixture_em.sample(jax.random.key(3), mixture_em.truth(), 200)
        start = mixture_em.initial(jax.random.key(4), xs, 3)
        end, trace = mixture_em.em(start, xs, iterations=60)
        return xs, start, end, trace


@pytest.fixture(scope="module")
def plane():
    with jax.enable_x64(True):
        return nonlinear_model.grid(2, nodes=161)


@pytest.fixture(scope="module")
def measured():
    with jax.enable_x64(True):
        mean = jnp.full(6, 1.0 / 6**0.5)
        options = {"draws": 20_000, "pilot_draws": 20_000}
        numbers, baselines, _ = gradient_variance.measure(jax.random.key(0), mean, jnp.asarray(0.5), **options)
        return {name: np.asarray(values) for name, values in numbers.items()}, np.asarray(baselines)


@pytest.fixture(scope="module")
def xs():
    return linear_models.digits(0)[0]


class TestMixtureEM:
    def test_the_likelihood_is_scipys(self, fitted):
        xs, _, (weights, means, variances), trace = fitted
        density = sum(
            w * scipy.stats.norm.pdf(xs, m, np.sqrt(v)) for w, m, v in zip(weights, means, variances, strict=True)
        )
        np.testing.assert_allclose(trace.likelihood[-1], np.log(density).sum(), rtol=1e-12)

    def test_the_bound_touches_after_e_and_lags_after_m(self, fitted):
        *_, trace = fitted
        np.testing.assert_allclose(trace.after_e, trace.before, rtol=0, atol=1e-10)
        lag = trace.likelihood - trace.after_m
        assert (lag[:5] > 1e-3).all()
        assert (lag > -1e-10).all()
        assert (trace.after_m - trace.after_e > -1e-10).all()

    def test_the_gap_is_the_divergence(self, fitted):
        xs, start, end, _ = fitted
        gamma = mixture_em.responsibilities(start, xs)
        gap = mixture_em.log_likelihood(end, xs) - mixture_em.lower_bound(gamma, end, xs)
        assert gap > 1
        np.testing.assert_allclose(mixture_em.divergence(gamma, end, xs), gap, rtol=1e-10)

    def test_the_likelihood_never_falls(self, fitted):
        *_, trace = fitted
        assert (trace.likelihood - trace.before > -1e-10).all()
        assert trace.likelihood[-1] > trace.before[0] + 10

    def test_the_m_step_maximises_the_bound(self, fitted):
        xs, start, *_ = fitted
        gamma = mixture_em.responsibilities(start, xs)
        best = mixture_em.maximise(gamma, xs)
        free = (jnp.log(best.weights), best.means, jnp.log(best.variances))

        def bound(logits, means, log_variances):
            mixture = mixture_em.Mixture(jax.nn.softmax(logits), means, jnp.exp(log_variances))
            return mixture_em.lower_bound(gamma, mixture, xs)

        bound = jax.jit(bound)
        for slope in jax.jit(jax.grad(bound, (0, 1, 2)))(*free):
            np.testing.assert_allclose(slope, 0, atol=1e-9)
        assert bound(free[0], free[1] + 0.01, free[2]) < bound(*free)

    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    @pytest.mark.parametrize("iterations", [1, 60])
    def test_scikit_learn_takes_the_same_steps(self, fitted, iterations):
        xs, start, end, _ = fitted
        if iterations == 1:
            end = mixture_em.maximise(mixture_em.responsibilities(start, xs), xs)
        peer = GaussianMixture(
            3,
            covariance_type="diag",
            max_iter=iterations,
            tol=0,
            reg_covar=0,
            weights_init=start.weights,
            means_init=start.means[:, None],
            precisions_init=1 / start.variances[:, None],
        ).fit(xs[:, None])
        np.testing.assert_allclose(end.weights, peer.weights_, rtol=1e-8)
        np.testing.assert_allclose(end.means, peer.means_[:, 0], rtol=1e-8)
        np.testing.assert_allclose(end.variances, peer.covariances_[:, 0], rtol=1e-8)

    def test_it_runs(self, tmp_path):
        mixture_em.main(mixture_em.Config(examples=100, iterations=20, folder=tmp_path))
        numbers = saved(tmp_path, "mixture_em.png")
        assert numbers["largest_gap_after_e"] < 1e-10
        assert numbers["log_likelihood"]["end"] > numbers["log_likelihood"]["start"]

    def test_a_collapse_is_a_sentence(self, tmp_path):
        with pytest.raises(RunError, match="fewer --components than 40"):
            mixture_em.main(mixture_em.Config(examples=60, components=40, folder=tmp_path))


class TestLatentVariable:
    scale = 0.3

    def test_the_marginal_integrates_to_one(self):
        on = nonlinear_model.grid(1, nodes=1001)
        x = jnp.stack(jnp.meshgrid(jnp.linspace(-2, 3.5, 90), jnp.linspace(-3, 3, 90)), axis=-1).reshape(-1, 2)
        log_density = jax.vmap(lambda x: nonlinear_model.log_marginal(nonlinear_model.curve, 0.2, x, on))(x)
        assert abs(jnp.exp(log_density).sum() * (5.5 / 89) * (6 / 89) - 1) < 1e-6

    def test_the_marginal_is_quads(self):
        x, scale = (0.65, -0.85), 0.15

        def joint(z):
            f = 0.5 * np.exp(np.sin(2 * z + 0.3)), np.cos(1.6 * z + 0.6)
            return scipy.stats.norm.pdf(z) * np.prod(scipy.stats.norm.pdf(x, f, scale))

        exact, _ = scipy.integrate.quad(joint, -8, 8, limit=500, points=[-1.9, 1.3], epsabs=1e-13)
        on = nonlinear_model.grid(1, nodes=2001)
        found = nonlinear_model.log_marginal(nonlinear_model.curve, scale, jnp.array(x), on)
        np.testing.assert_allclose(found, np.log(exact), rtol=1e-7)

    def test_the_cells_of_the_paraboloid_are_closed_forms(self, plane):
        edges = np.array([-0.5, 0.0, 0.4, 1.0, 2.5, 4.0])
        whole = np.array([-np.inf, np.inf])
        first, second = (
            nonlinear_model.cell_probabilities(nonlinear_model.paraboloid, self.scale, pair, plane)
            for pair in ([edges, whole], [whole, edges])
        )
        # x₁ = Exp(1) + N(0, σ²), x₂ = N(0, ½ + σ²)
        exponential = scipy.stats.exponnorm(1 / self.scale, scale=self.scale)
        np.testing.assert_allclose(first[:, 0], np.diff(exponential.cdf(edges)), atol=1e-6)
        np.testing.assert_allclose(second[0], np.diff(scipy.stats.norm(0, np.sqrt(0.5 + 0.09)).cdf(edges)), atol=1e-8)

    def test_the_cells_are_the_integral_of_the_marginal(self, plane):
        edges = [np.array([0.5, 0.6]), np.array([0.2, 0.3])]
        cell = nonlinear_model.cell_probabilities(nonlinear_model.paraboloid, self.scale, edges, plane)
        middle = nonlinear_model.log_marginal(nonlinear_model.paraboloid, self.scale, jnp.array([0.55, 0.25]), plane)
        np.testing.assert_allclose(cell[0, 0], 0.01 * np.exp(middle), rtol=5e-3)

    @pytest.mark.parametrize("diagonal", [True, False])
    def test_a_linear_model_has_closed_forms(self, plane, diagonal):
        w, x = np.array([[0.9, 0.4], [-0.3, 0.7]]), np.array([0.8, -0.5])
        variance = self.scale**2
        covariance = np.linalg.inv(np.eye(2) + w.T @ w / variance)
        mean = covariance @ w.T @ x / variance
        f = lambda z: jnp.asarray(w) @ z  # noqa: E731
        starts = jnp.array([[0.0, 0.0]])
        q = nonlinear_model.best_gaussian(f, self.scale, jnp.asarray(x), plane, starts, diagonal=diagonal)
        marginal = scipy.stats.multivariate_normal(np.zeros(2), w @ w.T + variance * np.eye(2)).logpdf(x)
        found = nonlinear_model.log_marginal(f, self.scale, jnp.asarray(x), plane)
        np.testing.assert_allclose(found, marginal, rtol=1e-8)
        np.testing.assert_allclose(q.mean, mean, atol=1e-5)
        precision = np.linalg.inv(covariance)
        best = np.diag(1 / np.diag(precision)) if diagonal else covariance
        np.testing.assert_allclose(q.factor @ q.factor.T, best, atol=1e-5)
        kl = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1]) if diagonal else 0
        np.testing.assert_allclose(q.kl, kl, atol=1e-8)

    def test_the_divergence_is_an_integral_over_the_posterior(self):
        on, x = nonlinear_model.grid(1, nodes=2001), jnp.array([0.65, -0.85])
        starts = jnp.linspace(-1.5, 1.5, 3)[:, None]
        q = nonlinear_model.best_gaussian(nonlinear_model.curve, 0.15, x, on, starts, diagonal=True)
        log_posterior = nonlinear_model.log_posterior(nonlinear_model.curve, 0.15, x, on)
        np.testing.assert_allclose(jnp.exp(log_posterior).sum() * on.weight, 1, rtol=1e-12)

        def divergence(mean, scale):
            log_q = scipy.stats.norm.logpdf(on.z[:, 0], mean, scale)
            return np.sum(np.exp(log_q) * (log_q - log_posterior)) * on.weight

        mean, scale = float(q.mean[0]), float(q.factor[0, 0])
        np.testing.assert_allclose(q.kl, divergence(mean, scale), rtol=1e-6)
        for other in ((mean + 0.02, scale), (mean - 0.02, scale), (mean, 1.1 * scale), (mean, 0.9 * scale)):
            assert divergence(*other) > q.kl

    def test_pearsons_test_finds_wrong_samples(self, plane):
        model = nonlinear_model.Model("", nonlinear_model.paraboloid, self.scale, 2, plane, jnp.zeros((0, 2)))
        _, right = latent_variable.measure(jax.random.key(0), model, 4000)
        assert right["samples"]["p_value"] > 1e-3
        counts, probabilities = np.array([[30.0, 40.0], [50.0, 2.0]]), np.array([[0.3, 0.4], [0.28, 0.02]])
        found = nonlinear_model.chi_squared(counts, probabilities)
        pooled = scipy.stats.chisquare([30, 40, 50, 2], 122 * np.array([0.3, 0.4, 0.28, 0.02]))
        assert found["degrees"] == 3
        assert found["chi_squared"] > 0
        np.testing.assert_allclose(found["chi_squared"], pooled.statistic, rtol=1e-12)
        shifted = jnp.roll(jnp.asarray(probabilities), 1)
        assert nonlinear_model.chi_squared(10 * counts, np.asarray(shifted))["p_value"] < 1e-6

    def test_it_runs(self, tmp_path):
        latent_variable.main(latent_variable.Config(examples=5000, folder=tmp_path))
        numbers = saved(tmp_path, "latent_variable_1d.png", "latent_variable_2d.png")
        for name in ("curve", "paraboloid"):
            assert numbers[name]["samples"]["p_value"] > 1e-3
            assert all(p["diagonal"]["kl"] > 0 for p in numbers[name]["posteriors"])
        for posterior in numbers["paraboloid"]["posteriors"]:
            assert 0 < posterior["full"]["kl"] < posterior["diagonal"]["kl"]


class TestElboCurves:
    scale = 0.8

    def test_the_likelihood_is_the_linear_models(self):
        params = linear.parameters(jnp.array([[1.3]]), jnp.zeros(1), jnp.asarray(self.scale))
        xs = jnp.array([0.4, -1.2, 2.0])
        exact = sum(linear.log_marginal(params, x[None]) for x in xs)
        found = elbo_curves.log_likelihood(jnp.asarray(1.3), xs, noise_scale=self.scale)
        np.testing.assert_allclose(found, exact, rtol=1e-12)

    def test_jensens_gap_is_the_divergence(self):
        theta, x = jnp.asarray(1.3), jnp.asarray(0.7)
        q = elbo_curves.Phi(jnp.asarray(0.3), jnp.log(0.7))
        below, above, _ = elbo_curves.jensen(theta, q, x, noise_scale=self.scale)
        np.testing.assert_allclose(above, scipy.stats.norm.logpdf(x, 0, np.sqrt(theta**2 + self.scale**2)), rtol=1e-6)
        mean, scale = theta * x / (theta**2 + self.scale**2), self.scale / np.sqrt(theta**2 + self.scale**2)
        kl = np.log(scale / 0.7) + (0.49 + (0.21 - mean) ** 2) / (2 * scale**2) - 0.5
        np.testing.assert_allclose(above - below, kl, rtol=1e-6)
        np.testing.assert_allclose(below, elbo_curves.elbo(theta, q, x[None], noise_scale=self.scale), rtol=1e-10)

    @pytest.mark.parametrize("theta", [0.3, 1.0, 2.5])
    def test_a_bound_is_tangent_where_it_is_tight_and_below_elsewhere(self, theta):
        xs, options = jnp.array([0.4, -1.2, 2.0]), {"noise_scale": self.scale}
        touch = elbo_curves.tangency(jnp.asarray(theta), xs, **options)
        np.testing.assert_allclose(touch["bound_value"], touch["value"], rtol=1e-12)
        np.testing.assert_allclose(touch["bound_slope"], touch["slope"], rtol=1e-10)
        step = 1e-5
        around = [elbo_curves.log_likelihood(jnp.asarray(theta + s), xs, **options) for s in (-step, step)]
        np.testing.assert_allclose(touch["slope"], (around[1] - around[0]) / (2 * step), rtol=1e-6)
        phi = elbo_curves.tighten(jnp.asarray(theta), **options)
        for other in (theta - 0.2, theta + 0.2):
            bound = elbo_curves.elbo(jnp.asarray(other), phi, xs, **options)
            assert bound < elbo_curves.log_likelihood(jnp.asarray(other), xs, **options) - 1e-3
        for field in (0, 1):
            for shift in (-0.1, 0.1):
                loose = elbo_curves.Phi(*(value + shift * (i == field) for i, value in enumerate(phi)))
                assert elbo_curves.elbo(jnp.asarray(theta), loose, xs, **options) < touch["value"] - 1e-4

    def test_the_ascent_reaches_the_maximum(self):
        xs, options = jnp.array([0.4, -1.2, 2.0, 1.7]), {"noise_scale": self.scale}
        thetas = elbo_curves.ascend(jnp.asarray(0.3), xs, **options, rounds=200)
        values = [float(elbo_curves.log_likelihood(theta, xs, **options)) for theta in thetas[:20]]
        assert (np.diff(values) > 0).all()
        # the maximum has θ² + σ² = the mean of x²
        np.testing.assert_allclose(thetas[-1], np.sqrt(np.mean(xs**2) - self.scale**2), rtol=1e-6)

    def test_it_runs(self, tmp_path):
        elbo_curves.main(elbo_curves.Config(examples=20, rounds=2, folder=tmp_path))
        numbers = saved(tmp_path, "elbo_curves.png")
        assert len(numbers["tangency"]) == 3
        for touch in numbers["tangency"]:
            assert abs(touch["bound_value"] - touch["value"]) < 1e-10
            assert abs(touch["bound_slope"] - touch["slope"]) < 1e-10
        # at θ = 1, x = 1 with the prior: E[ln w] = ln N(1; 0, σ²) - 1/2σ²
        expected = scipy.stats.norm.logpdf(1, 0, self.scale) - 0.5 / self.scale**2
        np.testing.assert_allclose(numbers["jensen"]["mean_of_log"], expected, rtol=1e-9)


class TestGradientVariance:
    distance, scale = 1.0, 0.5

    def test_all_are_unbiased_and_have_the_exact_variance(self, measured):
        numbers, baselines = measured
        assert (numbers["bias_in_standard_errors"] < 5).all()
        exact = gradient_variance.exact_variances(6, self.distance, self.scale, baselines)
        assert (np.abs(numbers["variance"] - exact) < 5 * numbers["standard_error"]).all()
        assert (numbers["standard_error"] < 0.05 * exact).all()

    def test_the_closed_forms_are_integrals_in_one_dimension(self):
        node, weight = np.polynomial.hermite_e.hermegauss(20)
        weight = weight / weight.sum()
        f = 0.5 * (self.distance + self.scale * node) ** 2
        baselines = gradient_variance.exact_baselines(1, self.distance, self.scale)
        np.testing.assert_allclose(baselines[1], weight @ f, rtol=1e-12)
        np.testing.assert_allclose(baselines[2], weight @ (f * node**2) / (weight @ node**2), rtol=1e-12)
        exact = gradient_variance.exact_variances(1, self.distance, self.scale, baselines)
        np.testing.assert_allclose(exact[0], self.scale**2)
        for baseline, variance in zip(baselines, exact[1:], strict=True):
            gradient = (f - baseline) * node / self.scale
            np.testing.assert_allclose(weight @ gradient, self.distance, rtol=1e-12)
            np.testing.assert_allclose(weight @ (gradient - self.distance) ** 2, variance, rtol=1e-12)

    def test_the_optimal_baseline_is_the_best_and_is_found(self, measured):
        exact = gradient_variance.exact_baselines(6, self.distance, self.scale)
        of = lambda b: gradient_variance.exact_variances(6, self.distance, self.scale, np.array([b]))[1]  # noqa: E731
        assert of(exact[2]) < min(of(exact[2] - 0.01), of(exact[2] + 0.01))
        assert of(exact[2]) < of(exact[1]) < of(exact[0])
        _, baselines = measured
        # f has variance σ²|δ|² + σ⁴ D / 2
        error = np.sqrt((0.25 + 0.0625 * 3) / 20_000)
        assert abs(baselines[1] - exact[1]) < 5 * error
        assert abs(baselines[2] - exact[2]) < 10 * error

    def test_the_score_is_the_closed_form(self):
        mean = jnp.array([0.3, -1.0])
        z, slope = gradient_variance.score(jax.random.key(0), mean, jnp.asarray(self.scale))
        np.testing.assert_allclose(slope, (z - mean) / self.scale**2, rtol=1e-10)

    def test_a_ratio_has_the_standard_error_of_a_bootstrap(self):
        generator = np.random.default_rng(0)
        above, below = generator.exponential(3, (2000, 500)), generator.exponential(1, (2000, 500))
        errors = np.array([b.std(axis=1, ddof=1).mean() / 500**0.5 for b in (below, above)])
        _, error = gradient_variance.ratios(np.array([1.0, 3.0]), errors)
        simulated = (above.mean(axis=1) / below.mean(axis=1)).std()
        assert abs(error[0] / simulated - 1) < 5 / np.sqrt(2 * 2000)

    def test_it_runs(self, tmp_path):
        gradient_variance.main(gradient_variance.Config(draws=2000, dimensions=(2, 32), folder=tmp_path))
        numbers = saved(tmp_path, "gradient_variance.png")["dimensions"]
        for by_name in numbers.values():
            assert max(by_name["bias_in_standard_errors"]) < 5
            for ratio, error in zip(by_name["ratio"], by_name["ratio_standard_error"], strict=True):
                assert ratio - 5 * error > 1


class TestLinearModels:
    def test_the_maximum_is_that_of_probabilistic_pca(self, xs):
        maximum = linear_models.probabilistic_pca_maximum(xs, 8)
        params = linear.probabilistic_pca(jnp.asarray(xs), latent=8)
        np.testing.assert_allclose(linear_models.mean_log_likelihood(params, jnp.asarray(xs)), maximum, rtol=1e-10)
        w, scale = np.asarray(params["decoder"]["W"]), np.exp(params["decoder"]["log_scale"])
        peer = scipy.stats.multivariate_normal(xs.mean(axis=0), w @ w.T + scale**2 * np.eye(64)).logpdf(xs).mean()
        np.testing.assert_allclose(peer, maximum, rtol=1e-10)
        # scikit-learn divides the covariance by N - 1
        np.testing.assert_allclose(PCA(8).fit(xs).score(xs), maximum, rtol=1e-5)

    def test_the_elbo_is_a_mean_over_draws_and_tight_at_the_maximum(self, xs):
        xs = jnp.asarray(xs[:200])
        best = linear.probabilistic_pca(xs, latent=3)
        np.testing.assert_allclose(
            linear_models.mean_elbo(best, xs), linear_models.mean_log_likelihood(best, xs), rtol=1e-10
        )
        model = linear.linear_vae(latent=3)
        params = jax.jit(model.init)(jax.random.key(0), xs[0])
        drawn, drawn_again = (
            batched_elbo(model, key, params, xs, num_samples=50) for key in jax.random.split(jax.random.key(1))
        )
        error = jnp.std(drawn - drawn_again) / jnp.sqrt(2.0 * len(xs))
        assert abs(jnp.mean(drawn) - linear_models.mean_elbo(params, xs)) < 5 * error
        assert linear_models.mean_elbo(params, xs) < linear_models.mean_log_likelihood(params, xs) - 0.1

    @pytest.mark.slow
    def test_the_linear_vae_reaches_the_maximum(self, tmp_path):
        """Within 0.05 nats per example of the closed form, and its subspace within three degrees."""
        with jax.numpy_dtype_promotion("standard"):  # optax's Adam multiplies whole numbers and fractions
            linear_models.main(linear_models.Config(latent=4, sizes=(1, 4), epochs=200, folder=tmp_path))
        numbers = saved(tmp_path, "linear_models.png")
        assert 0 < numbers["linear_vae_short_of_maximum"] < 0.05
        models = numbers["models"]
        vae, ppca, pca = (models[name] for name in ("linear VAE", "probabilistic PCA", "PCA"))
        assert 0 < vae["train"] - vae["train_elbo"] < 0.05
        assert abs(vae["test"] - ppca["test"]) < 0.05
        assert vae["angle_to_pca"] < 3
        assert ppca["angle_to_pca"] < 1e-6
        assert pca["reconstruction_error"] < ppca["reconstruction_error"]
        assert models["factor analysis"]["train"] > ppca["train"]
        assert len(numbers["learning_curve"]) == 200

    @pytest.mark.slow
    def test_factor_analysis_is_at_a_maximum(self, xs):
        """There the diagonal of W Wᵀ + Ψ is that of the data's covariance."""
        xs = xs[:, 18:30]
        factors = FactorAnalysis(2, svd_method="lapack", tol=1e-8, max_iter=5000).fit(xs)
        w, noise = factors.components_.T, factors.noise_variance_
        np.testing.assert_allclose(np.diag(w @ w.T) + noise, xs.var(axis=0), rtol=1e-3)
        peer = scipy.stats.multivariate_normal(xs.mean(axis=0), w @ w.T + np.diag(noise)).logpdf(xs).mean()
        np.testing.assert_allclose(linear_models.scores(factors, xs, xs)["train"], peer, rtol=1e-8)

    def test_angles_and_alignment(self):
        axes = np.eye(5)[:, :2]
        turned = np.array([[0.0, -3.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
        assert linear_models.largest_angle(axes, turned) < 1e-6
        np.testing.assert_allclose(linear_models.aligned(turned, axes), [[3, 0], [0, 1], [0, 0], [0, 0], [0, 0]])
        tilted = np.array([[1.0, 0], [0, np.cos(0.3)], [0, np.sin(0.3)], [0, 0], [0, 0]])
        np.testing.assert_allclose(linear_models.largest_angle(axes, tilted), np.degrees(0.3), rtol=1e-9)


REFUSED = [
    (mixture_em, {"components": 0}, "--components must be 1 or more, not 0."),
    (mixture_em, {"examples": -5}, "--examples must be 4 or more, not -5."),
    (mixture_em, {"seed": -1}, "--seed must be 0 or more, not -1."),
    (latent_variable, {"examples": 0}, "--examples must be 1000 or more, not 0."),
    (latent_variable, {"curve_scale": float("nan")}, "--curve-scale must be 0.1 or more, not nan."),
    (elbo_curves, {"rounds": 0}, "--rounds must be 1 or more, not 0."),
    (elbo_curves, {"noise_scale": -1.0}, "--noise-scale must be 0.05 or more, not -1.0."),
    (gradient_variance, {"dimensions": (4, 0)}, "--dimensions must be 1 or more, not 0."),
    (gradient_variance, {"dimensions": ()}, "--dimensions needs one number or more"),
    (linear_models, {"latent": 0}, "--latent must be 1 or more, not 0."),
    (linear_models, {"latent": 64}, "--latent and --sizes must be below the 64 pixels"),
    (linear_models, {"batch_size": 1401}, "--batch-size at most the 1400 examples"),
]


@pytest.mark.parametrize(("experiment", "values", "sentence"), REFUSED)
def test_wrong_values_are_sentences(tmp_path, experiment, values, sentence):
    with pytest.raises(RunError, match=sentence):
        experiment.main(experiment.Config(**values, folder=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--components", "0"], ["--folder", "/dev/null/here"]])
def test_the_command_line_exits_with_two_and_one_line(arguments):
    command = [sys.executable, "-m", "experiments.foundations.mixture_em", "--iterations", "2", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
