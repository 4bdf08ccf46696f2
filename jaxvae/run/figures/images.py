"""The pictures of a run: what the model makes of test images, and the curves of its training."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import training
from jaxvae.model import VAE
from jaxvae.run import config as configuration
from jaxvae.run.data import Dataset, Split
from jaxvae.run.evaluate import as_seen, even_rows
from jaxvae.run.figures import gallery, pictured
from jaxvae.run.folder import logs
from jaxvae.types import Array, Key, Params

QUANTILES = (0.02, 0.98)  # of the prior, the borders of the 2-D manifold
CODES = 2000  # how many test examples the latent scatter shows
NEW = 100  # how many new images are shown


def draw(folder: Path, config: configuration.Config, model: VAE, params: Params, dataset: Dataset) -> None:
    """Write the figures of a run.

    Args:
        folder: of the run; the figures go to its `figures`.
        config: of the run.
        model: of the run.
        params: of one seed.
        dataset: of the run.
    """
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    how = pictured.pictured(config, dataset.test.images.shape[1:])
    test = spread(dataset.test, CODES)
    xs, shown = as_seen(config, test), as_seen(config, spread(dataset.test, 36))
    gallery.reconstructions(
        place / "reconstructions.png",
        np.asarray(jax.vmap(how.image)(shown)),
        np.asarray(decode(model, params, _encode(model, params, shown), how.finish)),
    )
    told = as_seen(config, spread(dataset.test, NEW))
    keys = jax.random.split(jax.random.key(4), NEW)
    rows = np.arange(NEW) % training.num_examples(told)  # a small test set is gone through again
    zs = jax.vmap(lambda key, x: how.new(model, key, params, x))(keys, jax.tree.map(lambda leaf: leaf[rows], told))
    means = np.asarray(decode(model, params, zs, how.finish))
    gallery.samples(place / "samples.png", means, title=how.title, caption=how.caption)
    codes = jax.tree.leaves(how.code(_encode(model, params, xs)))
    flat = np.concatenate([np.asarray(leaf).reshape(len(leaf), -1) for leaf in codes], axis=1)
    gallery.latent_scatter(place / "latent.png", flat, test.labels)
    if _has_plane(config.model):
        gallery.manifold(place / "manifold.png", manifold(model, params, side=20), quantile_range=QUANTILES)
    curves(folder, config)


def _has_plane(model: configuration.Model) -> bool:
    """Whether z is two numbers."""
    return model.latent == 2 and model.structure == "plain" and model.posterior not in configuration.DISCRETE


def spread(split: Split, count: int) -> Split:
    """Examples from all over a split.

    Args:
        split: of a data set.
        count: how many.

    Returns:
        At most so many examples, at even distances.
    """
    rows = even_rows(len(split.images), count)
    return Split(split.images[rows], None if split.labels is None else split.labels[rows])


def curves(folder: Path, config: configuration.Config) -> None:
    """Draw the learning curves from the run's log.

    Args:
        folder: of the run.
        config: of the run.
    """
    rows = logs.read(folder)
    bounds = {name: _curve(rows, f"{name}_bound") for name in ("train", "valid", "test")}
    terms = {
        "KL": {"train": _curve(rows, "train_kl")},
        "log-likelihood": {"train": _curve(rows, "train_log_likelihood")},
    }
    shown = {name: curve for name, curve in bounds.items() if len(curve[0])}
    if shown:
        gallery.learning_curves(folder / "figures" / "curves.png", shown, terms=terms)


def _curve(rows: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The epochs [T] and the values [T], or [S, T] for several seeds."""
    chosen = [row for row in rows if name in row]
    return np.array([row["epoch"] for row in chosen]), np.array([row[name] for row in chosen]).T


@partial(jax.jit, static_argnums=0)
def _encode(model: VAE, params: Params, xs: Any) -> Any:
    return jax.vmap(lambda x: model.posterior(params, x).expectation())(xs)


def encode(model: VAE, params: Params, xs: Array) -> np.ndarray:
    """The posterior means.

    Args:
        model: of the run.
        params: of one seed.
        xs: [N, *event].

    Returns:
        [N, latent].
    """
    return np.asarray(_encode(model, params, xs))


def the_mean(z: Any, mean: Array) -> Array:
    """The mean of p(x|z) as it is."""
    return mean


@partial(jax.jit, static_argnums=(0, 3))
def decode(model: VAE, params: Params, zs: Any, finish: Callable[[Any, Array], Array] = the_mean) -> Array:
    """The likelihood's mean at each code.

    Args:
        model: of the run.
        params: of one seed.
        zs: [N, latent], or a tree of such arrays where the latent variable is one.
        finish: (z, the mean) -> an image, where the mean is not one by itself.

    Returns:
        [N, *event] in [0, 1].
    """
    return jnp.clip(jax.vmap(lambda z: finish(z, model.likelihood(params, z).expectation()))(zs), 0, 1)


def reconstruct(model: VAE, params: Params, xs: Array) -> np.ndarray:
    """The decoder's mean at the posterior mean of each example.

    Args:
        model: of the run.
        params: of one seed.
        xs: [N, *event].

    Returns:
        [N, *event] in [0, 1].
    """
    return np.asarray(decode(model, params, _encode(model, params, xs)))


def prior_means(model: VAE, key: Key, params: Params, *, num_samples: int) -> np.ndarray:
    """The decoder's mean at draws from the prior.

    Args:
        model: of the run.
        key: for the draws.
        params: of one seed.
        num_samples: how many.

    Returns:
        [num_samples, *event] in [0, 1].
    """
    zs = jax.vmap(lambda k: model.prior(params).sample(k))(jax.random.split(key, num_samples))
    return np.asarray(decode(model, params, zs))


def manifold(model: VAE, params: Params, *, side: int) -> np.ndarray:
    """The decoder's mean on a grid of equal steps of a 2-D prior's probability.

    Args:
        model: of the run, with two latent dimensions.
        params: of one seed.
        side: n.

    Returns:
        [n, n, *event] in [0, 1]; the first axis is z₂.

    Source: Kingma & Welling (2014), figure 4.
    """
    steps = jnp.asarray([NormalDist().inv_cdf(u) for u in np.linspace(*QUANTILES, side)], jnp.float32)
    z1, z2 = jnp.meshgrid(steps, steps)
    means = np.asarray(decode(model, params, jnp.stack([z1, z2], axis=-1).reshape(-1, 2)))
    return means.reshape(side, side, *means.shape[1:])
