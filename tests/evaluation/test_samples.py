"""Two clouds of points against each other: closed forms, brute force, and the null."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.metrics import roc_auc_score
from standard_errors import assert_mean

from jaxvae.evaluation import frechet_distance, support, two_samples


def normal(count, dimensions, seed=0, shift=0.0, scale=1.0):
    return shift + scale * np.random.default_rng(seed).normal(size=(count, dimensions))


def test_the_distance_is_that_of_the_matrix_root():
    one = normal(500, 4) @ np.array([[1, 0.5, 0, 0], [0, 1, 0.2, 0], [0, 0, 2, 0], [0.3, 0, 0, 1.0]])
    other = normal(400, 4, 1, 0.7) @ np.diag([1, 2, 0.5, 3.0])
    s, t = np.cov(one.T), np.cov(other.T)
    expected = np.sum((one.mean(0) - other.mean(0)) ** 2) + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real)
    np.testing.assert_allclose(frechet_distance(one, other), expected, rtol=1e-9)
    np.testing.assert_allclose(frechet_distance(one, one), 0.0, atol=1e-9)
    with pytest.raises(ValueError, match="two points at least, and there are 500 and 1"):
        frechet_distance(one, other[:1])


def test_the_distance_of_two_true_samples_is_not_zero():
    """Of 64 dimensions: .44 at 5,000 points, 2.27 at 1,000."""
    np.testing.assert_allclose(frechet_distance(normal(5000, 64), normal(5000, 64, 1)), 0.44, atol=0.04)
    np.testing.assert_allclose(frechet_distance(normal(1000, 64), normal(1000, 64, 1)), 2.27, atol=0.15)


def by_hand(true, drawn, k):
    """One pair of points after the other."""

    def radius(points, i):
        return sorted(np.linalg.norm(points[i] - points[j]) for j in range(len(points)) if j != i)[k - 1]

    of_true = [radius(true, i) for i in range(len(true))]
    of_drawn = [radius(drawn, j) for j in range(len(drawn))]
    far = np.array([[np.linalg.norm(x - y) for y in drawn] for x in true])
    within = far < np.array(of_true)[:, None]
    return (
        np.mean([any(far[:, j] <= of_true) for j in range(len(drawn))]),
        np.mean([any(far[i] <= of_drawn) for i in range(len(true))]),
        within.sum() / (k * len(drawn)),
        within.any(axis=1).mean(),
    )


@pytest.mark.parametrize("k", [1, 3])
def test_the_balls_are_those_of_brute_force(k):
    true, drawn = normal(40, 3), normal(30, 3, 1, 0.5, 1.5)
    np.testing.assert_allclose(support(true, drawn, neighbours=k), by_hand(true, drawn, k), rtol=1e-12)


def test_true_against_true_is_not_one_and_far_away_is_nothing():
    null = support(normal(2000, 8), normal(2000, 8, 1))
    np.testing.assert_allclose(null, [0.91, 0.89, 1.0, 0.88], atol=0.04)
    null = support(normal(2000, 64), normal(2000, 64, 1))
    np.testing.assert_allclose(null[:2], [0.60, 0.59], atol=0.05)
    assert support(normal(200, 8), normal(200, 8, 1, 50.0)) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="3 neighbours are to be found among 3 points"):
        support(normal(3, 2), normal(9, 2))


def test_a_classifier_that_knows_nothing_is_right_in_half():
    """Over 400 seeds: the accuracy's mean is 1/2, and its error the one that is said."""
    found = [two_samples(*np.random.default_rng(seed).normal(size=(2, 100))) for seed in range(400)]
    assert_mean([one.accuracy for one in found], 0.5)
    assert_mean([one.auc for one in found], 0.5)
    np.testing.assert_allclose(np.std([one.accuracy for one in found]), found[0].standard_error, rtol=0.15)
    inside = np.mean([abs(one.accuracy - 0.5) <= 2 * one.standard_error for one in found])
    assert 0.92 < inside < 0.99


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    one, other = np.round(rng.normal(0.7, 1, 300), 1), np.round(rng.normal(-0.2, 1, 300), 1)  # with ties
    found = two_samples(one, other)
    np.testing.assert_allclose(found.auc, roc_auc_score(np.repeat([1, 0], 300), np.concatenate([one, other])))
    np.testing.assert_allclose(found.accuracy, ((one > 0).sum() + (other <= 0).sum()) / 600)
    assert two_samples(np.ones(5), -np.ones(5))[:2] == (1, 1)
    with pytest.raises(ValueError, match="as many of each"):
        two_samples(one, other[:4])
