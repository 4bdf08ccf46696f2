"""Disentanglement as what a simple classifier makes of a code: FactorVAE's score, β-VAE's score, SAP, DCI.

NumPy and, where something is fitted, scikit-learn: none of it is jitted. What a perfect code gets is in
`disentanglement`.
"""

from typing import NamedTuple

import numpy as np


class Dci(NamedTuple):
    """What boosted trees find in a code, each between 0 and 1."""

    disentanglement: float  # whether a dimension matters to one factor only
    completeness: float  # whether one dimension only matters to a factor
    informativeness: float  # the share of held-out values that are predicted
    importance: np.ndarray  # [D, K]


def factor_vae_score(
    seed: int, codes: np.ndarray, factors: np.ndarray, *, votes: int = 10_000, tests: int = 5000, batch_size: int = 64
) -> float:
    """Whether the dimension that moves least tells which factor is held: FactorVAE's score.

    A vote holds a factor at a value, draws examples that have it, and names the dimension whose variance, as a share of
    that over all examples, is the smallest. Each dimension stands for the factor that most votes name it for; the score
    is the share of new votes that are right.

    Args:
        seed: of the draws.
        codes: [N, D]; dimensions without variance never vote.
        factors: [N, K] int.
        votes: that the majority is taken of.
        tests: new votes.
        batch_size: examples in a vote, with replacement.

    Returns:
        The score; 1/K by chance. 0 where no dimension moves at all.

    Source: Kim & Mnih, "Disentangling by Factorising" (2018), section 4; numbers of Locatello et al.
    """
    rng, scale = np.random.default_rng(seed), codes.std(axis=0)
    alive = np.flatnonzero(scale > 0)
    if not len(alive):
        return 0.0
    shares, pick = codes[:, alive] / scale[alive], _holding(factors)
    found = np.zeros((len(alive), factors.shape[1]), int)

    def vote() -> tuple[int, int]:
        held, rows = pick(rng, batch_size)
        return int(np.argmin(shares[rows].var(axis=0))), held

    for _ in range(votes):
        found[vote()] += 1
    stands_for = found.argmax(axis=1)
    return float(np.mean([stands_for[least] == held for least, held in (vote() for _ in range(tests))]))


def beta_vae_score(
    seed: int, codes: np.ndarray, factors: np.ndarray, *, fits: int = 10_000, tests: int = 5000, batch_size: int = 64
) -> float:
    """Whether a linear classifier of how codes differ tells which factor their pairs share: β-VAE's score.

    Args:
        seed: of the draws.
        codes: [N, D].
        factors: [N, K] int.
        fits: points that logistic regression is fitted to, each the mean |z - z'| of a batch of pairs.
        tests: new points.
        batch_size: pairs in a point, both of them examples with the same value of one factor, drawn anew for each pair.

    Returns:
        The share of new points whose factor is told; 1/K by chance.

    Source: Higgins et al., "β-VAE" (2017), section 3; numbers of Locatello et al.
    """
    from sklearn.linear_model import LogisticRegression  # a second to import, and only this needs it

    rng, groups = np.random.default_rng(seed), _groups(factors)

    def points(count: int) -> tuple[np.ndarray, np.ndarray]:
        held = rng.integers(factors.shape[1], size=count)
        first = rng.integers(len(codes), size=(count, batch_size))
        second = np.stack([groups[k].partner(rng, rows) for k, rows in zip(held, first, strict=True)])
        return np.abs(codes[first] - codes[second]).mean(axis=1), held

    fitted = LogisticRegression(max_iter=1000).fit(*points(fits))
    return float(fitted.score(*points(tests)))


