"""Metrics of disentanglement on a perfect and a random code, with the settings of their reference: golden values."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import mutual_info_score

from jaxvae import evaluation

SIZES, N = (3, 6, 40, 32, 32), 10_000
IN_BINS = tuple(min(size, 20) for size in SIZES)


@cache
def factors(count=N, sizes=SIZES):
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(size, size=count) for size in sizes], axis=1)


def perfect(count=N, sizes=SIZES):
    """The number of every factor on a dimension of its own, out of order and turned over."""
    return -factors(count, sizes)[:, ::-1].astype(np.float32)


def unrelated(dimensions=10, count=N):
    return np.random.default_rng(1).normal(size=(count, dimensions)).astype(np.float32)


def told(codes, bins=20, of=None, sizes=SIZES):
    of = factors() if of is None else of
    kinds = evaluation.binned(jnp.asarray(codes), bins)
    return jax.jit(partial(evaluation.information, num_kinds=bins, sizes=sizes))(kinds, jnp.asarray(of))


def test_information_is_that_of_scikit_learn_and_of_scipy():
    codes, of = unrelated(2, 500) + 0.5 * factors(500)[:, :2], factors(500)
    found = told(codes, of=of)
    for d in range(2):
        edges = np.linspace(codes[:, d].min(), codes[:, d].max(), 21)[1:-1]
        for k in range(5):
            expected = mutual_info_score(np.digitize(codes[:, d], edges), of[:, k])
            np.testing.assert_allclose(found.mutual[d, k], expected, atol=2e-3)
    entropies = [scipy.stats.entropy(np.bincount(of[:, k])) for k in range(5)]
    np.testing.assert_allclose(found.entropy, entropies, rtol=1e-5)


def test_the_gap_of_a_perfect_code_has_a_ceiling_in_bins_and_none_without():
    found = told(perfect())
    np.testing.assert_allclose(evaluation.mutual_information_gap(found), 0.896, atol=0.004)
    ceilings = np.diagonal(found.mutual[::-1]) / found.entropy
    np.testing.assert_allclose(ceilings, [1, 1, 0.812, 0.85, 0.85], atol=0.006)
    assert evaluation.mutual_information_gap(told(unrelated())) < 0.003
    grid = np.stack(np.meshgrid(*map(np.arange, (3, 6, 40)), indexing="ij"), axis=-1).reshape(-1, 3)
    exact = jax.jit(partial(evaluation.information, num_kinds=40, sizes=(3, 6, 40)))(
        jnp.asarray(grid), jnp.asarray(grid)
    )
    np.testing.assert_allclose(evaluation.mutual_information_gap(exact), 1.0, atol=1e-5)


def test_modularity_is_a_mean_over_dimensions_whatever_they_tell():
    np.testing.assert_allclose(evaluation.modularity(told(perfect()).mutual), 1.0, atol=0.01)
    with_noise = np.concatenate([perfect(), unrelated(5)], axis=1)
    np.testing.assert_allclose(evaluation.modularity(told(with_noise).mutual), 0.815, atol=0.04)
    np.testing.assert_allclose(evaluation.modularity(told(unrelated()).mutual), 0.674, atol=0.04)
    assert evaluation.modularity(jnp.array([[0.0, 0.0], [2.0, 0.0]])) == 0.5


def test_lines_explain_a_perfect_code_wholly_and_another_not():
    np.testing.assert_allclose(jax.jit(evaluation.separated_r2)(perfect(), jnp.asarray(factors())), 1.0, atol=2e-3)
    assert evaluation.separated_r2(unrelated(), jnp.asarray(factors())) < 2e-3


def test_robustness_is_of_the_worst_example():
    binned = evaluation.binned(jnp.asarray(factors(), jnp.float32), 20)
    irs = jax.jit(partial(evaluation.interventional_robustness, sizes=(20,) * 5))
    np.testing.assert_allclose(irs(perfect(), binned), 0.979, atol=0.003)
    np.testing.assert_allclose(irs(unrelated(5), binned), 0.375, atol=0.06)
    uniform = np.random.default_rng(2).uniform(size=(N, 5)).astype(np.float32)
    np.testing.assert_allclose(irs(uniform, binned), 0.014, atol=0.006)


def test_robustness_of_a_perfect_code_is_one_without_bins():
    exact = evaluation.interventional_robustness(perfect(500), jnp.asarray(factors(500)), sizes=SIZES)
    np.testing.assert_allclose(exact, 1.0, atol=1e-6)
    flat = jnp.zeros((500, 2))
    assert evaluation.interventional_robustness(flat, jnp.asarray(factors(500)[:, :1]), sizes=(3,)) == 0


def test_two_copies_rank_alike_and_two_strangers_do_not():
    rng = np.random.default_rng(3)
    one = rng.normal(size=(N, 5)).astype(np.float32)
    other = one[:, [3, 1, 4, 0, 2]] * np.array([1, -2, 1, -1, 3], np.float32)
    all_of = (jnp.ones(5, bool), jnp.ones(5, bool))
    udr = jax.jit(evaluation.unsupervised_ranking)
    np.testing.assert_allclose(udr(one, other, all_of), 0.970, atol=0.01)
    assert udr(one, unrelated(5), all_of) < 0.02
    dead = np.concatenate([other, unrelated(3)], axis=1)
    kept = (all_of[0], jnp.arange(8) < 5)
    np.testing.assert_allclose(udr(one, dead, kept), udr(one, other, all_of), rtol=1e-5)
    expected = scipy.stats.spearmanr(one[:, 0], other[:, 0]).statistic
    found = evaluation.correlations(jnp.asarray(one), jnp.asarray(other), by_ranks=True)
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-5)


def test_factor_scores_are_one_and_a_fifth():
    few = {"votes": 500, "tests": 500}
    assert evaluation.factor_vae_score(0, perfect(), factors(), **few) == 1.0
    np.testing.assert_allclose(evaluation.factor_vae_score(0, unrelated(), factors(), **few), 0.2, atol=0.08)
    assert evaluation.factor_vae_score(0, np.zeros((N, 2)), factors()) == 0.0
    few = {"fits": 500, "tests": 500}
    assert evaluation.beta_vae_score(0, perfect(), factors(), **few) == 1.0
    np.testing.assert_allclose(evaluation.beta_vae_score(0, unrelated(), factors(), **few), 0.2, atol=0.08)


def test_one_dimension_has_no_gap_and_sizes_are_of_all_factors():
    with pytest.raises(ValueError, match="two dimensions at least"):
        evaluation.mutual_information_gap(told(unrelated(1)))
    with pytest.raises(ValueError, match="5 factors, and the sizes of 2"):
        evaluation.information(jnp.zeros((4, 2), int), jnp.zeros((4, 5), int), num_kinds=2, sizes=(2, 2))


def test_boosted_trees_find_a_perfect_code_and_nothing_in_another():
    sizes, of = (3, 4), factors(700, (3, 4))
    found = evaluation.dci(0, perfect(700, sizes), of, fits=500, tests=200)
    np.testing.assert_allclose([found.disentanglement, found.completeness, found.informativeness], 1.0, atol=1e-3)
    nothing = evaluation.dci(0, unrelated(4, 700), of, fits=500, tests=200)
    assert max(nothing.disentanglement, nothing.completeness) < 0.02
    assert nothing.informativeness < 0.45


@pytest.mark.slow
def test_lines_on_one_number_cannot_find_a_middle_value():
    score = evaluation.separated_lines(0, perfect(15_000), factors(15_000))
    assert 0.20 < score < 0.24
    assert evaluation.separated_lines(0, unrelated(4), factors(), fits=2000, tests=2000) < 0.03


def test_lines_tell_two_values_from_each_other():
    """Right of all against one half by chance: a gap of ½."""
    sizes, of = (2, 2), factors(800, (2, 2))
    np.testing.assert_allclose(
        evaluation.separated_lines(0, perfect(800, sizes), of, fits=500, tests=300), 0.5, atol=0.06
    )
