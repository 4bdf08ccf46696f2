"""The pictures of a run on images: what the model makes of test images, and new ones."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import training
from jaxvae.model import VAE
from jaxvae.run import keys
from jaxvae.run.data import Dataset, Split
from jaxvae.run.figures import gallery
from jaxvae.run.held_out import spread
from jaxvae.types import Array, Key, Params

QUANTILES = (0.02, 0.98)  # of the prior, the borders of the 2-D manifold
CODES = 2000  # how many test examples the latent scatter shows
NEW = 100  # how many new images are shown


class View(NamedTuple):
    """How pictures are made of what a kind of VAE of images yields: the defaults are those of a plain one."""

    image: Callable[[Any], Array] = lambda x: x  # an example -> its image
    code: Callable[[Any], Any] = lambda z: z  # the latent variable -> the part of it that tells examples apart
    finish: Callable[[Any, Array], Array] = lambda z, mean: mean  # (the latent variable, p(x|z)'s mean) -> an image
    new: Callable[[VAE, Key, Params, Any], Any] = lambda model, key, params, x: model.prior(params).sample(key)
    title: str = "Samples from the prior"
    caption: str = "The decoder's mean for 100 draws z ~ p(z): look for whole, varied shapes."
    plane: bool = False  # whether z is two real numbers, which are drawn as a map


def of_images(model: VAE, as_x: Callable[[Split], Any], view: View) -> Callable[[Path, Params, Dataset], None]:
    """How pictures of most runs on images are made: reconstructions, samples, the codes, and a map of two latents.

    Args:
        model: of the run.
        as_x: a split -> the xs, a tree of arrays [N, ...].
        view: of the kind.

    Returns:
        The `draw` of a recipe.
    """

    def draw(place: Path, params: Params, dataset: Dataset) -> None:
        test = spread(dataset.test, CODES)
        xs, shown = as_x(test), as_x(spread(dataset.test, 36))
        seen = np.asarray(jax.vmap(view.image)(shown))
        gallery.reconstructions(
            place / "reconstructions.png",
            seen,
            np.asarray(decode(model, params, _encode(model, params, shown), view.finish)),
            grey=_binarised_from(spread(dataset.test, 36).examples, seen),
        )
        told = as_x(spread(dataset.test, NEW))
        of_each = jax.random.split(keys.of_pictures(), NEW)
        rows = np.arange(NEW) % training.num_examples(told)  # a small test set is gone through again
        zs = jax.vmap(lambda key, x: view.new(model, key, params, x))(
            of_each, jax.tree.map(lambda leaf: leaf[rows], told)
        )
        means = np.asarray(decode(model, params, zs, view.finish))
        gallery.samples(place / "samples.png", means, title=view.title, caption=view.caption)
        codes = jax.tree.leaves(view.code(_encode(model, params, xs)))
        flat = np.concatenate([np.asarray(leaf).reshape(len(leaf), -1) for leaf in codes], axis=1)
        gallery.latent_scatter(place / "latent.png", flat, test.labels)
        if view.plane:
            gallery.manifold(place / "manifold.png", manifold(model, params, side=20), quantile_range=QUANTILES)

    return draw


def _binarised_from(stored: np.ndarray, seen: np.ndarray) -> np.ndarray | None:
    """Grey images in [0, 1], where the model sees zeros and ones that were drawn from them; else None."""
    stored = np.asarray(stored)
    grey = stored / np.float32(255) if stored.dtype == np.uint8 else stored
    drawn = grey.shape == seen.shape and bool(np.isin(seen, (0, 1)).all()) and not np.isin(grey, (0, 1)).all()
    return grey if drawn else None


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
