"""The scikit-learn estimator: scikit-learn's own checks, and its densities against closed forms."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from compilations import compilations
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from jaxvae.run.scikit import VAEEstimator
from jaxvae.run.table_rows import cosine


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.slow
def test_it_passes_all_checks_of_scikit_learn():
    results = check_estimator(VAEEstimator(), on_skip=None)  # raises at the first check that fails
    skipped = {result["check_name"] for result in results if result["status"] != "passed"}
    assert skipped <= {"check_array_api_input"}  # which runs only where SCIPY_ARRAY_API is set
    assert len(results) > 40


# A linear-Gaussian table in units of its own: x = W z + μ + noise, with the density N(μ, W Wᵀ + diag σ²).
LOADINGS = np.array([[20.0, 0.0], [10.0, 5.0], [0.0, 0.3], [-0.02, 0.01]])
CENTER, NOISE = np.array([100.0, -50.0, 0.0, 3.0]), np.array([5.0, 4.0, 0.2, 0.01])


@pytest.fixture(scope="module")
def linear():
    random = np.random.default_rng(0)

    def rows(count):
        return random.normal(size=(count, 2)) @ LOADINGS.T + CENTER + NOISE * random.normal(size=(count, 4))

    train, test = rows(3000), rows(1000)
    with jax.numpy_dtype_promotion("standard"):
        fitted = VAEEstimator(latent=2, epochs=60, random_state=0).fit(train)
    true = scipy.stats.multivariate_normal(CENTER, LOADINGS @ LOADINGS.T + np.diag(NOISE**2))
    return fitted, test, true.logpdf(test)


def test_the_score_of_a_linear_gaussian_table_is_its_true_log_density(linear):
    fitted, test, true = linear
    difference = fitted.score_samples(test) - true
    assert abs(difference.mean()) < 0.1, "nats per row; three thousand rows are what the model knows of the density"
    assert difference.std() < 0.35
    assert np.corrcoef(fitted.score_samples(test), true)[0, 1] > 0.97
    # Without the Jacobian of the standardisation the score would be off by its logarithm.
    assert abs(np.log(fitted.scale_).sum()) > 0.5


def test_a_score_does_not_depend_on_the_units(linear):
    fitted, test, _ = linear
    brief = clone(fitted).set_params(epochs=1)
    expected = brief.fit(test).score_samples(test[:50]) - 4 * np.log(1024)
    found = brief.fit(1024 * test).score_samples(1024 * test[:50])  # a power of two: not a bit of the rows is lost
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_score_rises_with_the_draws(linear):
    fitted, test, _ = linear
    brief = clone(fitted).set_params(epochs=1).fit(test)
    outliers = CENTER + 3 * (test - CENTER)  # where q is far from the posterior, so that k makes a difference
    one, ten, many = (brief.set_params(num_samples=k).score_samples(outliers) for k in (1, 10, 500))
    for gain in (ten - one, many - ten):
        assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain))


def test_a_row_gets_the_same_score_in_any_company(linear):
    fitted, test, _ = linear
    together = fitted.score_samples(test[:100])
    np.testing.assert_allclose(fitted.score_samples(test[99:100]), together[99:], rtol=1e-12)
    np.testing.assert_allclose(fitted.score_samples(test[:100][::-1]), together[::-1], rtol=1e-12)
    np.testing.assert_array_equal(fitted.score_samples(test[:100]), together)


def test_samples_have_the_moments_of_the_table(linear):
    fitted, _, _ = linear
    rows = fitted.sample(20_000, random_state=1)
    covariance = LOADINGS @ LOADINGS.T + np.diag(NOISE**2)
    deviations = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((rows.mean(axis=0) - CENTER) / deviations, 0, atol=0.1)
    np.testing.assert_allclose(rows.std(axis=0) / deviations, 1, atol=0.1)
    np.testing.assert_allclose(np.corrcoef(rows.T), covariance / np.outer(deviations, deviations), atol=0.1)
    np.testing.assert_array_equal(fitted.sample(3, random_state=2), fitted.sample(5, random_state=2)[:3])


def test_codes_and_back_restore_the_table_up_to_its_noise(linear):
    fitted, test, _ = linear
    restored = fitted.inverse_transform(fitted.transform(test))
    error = np.sqrt(np.mean((restored - test) ** 2, axis=0))
    assert np.all(error < 1.3 * NOISE)
    assert fitted.score(test) == pytest.approx(fitted.score_samples(test).mean())
    assert len(fitted.elbo_curve_) == 60
    assert fitted.elbo_curve_[-1] <= fitted.score(test) + 0.2


def test_it_lives_in_a_pipeline_and_survives_pickling(linear):
    fitted, test, _ = linear
    pipeline = make_pipeline(StandardScaler(), VAEEstimator(latent=2, epochs=1, random_state=0))
    codes = pipeline.fit(test).transform(test)
    assert codes.shape == (1000, 2)
    assert list(pipeline.get_feature_names_out()) == ["vaeestimator0", "vaeestimator1"]
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(test[:10]), fitted.score_samples(test[:10]))


def test_another_fit_of_the_same_shape_compiles_nothing():
    rows = np.random.default_rng(0).normal(size=(40, 3))
    with compilations() as count:
        VAEEstimator(epochs=2, random_state=0).fit(rows)
        assert count()
        first = count()
        VAEEstimator(epochs=3, lr=1e-2, random_state=1).fit(rows + 1)
        assert count() == first


def test_the_rate_falls_along_the_cosine_of_its_own_run():
    # Under a gradient that stays the same, nothing of Adam's step is left but the rate.
    optimizer, gradient = cosine(0.5, 4), {"w": jnp.ones(2)}
    shared = cosine(7.0, 9)  # its update reads the numbers from the state, and ignores its own
    state = optimizer.init(gradient)
    for step in range(4):
        updates, state = shared.update(gradient, state, gradient)
        expected = -0.5 * 0.5 * (1 + np.cos(np.pi * step / 4))
        np.testing.assert_allclose(updates["w"], expected, rtol=1e-4)


@pytest.mark.slow
def test_the_bernoulli_gives_probabilities_that_sum_to_one():
    random = np.random.default_rng(0)
    rows = (random.random((200, 1)) < 0.7) ^ (random.random((200, 3)) < 0.1)
    fitted = VAEEstimator(latent=1, hidden=(8,), likelihood="bernoulli", epochs=30, num_samples=2000, random_state=0)
    fitted.fit(rows.astype(float))
    every = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).T.reshape(-1, 3)
    assert np.exp(fitted.score_samples(every)).sum() == pytest.approx(1, abs=0.02)
    assert set(np.unique(fitted.sample(50))) == {0, 1}
    probabilities = fitted.inverse_transform(fitted.transform(every))
    assert np.all((probabilities > 0) & (probabilities < 1))
    with pytest.raises(ValueError, match=r"needs zeros and ones, and X holds 0\.5"):
        fitted.score_samples([[0, 1, 0.5]])


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"latent": 0}, "latent=0 must be a whole number of at least one"),
        ({"epochs": 1.5}, "epochs=1.5 must be a whole number"),
        ({"num_samples": -1}, "num_samples=-1 must be"),
        ({"hidden": (8, 0)}, r"hidden=\(8, 0\) must hold widths"),
        ({"lr": 0.0}, "lr=0.0 must be a positive number"),
        ({"likelihood": "poisson"}, "likelihood='poisson' must be 'gaussian', 'student-t' or 'bernoulli'"),
        ({"counts": "visits"}, r"counts='visits' must hold columns, \('age',\)"),
        ({"classes": 3}, "classes=3 must hold columns"),
        ({"train_samples": 0}, "train_samples=0 must be"),
    ],
)
def test_impossible_parameters_are_refused_with_a_sentence(parameters, sentence):
    with pytest.raises(ValueError, match=sentence):
        VAEEstimator(**parameters).fit(np.zeros((5, 2)))


def test_wrong_codes_and_counts_are_refused(linear):
    fitted, _, _ = linear
    with pytest.raises(ValueError, match="codes have 2 columns"):
        fitted.inverse_transform(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="n_samples=0 must be"):
        fitted.sample(0)
    with pytest.raises(NotFittedError):
        VAEEstimator().sample(1)
