"""What a model of a table is compared with: scikit-learn's imputers, and the simplest densities of rows."""

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.mixture import GaussianMixture

from jaxvae.run.data.schema import CLASS, COUNT, NUMBER, Rows, Schema

IMPUTERS: dict[str, Callable[[int], object]] = {
    "mean": lambda seed: SimpleImputer(keep_empty_features=True),
    "KNN": lambda seed: KNNImputer(keep_empty_features=True),
    "iterative": lambda seed: IterativeImputer(random_state=seed, max_iter=30, keep_empty_features=True),
}
"""Columns' means; the mean of the five nearest rows; each column from all others by Bayesian ridge, thirty rounds."""


def imputed_by(name: str, train: Rows, rows: Rows, schema: Schema, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows as an imputer of scikit-learn fills them in.

    Numbers are standardised, counts are ln(1 + count). A class is a vector of zeros and a one for all classes but the
    last, whose entry is what is left of one: a regression on vectors that sum to one would look at nothing else. The
    largest entry tells the class that is filled in; with means that is the commonest.

    Args:
        name: of `IMPUTERS`.
        train: values and mask of the rows that it is fitted to.
        rows: that are filled in.
        schema: of the table.
        seed: of an imputer that draws.

    Returns:
        Block -> [N, n], of classes [N, n, K].
    """
    imputer = IMPUTERS[name](seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after its thirty rounds
        imputer.fit(_matrix(train, schema))  # type: ignore[attr-defined]
    filled = imputer.transform(_matrix(rows, schema))  # type: ignore[attr-defined]
    found: dict[str, np.ndarray] = {}
    numbers, counts = len(schema.of(NUMBER)), len(schema.of(COUNT))
    if numbers:
        found["numbers"] = filled[:, :numbers]
    if counts:
        found["counts"] = np.expm1(filled[:, numbers : numbers + counts])
    if schema.sizes:
        firsts = np.split(filled[:, numbers + counts :], np.cumsum(np.subtract(schema.sizes, 1))[:-1], axis=1)
        vectors = [np.column_stack([first, 1 - first.sum(axis=1)]) for first in firsts]
        most = max(schema.sizes)
        padded = [np.pad(v, ((0, 0), (0, most - v.shape[1])), constant_values=-np.inf) for v in vectors]
        found["classes"] = np.stack(padded, axis=1)
    return found


def _matrix(rows: Rows, schema: Schema) -> np.ndarray:
    """[N, D] numbers, NaN where cells are missing."""
    values, mask = rows
    parts = []
    if "numbers" in values:
        parts.append(np.where(mask["numbers"], values["numbers"], np.nan))
    if "counts" in values:
        parts.append(np.where(mask["counts"], np.log1p(values["counts"]), np.nan))
    for index, size in enumerate(schema.sizes):
        vectors = np.eye(size)[values["classes"][:, index], : size - 1]
        parts.append(np.where(mask["classes"][:, index, None], vectors, np.nan))
    return np.concatenate(parts, axis=1).astype(np.float64)


def simple_density(train: Rows, rows: Rows, schema: Schema) -> tuple[str, np.ndarray] | None:
    """log p of the observed cells of rows under the simplest density of such a table.

    Args:
        train: values and mask of the rows that it is fitted to.
        rows: that it is asked about.
        schema: of the table.

    Returns:
        What it is, and [N] nats in the columns' own units; None for tables with counts.
    """
    if schema.of(COUNT):
        return None
    units = np.log([column.scale for column in schema.of(NUMBER)])
    if not schema.sizes and train[1]["numbers"].all() and rows[1]["numbers"].all():
        gaussian = GaussianMixture(random_state=0).fit(train[0]["numbers"].astype(np.float64))
        nats = gaussian.score_samples(rows[0]["numbers"].astype(np.float64)) - units.sum()
        return "one Gaussian with a full covariance, fitted to the training rows", nats
    nats = np.zeros(len(next(iter(rows[0].values()))))
    if len(units):
        u, seen = rows[0]["numbers"].astype(np.float64), rows[1]["numbers"]
        # the training rows' observed cells have a mean of zero and a variance of one
        nats += np.sum(np.where(seen, -0.5 * (u**2 + np.log(2 * np.pi)) - units, 0), axis=1)
    for index in range(len(schema.of(CLASS))):
        known = train[0]["classes"][:, index][train[1]["classes"][:, index]]
        counts = np.bincount(known, minlength=schema.sizes[index]) + 1  # one of each added
        of_cells = np.log(counts / counts.sum())[rows[0]["classes"][:, index]]
        nats += np.where(rows[1]["classes"][:, index], of_cells, 0)
    return "independent columns, Gaussians and frequencies of the training rows (one of each class added)", nats
