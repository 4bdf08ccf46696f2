"""The accuracy of clusters: by brute force over all matchings, at the ends, and with more clusters than classes."""

from itertools import permutations

import numpy as np
import pytest

from jaxvae.evaluation import clustering_accuracy, clusters_by_classes, matching


def by_brute_force(table):
    """Over every one-to-one matching, the smaller side padded with what is empty."""
    side = max(table.shape)
    square = np.zeros((side, side), int)
    square[: table.shape[0], : table.shape[1]] = table
    return max(sum(square[row, column] for row, column in enumerate(order)) for order in permutations(range(side)))


@pytest.mark.parametrize("shape", [(2, 2), (4, 4), (6, 3), (3, 6), (1, 4)])
def test_the_matching_is_the_best_of_all(shape):
    rng = np.random.default_rng(0)
    for _ in range(30):
        table = rng.integers(0, 20, shape)
        pairs = matching(table)
        assert all(len(set(side.tolist())) == min(shape) for side in pairs)
        assert table[pairs].sum() == by_brute_force(table)


def test_the_greedy_matching_is_not_the_best_and_is_not_taken():
    table = np.array([[10, 9], [9, 0]])
    clusters, classes = np.repeat(np.indices(table.shape).reshape(2, -1), table.ravel(), axis=1)
    np.testing.assert_array_equal(clusters_by_classes(clusters, classes), table)
    np.testing.assert_allclose(clustering_accuracy(clusters, classes), 18 / 28)


def test_permuted_labels_are_all_right():
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 10, 500)
    assert clustering_accuracy(rng.permutation(10)[classes], classes) == 1


def test_twenty_clusters_of_ten_classes_count_the_larger_half_of_each():
    classes = np.repeat(np.arange(10), 10)
    split = classes + 10 * (np.tile(np.arange(10), 10) >= 7)  # seven examples and three
    np.testing.assert_allclose(clustering_accuracy(split, classes), 0.7)
    np.testing.assert_allclose(clustering_accuracy(classes, split), 0.7)


def test_what_knows_nothing_has_the_largest_class_or_little_more_than_a_tenth():
    rng = np.random.default_rng(2)
    classes = rng.integers(0, 10, 10_000)
    np.testing.assert_allclose(clustering_accuracy(np.zeros(10_000, int), classes), np.bincount(classes).max() / 1e4)
    chance = clustering_accuracy(rng.integers(0, 10, 10_000), classes)
    assert 0.1 < chance < 0.12


def test_the_table_counts_clusters_that_are_empty():
    table = clusters_by_classes(np.array([0, 2, 2]), np.array([1, 1, 0]), shape=(4, 3))
    np.testing.assert_array_equal(table, [[0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("clusters", "classes", "words"),
    [
        ([0, 1], [0], "one number each for the same examples"),
        ([], [], "one number each for the same examples"),
        ([0, -1], [0, 1], "clusters run from -1 to 0, and 1 are numbered 0 to 0"),
        ([0, 1], [0, -1], "classes run from -1 to 0"),
    ],
)
def test_what_cannot_be_counted_is_refused(clusters, classes, words):
    with pytest.raises(ValueError, match=words):
        clustering_accuracy(np.array(clusters, int), np.array(classes, int))