def separated_lines(
    seed: int, codes: np.ndarray, factors: np.ndarray, *, fits: int = 10_000, tests: int = 5000
) -> float:
    """How much better the best dimension alone tells a factor by a linear classifier than the next: SAP.

    1/K Σ_k [accuracy_(1)k - accuracy_(2)k], balanced lines, C = .01, one value against the rest

    A line on one number cannot tell a middle value from the rest: a perfect code of five factors gets .21 to .23.

    Args:
        seed: of the choice of examples.
        codes: [N, D], two dimensions at least.
        factors: [N, K] int.
        fits: examples that lines are fitted to.
        tests: other examples.

    Returns:
        The score.

    Source: Kumar, Sattigeri & Balakrishnan (2018), section 3; numbers of Locatello et al.
    """
    from sklearn.svm import LinearSVC

    order = np.random.default_rng(seed).permutation(len(codes))
    train, test = order[:fits], order[fits : fits + tests]
    right = np.zeros((codes.shape[1], factors.shape[1]))
    for d in range(codes.shape[1]):
        if codes[train, d].std() <= 1e-12:
            continue  # it tells nothing
        for k in range(factors.shape[1]):
            line = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
            line.fit(codes[train, d : d + 1], factors[train, k])
            right[d, k] = line.score(codes[test, d : d + 1], factors[test, k])
    best = np.sort(right, axis=0)
    return float(np.mean(best[-1] - best[-2]))


def dci(seed: int, codes: np.ndarray, factors: np.ndarray, *, fits: int = 10_000, tests: int = 5000) -> Dci:
    """Disentanglement, completeness and informativeness, by the importances of boosted trees.

    D = Σ_d ρ_d (1 - H_K(R_d / Σ_k R_dk)),    C = Σ_k ρ_k (1 - H_D(R_k / Σ_d R_dk)),    ρ the shares of Σ R

    Args:
        seed: of the choice of examples, and of the trees.
        codes: [N, D].
        factors: [N, K] int.
        fits: examples that the trees are fitted to; many values take minutes.
        tests: other examples.

    Returns:
        The three, and the importances R.

    Source: Eastwood & Williams, "A Framework for the Quantitative Evaluation of Disentangled Representations" (2018),
    section 2; boosted trees and numbers of Locatello et al.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    order = np.random.default_rng(seed).permutation(len(codes))
    train, test = order[:fits], order[fits : fits + tests]
    importance, right = np.zeros((codes.shape[1], factors.shape[1])), []
    for k in range(factors.shape[1]):
        trees = GradientBoostingClassifier(random_state=seed).fit(codes[train], factors[train, k])
        importance[:, k] = trees.feature_importances_
        right.append(trees.score(codes[test], factors[test, k]))
    return Dci(dci_of(importance), dci_of(importance.T), float(np.mean(right)), importance)


def dci_of(importance: np.ndarray) -> float:
    """The D of a matrix of importances; the C of its transpose.

    Args:
        importance: [D, K], not negative.

    Returns:
        1 where every row has one entry, 0 where all entries are alike.

    Example:
        >>> dci_of(np.array([[2.0, 0.0], [0.0, 1.0]])), round(dci_of(np.ones((2, 2))), 6)
        (1.0, 0.0)
    """
    total = importance.sum()
    if total == 0:
        return 0.0
    own = importance.sum(axis=1, keepdims=True)
    shares = np.divide(importance, own, out=np.full_like(importance, 1 / importance.shape[1]), where=own > 0)
    logs = np.log(np.where(shares > 0, shares, 1)) / np.log(importance.shape[1])
    return float(np.sum(own[:, 0] / total * (1 + np.sum(shares * logs, axis=1))))


class _Group(NamedTuple):
    """The examples in the order of one factor's values."""

    order: np.ndarray  # [N]
    begin: np.ndarray  # [N] of each example, where its value's examples begin in that order
    held: np.ndarray  # [N] of each example, how many have its value

    def partner(self, rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        """An example with the same value, for each."""
        return self.order[self.begin[rows] + rng.integers(self.held[rows])]


def _groups(factors: np.ndarray) -> list[_Group]:
    found = []
    for factor in factors.T:
        _, value, counts = np.unique(factor, return_inverse=True, return_counts=True)
        begin = np.concatenate([[0], np.cumsum(counts)[:-1]])
        found.append(_Group(np.argsort(factor, kind="stable"), begin[value], counts[value]))
    return found


def _holding(factors: np.ndarray):
    """(rng, how many) -> a factor at random, and examples that share the value that a random example has of it."""
    groups = _groups(factors)

    def pick(rng: np.random.Generator, count: int) -> tuple[int, np.ndarray]:
        held, row = int(rng.integers(factors.shape[1])), int(rng.integers(len(factors)))
        return held, groups[held].partner(rng, np.full(count, row))

    return pick
