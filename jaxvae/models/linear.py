"""The linear-Gaussian VAE, whose every quantity is a closed form: probabilistic PCA with an amortised posterior.

p(z) = N(0, I),    p(x|z) = N(W z + μ, σ² I),    q(z|x) = N(V (x - μ), diag D)

It is the library's oracle: bounds, gradients and gaps are tested against it.
Source: Tipping & Bishop, "Probabilistic Principal Component Analysis" (1999);
Lucas et al., "Don't Blame the ELBO!" (2019).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.scipy.stats as stats

from jaxvae.distributions import Normal, check_event
from jaxvae.draws import Draw, pathwise
from jaxvae.model import VAE, standard_normal, vae
from jaxvae.types import Array, Distribution, Key, Network, Params


def linear_vae(*, latent: int, draw: Callable[[Key, Distribution], Draw] = pathwise) -> VAE:
    """The linear VAE for examples x [d].

    Args:
        latent: q, the number of latent dimensions.
        draw: the gradient estimator, one of `jaxvae.draws`.

    Returns:
        A model whose params are made by `init`, by `probabilistic_pca`, or by hand: `parameters` names them.

    Example:
        >>> model = linear_vae(latent=2)
        >>> params = model.init(jax.random.key(0), jnp.zeros(3))
        >>> model.posterior(params, jnp.zeros(3)).mean
        Array([0., 0.], dtype=float32)
    """

    def init_encoder(key: Key, x: Array) -> Params:
        weights = jax.random.normal(key, (latent, *x.shape), x.dtype) / jnp.sqrt(jnp.asarray(x.size, x.dtype))
        return {"V": weights, "center": jnp.zeros_like(x), "log_scale": jnp.zeros(latent, x.dtype)}

    def encode(params: Params, x: Array) -> dict[str, Array]:
        return {"mean": params["V"] @ (x - params["center"]), "log_scale": params["log_scale"]}

    def decode(params: Params, z: Array) -> dict[str, Array]:
        return {"mean": params["W"] @ z + params["center"], "log_scale": params["log_scale"]}

    # The decoder's shape is that of x, which its own `init` does not see: the whole is made at once.
    model = vae(
        encoder=Network(init_encoder, encode),
        decoder=Network(lambda key, z: {}, decode),
        prior=standard_normal((latent,)),
        likelihood=Normal,
        draw=draw,
    )

    def init(key: Key, x: Array) -> Params:
        key_encoder, key_decoder = jax.random.split(key)
        loadings = 0.1 * jax.random.normal(key_decoder, (*x.shape, latent), x.dtype)
        decoder = {"W": loadings, "center": jnp.zeros_like(x), "log_scale": jnp.zeros((), x.dtype)}
        return {"prior": {}, "encoder": init_encoder(key_encoder, x), "decoder": decoder}

    return model._replace(init=init)


def parameters(loadings: Array, center: Array, noise_scale: Array) -> Params:
    """The params of a linear VAE with the best diagonal posterior for a given W, μ, σ.

    V = M⁻¹ Wᵀ,    D = σ² / diag M,    M = Wᵀ W + σ² I

    Args:
        loadings: [d, q] W.
        center: [d] μ.
        noise_scale: [] σ > 0.

    Returns:
        Params for `linear_vae(latent=q)`. When the columns of W are orthogonal, the posterior is exact.

    Source: Lucas et al. (2019), equations 9 and 10.
    """
    precision = _scaled_precision(loadings, noise_scale)
    encoder = {
        "V": jnp.linalg.solve(precision, loadings.T),
        "center": center,
        "log_scale": jnp.log(noise_scale) - 0.5 * jnp.log(jnp.diagonal(precision)),
    }
    return {
        "prior": {},
        "encoder": encoder,
        "decoder": {"W": loadings, "center": center, "log_scale": jnp.log(noise_scale)},
    }


def probabilistic_pca(xs: Array, *, latent: int) -> Params:
    """The maximum of the likelihood over W, μ and σ, with its exact posterior.

    μ = mean,    σ² = (Σ_{i>q} λ_i) / (d - q),    W = U_q (Λ_q - σ² I)^½

    with λ the eigenvalues of the covariance of the data (divided by N), in falling order, and U its eigenvectors.

    Args:
        xs: [N, d] the data.
        latent: q < d.

    Returns:
        Params for `linear_vae(latent=q)`.

    Raises:
        ValueError: `latent` is not between 1 and d - 1.

    Source: Tipping & Bishop (1999), equations 7 and 8.
    """
    dimensions = xs.shape[1]
    if not 1 <= latent < dimensions:
        raise ValueError(
            f"latent={latent} must lie between 1 and {dimensions - 1}, one less than the data's dimensions"
        )
    center = jnp.mean(xs, axis=0)
    centered = xs - center[None]
    covariance = centered.T @ centered / len(xs)
    eigenvalues, eigenvectors = jnp.linalg.eigh(covariance)
    eigenvalues, eigenvectors = eigenvalues[::-1], eigenvectors[:, ::-1]
    variance = jnp.mean(eigenvalues[latent:])
    loadings = eigenvectors[:, :latent] * jnp.sqrt(eigenvalues[None, :latent] - variance)
    return parameters(loadings, center, jnp.sqrt(variance))


def log_marginal(params: Params, x: Array) -> Array:
    """The exact log p(x) = ln N(x; μ, W Wᵀ + σ² I).

    Args:
        params: of a `linear_vae`.
        x: [d] one example.

    Returns:
        [] nats.

    Source: Tipping & Bishop (1999), equation 4.
    """
    decoder = params["decoder"]
    check_event("linear VAE", x, decoder["center"].shape)
    identity = jnp.eye(x.size, dtype=x.dtype)
    covariance = decoder["W"] @ decoder["W"].T + jnp.exp(2 * decoder["log_scale"]) * identity
    return jnp.asarray(stats.multivariate_normal.logpdf(x, decoder["center"], covariance))


def exact_posterior(params: Params, x: Array) -> tuple[Array, Array]:
    """The mean and covariance of p(z|x) = N(M⁻¹ Wᵀ (x - μ), σ² M⁻¹).

    Args:
        params: of a `linear_vae`.
        x: [d] one example.

    Returns:
        [q] and [q, q].

    Source: Tipping & Bishop (1999), equation 6.
    """
    decoder = params["decoder"]
    check_event("linear VAE", x, decoder["center"].shape)
    noise_scale = jnp.exp(decoder["log_scale"])
    precision = _scaled_precision(decoder["W"], noise_scale)
    mean = jnp.linalg.solve(precision, decoder["W"].T @ (x - decoder["center"]))
    return mean, jnp.square(noise_scale) * jnp.linalg.inv(precision)


def _scaled_precision(loadings: Array, noise_scale: Array) -> Array:
    """M = Wᵀ W + σ² I, which is σ² times the posterior's precision."""
    return loadings.T @ loadings + jnp.square(noise_scale) * jnp.eye(loadings.shape[1], dtype=loadings.dtype)
