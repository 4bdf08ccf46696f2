"""A person's own tables in the estimator: what they hold is what is said of them."""

import pickle

import jax
import numpy as np
import pytest
import scipy.stats

from jaxvae.run.scikit import VAEEstimator

ROWS = np.random.default_rng(0).normal(size=(60, 3))
QUICK = {"epochs": 2, "num_samples": 5, "random_state": 0}


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("value", [1e200, -1e150])
def test_a_cell_that_is_too_large_does_not_blame_the_learning_rate(value):
    rows = ROWS.copy()
    rows[7, 1] = value
    with pytest.raises(ValueError, match=r"column '1' holds -?1e\+(200|150), .* give the column in larger units"):
        VAEEstimator(**QUICK).fit(rows)
    with pytest.raises(ValueError, match="give the column in larger units"):
        VAEEstimator(**QUICK).fit(ROWS).score_samples(rows)


@pytest.mark.parametrize("hidden", [8, None, 2.5])
def test_a_width_alone_is_no_tuple(hidden):
    with pytest.raises(ValueError, match=r"hidden=.* must hold widths of at least one, \(64,\)"):
        VAEEstimator(hidden=hidden, **QUICK).fit(ROWS)


def test_the_order_of_the_memory_changes_nothing():
    first, second = (VAEEstimator(**QUICK).fit(np.asarray(ROWS * 1e3, order=order)) for order in "CF")
    np.testing.assert_array_equal(first.scale_, second.scale_)
    np.testing.assert_array_equal(first.score_samples(ROWS), second.score_samples(np.asfortranarray(ROWS)))


@pytest.mark.parametrize("value", [0.1, 1e9 / 3, -7.0])
def test_a_constant_column_has_no_scale_of_rounding_errors(value):
    rows = np.column_stack([ROWS, np.full(60, value)])
    estimator = VAEEstimator(**QUICK).fit(rows)
    assert estimator.scale_[3] == 1
    assert np.all(np.isfinite(estimator.score_samples(rows + 1e-7)))
    assert estimator.score(rows) < 0


def test_a_small_spread_is_a_spread():
    rows = np.column_stack([ROWS, 1e-9 * ROWS[:, 0], 1e4 + 1e-3 * ROWS[:, 1]])
    np.testing.assert_allclose(VAEEstimator(**QUICK).fit(rows).scale_, rows.std(axis=0), rtol=1e-6)


# --- missing cells, classes, DataFrames


LOADINGS = np.array([[2.0, 0.0], [1.0, 0.5], [0.0, 3.0], [-0.2, 0.1]])
CENTER, NOISE = np.array([10.0, -5.0, 0.0, 3.0]), np.array([0.5, 0.4, 0.8, 0.1])
COVARIANCE = LOADINGS @ LOADINGS.T + np.diag(NOISE**2)


def linear_rows(count, seed, share):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, 2)) @ LOADINGS.T + CENTER + NOISE * random.normal(size=(count, 4))
    return rows, np.where(random.random(rows.shape) < share, np.nan, rows)


def by_conditioning(row):
    """ln p of the observed cells, and the row with the others at their mean given these."""
    seen = ~np.isnan(row)
    filled = np.where(seen, row, CENTER)
    if not seen.any():
        return 0.0, filled
    inner = COVARIANCE[np.ix_(seen, seen)]
    log_p = scipy.stats.multivariate_normal(CENTER[seen], inner).logpdf(row[seen])
    filled[~seen] += COVARIANCE[np.ix_(~seen, seen)] @ np.linalg.solve(inner, row[seen] - CENTER[seen])
    return log_p, filled


@pytest.mark.slow
def test_with_cells_missing_it_knows_the_density_of_the_others_and_what_is_missing():
    """A linear Gaussian table with a quarter of its cells missing, in training and afterwards."""
    _, train = linear_rows(3000, 0, 0.25)
    whole, test = linear_rows(500, 1, 0.25)
    fitted = VAEEstimator(latent=2, epochs=60, train_samples=5, num_samples=500, random_state=0).fit(train)
    log_p, expected = map(np.array, zip(*map(by_conditioning, test), strict=True))
    difference = fitted.score_samples(test) - log_p
    assert abs(difference.mean()) < 0.15
    assert np.corrcoef(fitted.score_samples(test), log_p)[0, 1] > 0.97
    found, missing = fitted.impute(test), np.isnan(test)
    np.testing.assert_array_equal(found[~missing], test[~missing])
    scale = np.sqrt(np.diag(COVARIANCE))
    away = ((found - expected) / scale)[missing]
    assert np.sqrt(np.mean(away**2)) < 0.15
    best = np.sqrt(np.mean(((expected - whole) / scale)[missing] ** 2))
    assert np.sqrt(np.mean(((found - whole) / scale)[missing] ** 2)) < 1.05 * best
    # draws are spread as the missing cells are: a statistic of them is that of the whole table
    draws = np.stack(fitted.impute(test, draws=4))
    spread = ((draws - whole[None]) / scale)[:, missing]
    assert np.sqrt(np.mean(spread**2)) == pytest.approx(np.sqrt(2) * best, rel=0.15)


