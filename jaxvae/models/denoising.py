"""The denoising criterion: the posterior sees a corrupted example, the likelihood is that of the clean one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvae.draws import Draw, pathwise
from jaxvae.model import VAE, Terms, terms_of
from jaxvae.types import Array, Distribution, Key, Params

Corrupt = Callable[[Key, Array], Array]  # (key, clean x) -> corrupted x


def denoising(model: VAE, corrupt: Corrupt, *, draw: Callable[[Key, Distribution], Draw] = pathwise) -> VAE:
    """A VAE whose posterior sees a fresh corruption of every example that it is to explain.

    L(x) = E_{x̃ ~ c(x̃|x)} E_{z ~ q(z|x̃)} [ln p(x|z) + ln p(z) - ln q(z|x̃)]  ≤  ln p(x)

    Every corruption is a posterior of its own, so each draw's weight p(x, z) / q(z|x̃) is unbiased for p(x), and `elbo`
    and `iwae_bound` of the returned model are bounds on log p(x) of the clean example.

    Args:
        model: made by `jaxvae.vae`, or by hand with the same kind of terms.
        corrupt: (key, x) -> x̃ of the same shape.
        draw: the gradient estimator, one of `jaxvae.draws`.

    Returns:
        The same model with other terms. Its `posterior` is that of what it is given: give it the corrupted example.

    Example:
        >>> from jaxvae import elbo
        >>> from jaxvae.models import linear
        >>> model = linear.linear_vae(latent=2)
        >>> params = model.init(jax.random.key(0), jnp.zeros(3))
        >>> denoiser = denoising(model, gaussian_noise(0.5))
        >>> elbo(denoiser, jax.random.key(1), params, jnp.zeros(3), num_samples=4).shape
        ()

    Source: Im, Ahn, Memisevic & Bengio, "Denoising Criterion for Variational Auto-Encoding Framework" (2017),
    equation 4.
    """

    def terms(key: Key, params: Params, x: Array) -> Terms:
        key_corruption, key_z = jax.random.split(key)
        drawn = draw(key_z, model.posterior(params, corrupt(key_corruption, x)))
        return terms_of(drawn, model.prior(params), model.likelihood(params, drawn.value), x)

    return model._replace(terms=terms)


def gaussian_noise(scale: float) -> Corrupt:
    """x̃ = x + scale ε with ε ~ N(0, I), not clipped.

    Args:
        scale: σ ≥ 0, in the units of x.

    Returns:
        (key, x) -> x̃.

    Raises:
        ValueError: the scale is negative or no number.
    """
    if not scale >= 0:
        raise ValueError(f"a noise scale must not be negative, and this one is {scale}")

    def corrupt(key: Key, x: Array) -> Array:
        return x + jnp.asarray(scale, x.dtype) * jax.random.normal(key, x.shape, x.dtype)

    return corrupt


def salt_and_pepper(fraction: float) -> Corrupt:
    """Each dimension is replaced with the given probability, by zero or one as often.

    Args:
        fraction: between 0 and 1.

    Returns:
        (key, x) -> x̃.

    Raises:
        ValueError: the fraction is no probability.
    """
    _check(fraction)

    def corrupt(key: Key, x: Array) -> Array:
        key_where, key_value = jax.random.split(key)
        replaced = jax.random.bernoulli(key_where, fraction, x.shape)
        return jnp.where(replaced, jax.random.bernoulli(key_value, 0.5, x.shape).astype(x.dtype), x)

    return corrupt


def masking(fraction: float) -> Corrupt:
    """Each dimension is set to zero with the given probability.

    Args:
        fraction: between 0 and 1.

    Returns:
        (key, x) -> x̃.

    Raises:
        ValueError: the fraction is no probability.

    Example:
        >>> masking(1.0)(jax.random.key(0), jnp.ones(3))
        Array([0., 0., 0.], dtype=float32)

    Source: Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders" (2008), section 2.3.
    """
    _check(fraction)

    def corrupt(key: Key, x: Array) -> Array:
        return jnp.where(jax.random.bernoulli(key, fraction, x.shape), jnp.zeros_like(x), x)

    return corrupt


def _check(fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction of the dimensions must lie between 0 and 1, and this one is {fraction}")
