"""A VAE of a table as a scikit-learn estimator: fit, transform, inverse_transform, impute, score_samples, sample."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxvae.model import VAE
from jaxvae.run import table_rows
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset, Split
from jaxvae.run.data.columns import Table
from jaxvae.run.data.frames import filled, handed_back, is_frame, table_given
from jaxvae.run.data.schema import NUMBER, Column, Rows, Schema, columns_of, in_single_precision, rows_of, schema_of
from jaxvae.run.fit import history_of
from jaxvae.run.table_rows import by_rows, cosine, model_of, recipe_for
from jaxvae.run.train import Diverged, train


class VAEEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """A variational auto-encoder of the rows of a table, with scikit-learn's interface.

    p(z) = N(0, I),    p(x_obs|z) = Π_{j observed} p_j(x_j|z),    q(z|x_obs) = N(m(x_obs), diag s(x_obs)²)

    with fully connected networks. A cell may be missing (NaN, None, NA): it is left out of the likelihood, and the
    encoder reads a zero there. A column of numbers has a Gaussian, a Student's t or a Bernoulli; of words, booleans or
    categories of a DataFrame, a categorical; a column that is declared to hold counts, a negative binomial. Columns of
    numbers are standardised inside by their observed cells, each has a learned noise scale σ_j that all rows share (at
    least a thousandth of the column's standard deviation), and every density that comes out is that of the columns in
    their own units. Training is in single precision and scores are in double.

    Args:
        latent: the number of latent dimensions.
        hidden: the widths of the hidden layers of the encoder; the decoder has them in reverse.
        likelihood: of numbers: "gaussian", "student-t", or "bernoulli" for zeros and ones.
        classes: the columns of numbers that are classes, by their names or their places.
        counts: the columns that are counts.
        epochs: passes over the rows.
        batch_size: rows in one step; fewer where the table is smaller.
        lr: the learning rate of Adam, which falls to zero along a cosine.
        train_samples: the draws of the importance-weighted bound that is ascended; 1 is the ELBO. With cells missing,
            more of them (MIWAE has 20) make better imputations.
        num_samples: k, the draws of the estimate of log p(x), and of an imputation.
        random_state: an int for the same model at every `fit`, a `RandomState`, or None.
        verbose: show a progress bar.

    Attributes:
        params_: the parameters of `model_`, a tree of arrays.
        schema_: what each column holds.
        mean_: [n_features] subtracted from the columns of numbers; zero of others.
        scale_: [n_features] by which they are then divided; one of others.
        elbo_curve_: [epochs] the mean bound of the training rows in each epoch, nats per row in the units of X.
        n_features_in_: the number of columns.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(100, 3))
        >>> rows[3, 1] = np.nan
        >>> estimator = VAEEstimator(latent=2, epochs=3, random_state=0).fit(rows)
        >>> estimator.transform(rows).shape, estimator.score_samples(rows).shape, estimator.sample(5).shape
        ((100, 2), (100,), (5, 3))
        >>> bool(np.isfinite(estimator.impute(rows)).all())
        True

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014); for the scores Burda et al., "Importance
    Weighted Autoencoders" (2016), section 5; for missing cells Mattei & Frellsen, "MIWAE" (2019).
    """

    def __init__(
        self,
        *,
        latent: int = 2,
        hidden: tuple[int, ...] = (64,),
        likelihood: Literal["gaussian", "student-t", "bernoulli"] = "gaussian",
        classes: tuple[str | int, ...] = (),
        counts: tuple[str | int, ...] = (),
        epochs: int = 100,
        batch_size: int = 32,
        lr: float = 3e-3,
        train_samples: int = 1,
        num_samples: int = 100,
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.latent = latent
        self.hidden = hidden
        self.likelihood = likelihood
        self.classes = classes
        self.counts = counts
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.train_samples = train_samples
        self.num_samples = num_samples
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of a table.

        Args:
            X: [n_samples, n_features], a DataFrame or an array.
            y: not used.

        Returns:
            The estimator.

        Raises:
            ValueError: a parameter or a value of the table is impossible, or training diverged.
        """
        self.check_parameters()
        rows = self._read(X, reset=True)
        self._architecture = table_rows.architecture_of(
            self.schema_, int(self.latent), tuple(map(int, self.hidden)), self.likelihood
        )
        self._n_features_out = int(self.latent)

        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        count = len(next(iter(rows[0].values())))
        batch_size = min(int(self.batch_size), count)
        course = Course(jax.random.key(seed), int(self.epochs), batch_size, partial(cosine, float(self.lr)))
        dataset = Dataset("rows", "given", Split(in_single_precision(rows)), None, Split(()))
        try:
            show = "training" if self.verbose else None
            recipe = recipe_for(self._architecture, int(self.train_samples))
            trained = train(recipe, course, dataset, show=show)
        except Diverged as error:
            raise ValueError(f"training diverged at the learning rate lr={self.lr}: give a lower one") from error
        self.elbo_curve_ = history_of(trained).train - np.mean(self._log_volume(rows))
        self.params_ = jax.tree.map(np.asarray, jax.device_get(trained.params))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The codes of rows: the means of q(z|x_obs).

        Args:
            X: [n_samples, n_features].

        Returns:
            [n_samples, latent].
        """
        return self._by_rows(table_rows.encode, self._read(X))

    def inverse_transform(self, Z: Any) -> Any:
        """What p(x|z) has for its mean at each code, in the units of X; under the Bernoulli the probability of a one.

        Args:
            Z: [n_samples, latent].

        Returns:
            [n_samples, n_features]; where X was a DataFrame with classes, one like it, with the most probable ones.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=np.float64)
        latent = self._architecture.latent
        if Z.shape[1] != latent:
            raise ValueError(f"codes have {latent} columns, one for each latent dimension, and these have {Z.shape[1]}")
        columns = columns_of(self._by_rows(table_rows.decode, Z), self.schema_)
        return handed_back(self._empty if self.schema_.sizes else None, self.schema_, columns)

    def impute(self, X: Any, *, draws: int | None = None) -> Any:
        """The rows with their missing cells filled in; observed cells stay as they are.

        E[x_mis|x_obs] by self-normalised importance weights of `num_samples` draws; of classes the most probable one.

        Args:
            X: [n_samples, n_features].
            draws: fill in draws from p(x_mis|x_obs) instead, so many times: multiple imputation.

        Returns:
            [n_samples, n_features], a DataFrame where X is one; a list of as many as there are draws.

        Raises:
            ValueError: `draws` is less than one.

        Source: Mattei & Frellsen, "MIWAE" (2019).
        """
        if draws is not None and not _is_count(draws):
            raise ValueError(f"draws={draws!r} must be a whole number of at least one, or None")
        rows = self._read(X)
        seeds, k = table_rows.seeds_of(rows), {"num_samples": int(self.num_samples)}
        if draws is None:
            return filled(X, self.schema_, rows, self._by_rows(partial(table_rows.expected, **k), rows, seeds))
        drawn = self._by_rows(partial(table_rows.drawn, num_draws=int(draws), **k), rows, seeds)
        return [
            filled(X, self.schema_, rows, {block: cells[:, number] for block, cells in drawn.items()})
            for number in range(int(draws))
        ]

    def score_samples(self, X: Any) -> np.ndarray:
        """log p(x_obs) of each row by importance sampling with `num_samples` draws.

        log p(x) ≈ ln 1/k Σ_i p(u, z_i) / q(z_i|u) - Σ_j ln scale_j,    z_i ~ q(z|u),    u = (x - mean) / scale

        over observed cells. The draws for a row depend on the row alone: it gets the same score at every call and in
        any company. In expectation the score is a lower bound, which rises with `num_samples`.

        Args:
            X: [n_samples, n_features].

        Returns:
            [n_samples] nats, of a density in the units of X (of a probability under the Bernoulli).
        """
        rows = self._read(X)
        log_likelihood = partial(table_rows.log_likelihood, num_samples=int(self.num_samples))
        return self._by_rows(log_likelihood, rows, table_rows.seeds_of(rows)) - self._log_volume(rows)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`.

        Args:
            X: [n_samples, n_features].
            y: not used.

        Returns:
            Nats per row.
        """
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """New rows from the model, the noise of p(x|z) included.

        Args:
            n_samples: how many.
            random_state: for the draws; None takes the estimator's own.

        Returns:
            [n_samples, n_features] in the units of X; a DataFrame where X was one.
        """
        check_is_fitted(self)
        if not _is_count(n_samples):
            raise ValueError(f"n_samples={n_samples!r} must be a whole number of at least one")
        source = check_random_state(self.random_state if random_state is None else random_state)
        seeds = source.randint(np.iinfo(np.int32).max, size=(n_samples, 2)).astype(np.uint32)
        columns = columns_of(self._by_rows(table_rows.sample, seeds), self.schema_)
        return handed_back(self._empty, self.schema_, columns)

    def check_parameters(self) -> None:
        """Refuse what cannot be; `fit` does so too.

        Raises:
            ValueError: the first impossible parameter, and what it must be.
        """
        for name in ("latent", "epochs", "batch_size", "train_samples", "num_samples"):
            if not _is_count(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} must be a whole number of at least one")
        if not isinstance(self.hidden, Iterable) or not all(_is_count(width) for width in self.hidden):
            raise ValueError(
                f"hidden={self.hidden!r} must hold widths of at least one, (64,) or (128, 64) for instance"
            )
        if not (isinstance(self.lr, Real) and 0 < self.lr < math.inf):
            raise ValueError(f"lr={self.lr!r} must be a positive number")
        if self.likelihood not in table_rows.NUMBERS:
            raise ValueError(
                f"likelihood={self.likelihood!r} must be {', '.join(map(repr, list(table_rows.NUMBERS)[:-1]))} or "
                f"{list(table_rows.NUMBERS)[-1]!r}"
            )
        for name in ("classes", "counts"):
            if isinstance(getattr(self, name), str) or not isinstance(getattr(self, name), Iterable):
                raise ValueError(f"{name}={getattr(self, name)!r} must hold columns, ('age',) for instance")

    @property
    def model_(self) -> VAE:
        """The model of the standardised rows (`Cells`), for every other function of this library."""
        return model_of(self._architecture)

    def __sklearn_tags__(self) -> Tags:
        """Missing cells and categories are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _read(self, X: Any, *, reset: bool = False) -> Rows:
        """The cells of a table, as the model has them, in double precision."""
        if not reset:
            check_is_fitted(self)
        if is_frame(X):
            validate_data(self, X, skip_check_array=True, reset=reset)
        else:
            X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=reset)
        table = table_given(X)
        if reset:
            self.schema_ = self._schema_of(table)
            numbers = [
                column if column.kind == NUMBER else Column(column.name, NUMBER) for column in self.schema_.columns
            ]
            self.mean_, self.scale_ = (np.array([getattr(c, name) for c in numbers]) for name in ("mean", "scale"))
            self._empty = X[:0] if is_frame(X) else None
        rows = rows_of(table, self.schema_, "X")
        if self.likelihood == "bernoulli" and "numbers" in rows[0]:
            cells = rows[0]["numbers"][rows[1]["numbers"]]
            if not np.isin(cells, (0, 1)).all():
                value = cells[~np.isin(cells, (0, 1))][0]
                raise ValueError(f"a Bernoulli needs zeros and ones, and X holds {value:g}: take likelihood='gaussian'")
        return rows

    def _schema_of(self, table: Table) -> Schema:
        """What the columns hold; zeros and ones are not standardised, and whole numbers are numbers like others."""
        made = schema_of(
            table,
            np.arange(table.size),
            "X",
            classes=list(map(str, self.classes)),
            counts=list(map(str, self.counts)),
            two_values=False,
            keep_constant=True,
        )
        as_they_are: dict[str, Any] = {"mean": 0.0, "scale": 1.0} if self.likelihood == "bernoulli" else {}
        return Schema(tuple(c._replace(whole=False, **(as_they_are if c.kind == NUMBER else {})) for c in made.columns))

    def _log_volume(self, rows: Rows) -> np.ndarray:
        """[N] ln |dx/du| of x = scale u + mean, over the observed numbers."""
        if "numbers" not in rows[1]:
            return np.zeros(len(next(iter(rows[1].values()))))
        return rows[1]["numbers"] @ np.log([column.scale for column in self.schema_.of(NUMBER)])

    def _by_rows(self, function: Callable[..., Any], *trees: Any) -> Any:
        """A function of (model, params, rows), in double precision, some rows at a time."""
        with jax.enable_x64(True):
            params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), self.params_)
            return by_rows(function, self.model_, params, *trees)


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
