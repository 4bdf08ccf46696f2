"""A VAE of a table of numbers as a scikit-learn estimator: fit, transform, inverse_transform, score_samples, sample."""

import math
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxvae import evaluation
from jaxvae.model import VAE
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset, Split
from jaxvae.run.data.columns import LARGEST
from jaxvae.run.fit import history_of
from jaxvae.run.table_rows import Architecture, cosine, model_of, recipe_for
from jaxvae.run.train import Diverged, train
from jaxvae.types import Array, Params

SMALLEST_SPREAD = 1e-12  # of a column, in its largest value: below it is rounding
ROWS = 64  # rows in one call of a compiled program: one program serves tables of any length


class VAEEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """A variational auto-encoder of the rows of a table, with scikit-learn's interface.

    p(z) = N(0, I),    p(x|z) = N(μ(z), diag σ²) or Bernoulli(π(z)),    q(z|x) = N(m(x), diag s(x)²)

    with fully connected networks. Under the Gaussian, columns are standardised inside, every column has a learned noise
    scale σ_j that all rows share (at least a thousandth of the column's standard deviation), and every density that
    comes out is that of the columns in their own units. Training is in single precision and scores are in double.

    Args:
        latent: the number of latent dimensions.
        hidden: the widths of the hidden layers of the encoder; the decoder has them in reverse.
        likelihood: "gaussian" for real numbers, "bernoulli" for zeros and ones.
        epochs: passes over the rows.
        batch_size: rows in one step; fewer where the table is smaller.
        lr: the learning rate of Adam, which falls to zero along a cosine.
        num_samples: k, the draws of the estimate of log p(x).
        random_state: an int for the same model at every `fit`, a `RandomState`, or None.
        verbose: show a progress bar.

    Attributes:
        params_: the parameters of `model_`, a tree of arrays.
        mean_: [n_features] subtracted from the columns.
        scale_: [n_features] by which they are then divided.
        elbo_curve_: [epochs] the mean ELBO of the training rows in each epoch, nats per row in the units of X.
        n_features_in_: the number of columns.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(100, 3))
        >>> estimator = VAEEstimator(latent=2, epochs=3, random_state=0).fit(rows)
        >>> estimator.transform(rows).shape, estimator.score_samples(rows).shape, estimator.sample(5).shape
        ((100, 2), (100,), (5, 3))

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014); for the scores Burda et al., "Importance
    Weighted Autoencoders" (2016), section 5.
    """

    def __init__(
        self,
        *,
        latent: int = 2,
        hidden: tuple[int, ...] = (64,),
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        epochs: int = 100,
        batch_size: int = 32,
        lr: float = 3e-3,
        num_samples: int = 100,
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.latent = latent
        self.hidden = hidden
        self.likelihood = likelihood
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.num_samples = num_samples
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of a table.

        Args:
            X: [n_samples, n_features].
            y: not used.

        Returns:
            The estimator.

        Raises:
            ValueError: a parameter or a value of the table is impossible, or training diverged.
        """
        self.check_parameters()
        X = self._rows(X, reset=True)
        self.mean_, self.scale_ = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if self.likelihood == "gaussian":
            spread = X.std(axis=0)
            rounding = SMALLEST_SPREAD * np.abs(X).max(axis=0)  # the spread of a constant column is not quite zero
            self.mean_, self.scale_ = X.mean(axis=0), np.where(spread > rounding, spread, 1.0)
        self._architecture = Architecture(X.shape[1], int(self.latent), tuple(map(int, self.hidden)), self.likelihood)
        self._n_features_out = int(self.latent)
        rows = ((X - self.mean_) / self.scale_).astype(np.float32)

        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        batch_size = min(int(self.batch_size), len(rows))
        course = Course(jax.random.key(seed), int(self.epochs), batch_size, partial(cosine, float(self.lr)))
        dataset = Dataset("rows", "given", Split(rows), None, Split(()))
        try:
            show = "training" if self.verbose else None
            trained = train(recipe_for(self._architecture), course, dataset, show=show)
        except Diverged as error:
            raise ValueError(f"training diverged at the learning rate lr={self.lr}: give a lower one") from error
        self.elbo_curve_ = history_of(trained).train - self._log_volume()
        self.params_ = jax.tree.map(np.asarray, jax.device_get(trained.params))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The codes of rows: the means of q(z|x).

        Args:
            X: [n_samples, n_features].

        Returns:
            [n_samples, latent].
        """
        return self._by_rows(_encode, self._standardised(X))

    def inverse_transform(self, Z: Any) -> np.ndarray:
        """The mean of p(x|z) at each code, in the units of X; under the Bernoulli the probability of a one.

        Args:
            Z: [n_samples, latent].

        Returns:
            [n_samples, n_features].
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=np.float64)
        latent = self._architecture.latent
        if Z.shape[1] != latent:
            raise ValueError(f"codes have {latent} columns, one for each latent dimension, and these have {Z.shape[1]}")
        return self._by_rows(_decode, Z) * self.scale_ + self.mean_

    def score_samples(self, X: Any) -> np.ndarray:
        """log p(x) of each row by importance sampling with `num_samples` draws.

        log p(x) ≈ ln 1/k Σ_i p(u, z_i) / q(z_i|u) - Σ_j ln scale_j,    z_i ~ q(z|u),    u = (x - mean) / scale

        The draws for a row depend on the row alone: it gets the same score at every call and in any company. In
        expectation the score is a lower bound, which rises with `num_samples`.

        Args:
            X: [n_samples, n_features].

        Returns:
            [n_samples] nats, of a density in the units of X (of a probability under the Bernoulli).
        """
        rows = self._standardised(X)
        seeds = np.array([zlib.crc32(row.tobytes()) for row in rows + 0.0], np.uint32)  # + 0.0 turns -0.0 into 0.0
        log_likelihood = partial(_log_likelihood, num_samples=int(self.num_samples))
        return self._by_rows(log_likelihood, rows, seeds) - self._log_volume()

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`.

        Args:
            X: [n_samples, n_features].
            y: not used.

        Returns:
            Nats per row.
        """
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """New rows from the model, the noise of p(x|z) included.

        Args:
            n_samples: how many.
            random_state: for the draws; None takes the estimator's own.

        Returns:
            [n_samples, n_features] in the units of X.
        """
        check_is_fitted(self)
        if not _is_count(n_samples):
            raise ValueError(f"n_samples={n_samples!r} must be a whole number of at least one")
        source = check_random_state(self.random_state if random_state is None else random_state)
        seeds = source.randint(np.iinfo(np.int32).max, size=(n_samples, 2)).astype(np.uint32)
        return self._by_rows(_sample, seeds) * self.scale_ + self.mean_

    def check_parameters(self) -> None:
        """Refuse what cannot be; `fit` does so too.

        Raises:
            ValueError: the first impossible parameter, and what it must be.
        """
        for name in ("latent", "epochs", "batch_size", "num_samples"):
            if not _is_count(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} must be a whole number of at least one")
        if not isinstance(self.hidden, Iterable) or not all(_is_count(width) for width in self.hidden):
            raise ValueError(
                f"hidden={self.hidden!r} must hold widths of at least one, (64,) or (128, 64) for instance"
            )
        if not (isinstance(self.lr, Real) and 0 < self.lr < math.inf):
            raise ValueError(f"lr={self.lr!r} must be a positive number")
        if self.likelihood not in ("gaussian", "bernoulli"):
            raise ValueError(f"likelihood={self.likelihood!r} must be 'gaussian' or 'bernoulli'")

    @property
    def model_(self) -> VAE:
        """The model of the standardised rows, for every other function of this library."""
        return model_of(self._architecture)

    def _rows(self, X: Any, *, reset: bool) -> np.ndarray:
        X = validate_data(
            self, X, dtype=np.float64, order="C", reset=reset
        )  # sums depend on the order, in a last digit
        if np.abs(X).max() > LARGEST:
            raise ValueError(
                f"X holds {X.flat[np.abs(X).argmax()]:g}, whose square has no place in a number: give the column in "
                "larger units"
            )
        if self.likelihood == "bernoulli" and not np.isin(X, (0, 1)).all():
            value = X[~np.isin(X, (0, 1))][0]
            raise ValueError(f"a Bernoulli needs zeros and ones, and X holds {value:g}: take likelihood='gaussian'")
        return X

    def _standardised(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return (self._rows(X, reset=False) - self.mean_) / self.scale_

    def _log_volume(self) -> float:
        """ln |dx/du| of x = scale u + mean."""
        return float(np.sum(np.log(self.scale_)))

    def _by_rows(self, function: Callable[..., Array], *columns: np.ndarray) -> np.ndarray:
        """A function of (model, params, rows), in double precision, `ROWS` rows at a time."""
        filled = [np.resize(column, (-(-len(column) // ROWS) * ROWS, *column.shape[1:])) for column in columns]
        with jax.enable_x64(True):
            params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), self.params_)
            parts = [
                np.asarray(function(self.model_, params, *(column[first : first + ROWS] for column in filled)))
                for first in range(0, len(filled[0]), ROWS)
            ]
        return np.concatenate(parts)[: len(columns[0])]


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


@partial(jax.jit, static_argnums=0)
def _encode(model: VAE, params: Params, rows: Array) -> Array:
    return jax.vmap(lambda row: model.posterior(params, row).expectation())(rows)


@partial(jax.jit, static_argnums=0)
def _decode(model: VAE, params: Params, zs: Array) -> Array:
    return jax.vmap(lambda z: model.likelihood(params, z).expectation())(zs)


@partial(jax.jit, static_argnums=0, static_argnames="num_samples")
def _log_likelihood(model: VAE, params: Params, rows: Array, seeds: Array, *, num_samples: int) -> Array:
    def of_row(row: Array, seed: Array) -> Array:
        return evaluation.log_likelihood(model, jax.random.key(seed), params, row, num_samples=num_samples)

    return jax.vmap(of_row)(rows, seeds)


@partial(jax.jit, static_argnums=0)
def _sample(model: VAE, params: Params, seeds: Array) -> Array:
    def of_seed(seed: Array) -> Array:
        return model.sample(jax.random.fold_in(jax.random.key(seed[0]), seed[1]), params)

    return jax.vmap(of_seed)(seeds)
