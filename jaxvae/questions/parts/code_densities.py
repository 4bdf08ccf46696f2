"""Codes drawn from the posteriors of images, densities of them, and the images that codes become."""

from functools import partial

import jax
import numpy as np
from sklearn.mixture import GaussianMixture

from jaxvae.model import VAE
from jaxvae.types import Array, Key, Params

CANDIDATES = (1, 2, 5, 10, 20, 50)


@partial(jax.jit, static_argnums=0)
def drawn_codes(model: VAE, key: Key, params: Params, xs: Array) -> Array:
    """One draw z ~ q(z|x) of each image, [N, *latent]."""

    def of_image(key_and_x: tuple[Key, Array]) -> Array:
        key, x = key_and_x
        return model.posterior(params, x).sample(key)

    return jax.lax.map(of_image, (jax.random.split(key, len(xs)), xs), batch_size=500)


@partial(jax.jit, static_argnums=0)
def prior_density(model: VAE, params: Params, zs: Array) -> Array:
    """ln p(z) of codes [N, *latent]: [N], in nats."""
    return jax.vmap(model.prior(params).log_prob)(zs)


@partial(jax.jit, static_argnums=0)
def drawn_images(model: VAE, params: Params, key: Key, zs: Array) -> Array:
    """Images with the likelihood's own noise: x ~ p(x|z)."""
    return jax.vmap(lambda key, z: model.likelihood(params, z).sample(key))(jax.random.split(key, len(zs)), zs)


def fitted_mixture(codes: np.ndarray, components: int | None, seed: int) -> GaussianMixture:
    """A Gaussian mixture fitted to codes, each component with a full covariance.

    Args:
        codes: [N, D].
        components: how many; None for the number, among `CANDIDATES`, that explains a fifth of the codes best when the
            mixture is fitted to the others.
        seed: of the fit.
    """

    def fitted(components: int, codes: np.ndarray) -> GaussianMixture:
        return GaussianMixture(components, reg_covar=1e-4, random_state=seed).fit(codes)

    if components is None:
        kept, left_out = np.arange(len(codes)) % 5 > 0, np.arange(len(codes)) % 5 == 0
        possible = [count for count in CANDIDATES if count <= kept.sum()]
        components = max(possible, key=lambda count: fitted(count, codes[kept]).score(codes[left_out]))
    return fitted(components, codes)


def mixture_draws(mixture: GaussianMixture, count: int, seed: int) -> np.ndarray:
    """Draws from the mixture, which scikit-learn returns sorted by component."""
    draws, _ = mixture.sample(count)
    return np.random.default_rng(seed).permutation(draws)
