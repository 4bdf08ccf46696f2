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
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import experiments.table
from experiments.table import Options
from jaxvae.run import RunError
from jaxvae.run.data import DataError
from jaxvae.run.data.columns import read_table, write_table
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
        ({"likelihood": "poisson"}, "likelihood='poisson' must be 'gaussian' or 'bernoulli'"),
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


# The command for tables.


def written(folder, text, *, name="table.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_with_and_without_names(tmp_path):
    named = read_table(written(tmp_path, 'a,"b, c"\n1,2\n\n3,-4e1\n'))
    assert named.columns == ["a", "b, c"]
    np.testing.assert_array_equal(named.values, [[1, 2], [3, -40]])
    assert named.lines.tolist() == [2, 4]
    plain = read_table(written(tmp_path, "\ufeff1;2\n3;4"))
    assert plain.columns == ["column 1", "column 2"]
    np.testing.assert_array_equal(plain.values, [[1, 2], [3, 4]])
    write_table(tmp_path / "back.csv", named.columns, named.values.tolist())
    np.testing.assert_array_equal(read_table(tmp_path / "back.csv").values, named.values)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n3,\n", "line 3, column 'b': the value is missing"),
        ("a,b\n1,2\nx,4\n", "line 3, column 'a': 'x' is no number"),
        ("1,2\n3,nan\n", "line 2, column 2: 'nan' is not finite"),
        ("1,red\n3,4\n", "line 1, column 2: 'red' is no number"),
        ("a,b\n1,2,3\n", "line 2: 3 cells where the first line has 2"),
        ("a,b\n", "has column names and no rows"),
        ("\n\n", "is empty"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused_by_row_and_column(tmp_path, text, sentence):
    with pytest.raises(DataError, match=sentence):
        read_table(written(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "nothing.csv")


@pytest.fixture(scope="module")
def table_results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    random = np.random.default_rng(0)
    values = random.normal(size=(40, 1)) * [1, 2, 3] + random.normal(size=(40, 3)) * 0.3
    write_table(folder / "table.csv", ["x", "y", "z"], values.tolist())
    with jax.numpy_dtype_promotion("standard"):
        options = Options(folder / "table.csv", folder=folder / "out", epochs=5, num_samples=10, samples=7)
        experiments.table.main(options)
    return options, values


def test_the_command_writes_its_tables(table_results):
    options, values = table_results
    files = sorted(path.name for path in options.folder.iterdir())
    assert files == [
        "captions.json",
        "codes.csv",
        "report.html",
        "result.json",
        "samples.csv",
        "scores.csv",
        "table.png",
        "table.svg",
    ]
    codes, scores = read_table(options.folder / "codes.csv"), read_table(options.folder / "scores.csv")
    assert codes.columns == ["line", "z1", "z2"]
    assert scores.columns == ["line", "log_density", "held_out"]
    assert codes.values[:, 0].tolist() == list(range(2, 42))
    assert scores.values[:, 2].sum() == 8
    samples = read_table(options.folder / "samples.csv")
    assert samples.columns == ["x", "y", "z"]
    assert samples.values.shape == (7, 3)
    np.testing.assert_array_equal(read_table(options.file).values, values)


def test_the_command_overwrites_nothing_and_refuses_before_it_writes(table_results, tmp_path):
    options, _ = table_results
    before = {path: path.stat().st_mtime_ns for path in options.folder.iterdir()}
    with pytest.raises(RunError, match="exists already"):
        experiments.table.main(options)
    assert {path: path.stat().st_mtime_ns for path in options.folder.iterdir()} == before
    short = written(tmp_path, "1,2\n3,4\n")
    place = tmp_path / "out"
    for wrong, sentence in [
        (Options(short, folder=place), "has 2 rows, and a model of them needs at least 10"),
        (Options(options.file, folder=place, held_out=1.0), "--held-out 1.0 must lie between 0 and 1"),
        (Options(options.file, folder=place, samples=0), "--samples 0 must be at least 1"),
        (Options(options.file, folder=place, latent=0), "latent=0 must be a whole number"),
        (Options(options.file, folder=place, likelihood="bernoulli"), "values other than 0 and 1"),
    ]:
        with pytest.raises(RunError, match=sentence):
            experiments.table.main(wrong)
    assert not place.exists()


def test_the_baselines_are_the_densities_that_they_are_called(table_results):
    _, values = table_results
    fitted = VAEEstimator(epochs=1, random_state=0).fit(values)
    reference = experiments.table.baseline(fitted, values, values)
    np.testing.assert_allclose(reference, GaussianMixture(reg_covar=0).fit(values).score_samples(values), atol=1e-3)
    bits = (values > 0).astype(float)
    fitted.likelihood = "bernoulli"
    ones = (bits.sum(axis=0) + 1) / 42
    expected = scipy.stats.bernoulli.logpmf(bits, ones).sum(axis=1)
    np.testing.assert_allclose(experiments.table.baseline(fitted, bits, bits), expected)
