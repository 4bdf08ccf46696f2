"""The doubly reparameterised gradient for the prior's parameters as well as the encoder's."""

import jax
import jax.numpy as jnp

from jaxvae.distributions import Frozen, Normal, held
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Key, Params


def generalized_doubly_reparameterized(model: VAE) -> VAE:
    """The model with the generalised doubly reparameterised gradient of `iwae_bound`.

    ∇_θ L_k of the prior = E[Σ_i (w̃_i ∂ln p(x|z_i)/∂z_i - w̃_i² ∂ln w_i/∂z_i) ∂T(ε_i; θ)/∂θ],    z_i = T(ε_i; θ)

    T is the prior's own path: the noise ε_i is the one that the prior would have made z_i of. The encoder's gradient is
    that of `jaxvae.doubly_reparameterized`, the decoder's the usual one. Where the prior has no parameters, the two
    estimators are the same.

    Args:
        model: a `jaxvae.vae` with a Gaussian posterior and a Gaussian prior, such as `jaxvae.priors.learned_normal`.

    Returns:
        The model with other `terms`. `iwae_bound` alone can use it; `elbo` refuses it.

    Raises:
        ValueError: when terms are drawn, and the prior is no Gaussian: it has no path that is known here.

    Source: Bauer & Mnih, "Generalized Doubly Reparameterized Gradient Estimators" (2021), equations 7 and 11.
    """

    def terms(key: Key, params: Params, x: Array) -> Terms:
        posterior, prior = model.posterior(params, x), model.prior(params)
        if not isinstance(prior, Normal):
            raise ValueError(
                f"the generalised estimator needs the path of a Gaussian prior, not of a {type(prior).__name__}: take "
                "draw=doubly_reparameterized"
            )
        drawn = posterior.sample(key)
        scale = jnp.exp(jnp.broadcast_to(held(prior.log_scale), prior.mean.shape))
        noise = jax.lax.stop_gradient((drawn - prior.mean) / scale)
        of_prior = prior.mean + scale * noise  # T(ε; θ), equal to the draw
        z, feedback = _gate(drawn, of_prior)
        log_likelihood = model.likelihood(params, z + (of_prior - jax.lax.stop_gradient(of_prior))).log_prob(x)
        log_ratio = Frozen(prior).log_prob(z) - Frozen(posterior).log_prob(z)
        return Terms(log_likelihood, -log_ratio[None], log_likelihood + log_ratio, feedback)

    return model._replace(terms=terms)


@jax.custom_vjp
def _gate(drawn: Array, of_prior: Array) -> tuple[Array, Array]:
    # A zero that depends on the value, as in `jaxvae.draws`.
    return drawn, 0 * jnp.sum(drawn)


def _gate_forward(drawn: Array, of_prior: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    return _gate(drawn, of_prior), (drawn, of_prior)


def _gate_backward(kept: tuple[Array, Array], cotangents: tuple[Array, Array]) -> tuple[Array, Array]:
    drawn, of_prior = kept  # whose types may differ
    of_weight, normalised_weight = cotangents  # w̃ ∂ln w/∂z, and w̃
    along = normalised_weight * of_weight
    return along.astype(drawn.dtype), -along.astype(of_prior.dtype)


_gate.defvjp(_gate_forward, _gate_backward)
