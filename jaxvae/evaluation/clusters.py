"""Whether clusters are classes: the table of the two, and the share that is right at the best matching.

Counting is NumPy's and the matching SciPy's: none of it is jitted.
"""

import numpy as np


def clusters_by_classes(
    clusters: np.ndarray, classes: np.ndarray, *, shape: tuple[int, int] | None = None
) -> np.ndarray:
    """How many examples of each class are in each cluster.

    Args:
        clusters: [N] int from 0.
        classes: [N] int from 0.
        shape: (K clusters, K' classes); by default as many as occur.

    Returns:
        [K, K'] int, which sums to N.

    Raises:
        ValueError: there is no example, the two are not of the same ones, or a number is below 0 or does not fit the
            shape.

    Example:
        >>> clusters_by_classes(np.array([1, 1, 0]), np.array([0, 0, 1]))
        array([[0, 1],
               [2, 0]])
    """
    clusters, classes = np.asarray(clusters), np.asarray(classes)
    if clusters.ndim != 1 or clusters.shape != classes.shape or not len(clusters):
        raise ValueError(
            f"clusters {clusters.shape} and classes {classes.shape} are to be one number each for the same examples"
        )
    height, width = shape or (int(clusters.max()) + 1, int(classes.max()) + 1)
    for name, numbers, count in (("clusters", clusters, height), ("classes", classes, width)):
        if numbers.min() < 0 or numbers.max() >= count:
            raise ValueError(
                f"{name} run from {numbers.min()} to {numbers.max()}, and {count} are numbered 0 to {count - 1}"
            )
    return np.bincount(clusters * width + classes, minlength=height * width).reshape(height, width)


def matching(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of a cluster and a class, each in one pair at the most, that hold the most examples.

    Args:
        table: [K, K'] of `clusters_by_classes`. Of K = 20 clusters and K' = 10 classes ten clusters have no pair.

    Returns:
        The clusters in rising order and their classes, [min(K, K')] each.

    Example:
        >>> matching(np.array([[0, 3], [2, 2], [1, 0]]))
        (array([0, 1]), array([1, 0]))

    Source: Kuhn, "The Hungarian Method for the Assignment Problem" (1955).
    """
    from scipy.optimize import linear_sum_assignment  # only this needs it

    return linear_sum_assignment(table, maximize=True)


def clustering_accuracy(clusters: np.ndarray, classes: np.ndarray) -> float:
    """The share of examples that are in the cluster of their class, at the best matching of clusters with classes.

    max_π 1/N Σ_n 1[π(cluster_n) = class_n],    π one to one

    The labels choose the matching, so chance has more than 1/K': random clusters of N examples have about
    1/K' + O(N^-½), and a single cluster has the share of the largest class. Clusters beyond the number of classes are
    wrong altogether: splitting a class costs its smaller part.

    Args:
        clusters: [N] int from 0.
        classes: [N] int from 0.

    Returns:
        The accuracy, between 0 and 1.

    Raises:
        ValueError: as `clusters_by_classes`.

    Example:
        >>> clustering_accuracy(np.array([2, 2, 0, 1]), np.array([0, 0, 1, 2]))
        1.0

    Source: Xie, Girshick & Farhadi, "Unsupervised Deep Embedding for Clustering Analysis" (2016), equation 10.
    """
    table = clusters_by_classes(clusters, classes)
    return float(table[matching(table)].sum() / table.sum())