def test_a_row_without_cells_has_a_score_near_zero_and_is_completed():
    _, rows = linear_rows(60, 0, 0.3)
    rows[7] = np.nan
    fitted = VAEEstimator(**(QUICK | {"num_samples": 500})).fit(rows)
    assert abs(fitted.score_samples(rows)[7]) < 0.5
    completed = fitted.impute(rows)
    assert np.all(np.isfinite(completed))
    assert fitted.transform(rows).shape == (60, 2)
    assert np.isfinite(fitted.elbo_curve_).all()
    with pytest.raises(ValueError, match="column '1' has no cell in the 60 training rows"):
        VAEEstimator(**QUICK).fit(np.where(np.arange(4) == 1, np.nan, rows))
    with pytest.raises(ValueError, match="draws=0 must be"):
        fitted.impute(rows, draws=0)


def test_columns_of_an_array_are_declared_by_their_places():
    random = np.random.default_rng(0)
    rows = np.column_stack([random.normal(size=60), random.integers(0, 3, 60), random.poisson(4, 60)])
    holes = rows.copy()
    holes[5:9, 1], holes[9:12, 2] = np.nan, np.nan
    fitted = VAEEstimator(classes=(1,), counts=(2,), **QUICK).fit(holes)
    assert [column.kind for column in fitted.schema_.columns] == ["number", "class", "count"]
    assert (fitted.mean_[1:].tolist(), fitted.scale_[1:].tolist()) == ([0, 0], [1, 1])
    completed = fitted.impute(holes)
    assert set(completed[5:9, 1]) <= {0, 1, 2}
    assert np.all(completed[9:12, 2] >= 0)
    drawn = fitted.sample(50)
    assert set(drawn[:, 1]) <= {0, 1, 2}
    np.testing.assert_array_equal(drawn[:, 2], np.rint(drawn[:, 2]))
    with pytest.raises(ValueError, match=r"row 1, column '1': 7.0 is none of its classes 0.0, 1.0, 2.0"):
        fitted.transform([[0.0, 7.0, 1.0]])


def frame_of(library, columns):
    return pytest.importorskip(library).DataFrame(columns)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_data_frame_comes_back_as_one(library):
    random = np.random.default_rng(0)
    heights = [None if row % 9 == 0 else float(value) for row, value in enumerate(random.normal(170, 9, 60))]
    towns = [None if row % 7 == 0 else str(town) for row, town in enumerate(random.choice(["Oslo", "Bergen"], 60))]
    frame = frame_of(library, {"height": heights, "town": towns, "age": random.integers(18, 80, 60)})
    fitted = VAEEstimator(**QUICK).fit(frame)
    assert list(fitted.feature_names_in_) == ["height", "town", "age"]
    assert [column.kind for column in fitted.schema_.columns] == ["number", "class", "number"]
    for found, length in ((fitted.impute(frame), 60), (fitted.sample(5), 5), (fitted.impute(frame, draws=2)[1], 60)):
        assert type(found) is type(frame)
        assert list(found.columns) == list(frame.columns)
        assert len(found) == length
        assert [str(found[name].dtype) for name in found.columns] == [str(frame[name].dtype) for name in frame.columns]
        assert set(found["town"].to_list()) <= {"Oslo", "Bergen"}
    completed = fitted.impute(frame)
    kept = [row for row in range(60) if row % 9]
    np.testing.assert_allclose(np.array(completed["height"].to_list())[kept], [heights[row] for row in kept])
    assert completed["age"].to_list() == frame["age"].to_list()
    assert np.isfinite(fitted.score_samples(frame)).all()
    assert fitted.transform(frame).shape == (60, 2)
    assert type(fitted.inverse_transform(fitted.transform(frame))) is type(frame)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(frame), fitted.score_samples(frame))
    other = frame_of(library, {"height": [1.0], "town": ["Paris"], "age": [20]})
    with pytest.raises(ValueError, match=r"row 1, column 'town': 'Paris' is none of its classes 'Bergen', 'Oslo'"):
        fitted.transform(other)


def test_students_t_is_moved_less_by_an_outlier():
    rows = ROWS.copy()
    rows[0, 0] = 1e4
    robust, plain = (VAEEstimator(likelihood=name, **QUICK).fit(rows) for name in ("student-t", "gaussian"))
    for fitted in (robust, plain):
        assert np.isfinite(fitted.score_samples(rows)).all()
    assert robust.score_samples(rows)[0] > plain.score_samples(rows)[0]
