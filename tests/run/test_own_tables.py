"""A person's own tables in the estimator: what they hold is what is said of them."""

import jax
import numpy as np
import pytest

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
