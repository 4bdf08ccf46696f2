"""Semi-amortised inference: the encoder's posterior is where a few steps of gradient ascent on the bound begin.

λ_0 = encoder(x),    λ_{k+1} = λ_k + η ∇_λ L(λ_k; x)

The gradient for the encoder and the decoder goes through the steps.
Source: Kim, Wiseman, Miller, Sontag & Rush, "Semi-Amortized Variational Autoencoders" (2018).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvae.distributions import closed_kl, sample_and_log_prob
from jaxvae.draws import Draw, pathwise
from jaxvae.loops import scan
from jaxvae.model import VAE, Terms, terms_of
from jaxvae.types import Array, Distribution, Key, Params


def semi_amortised(
    model: VAE,
    *,
    num_steps: int = 20,
    step_size: float = 0.1,
    num_samples: int = 1,
    key: Key | None = None,
    draw: Callable[[Key, Distribution], Draw] = pathwise,
) -> VAE:
    """A model whose posterior is the given one's after some steps of ascent on its own parameters, for each x.

    Every array of the posterior (a mean and a log scale, say) is moved along the gradient of the bound, whose length is
    brought to at most five. The bounds of the result are those of the refined posterior. All that is random in the
    steps comes from `key`, so that q(z|x) is a function of x: it is refined once, however many draws are taken from it,
    and every call sees the same.

    Args:
        model: with a posterior of unconstrained arrays whose draws have a gradient.
        num_steps: of ascent.
        step_size: η.
        num_samples: draws in each step's bound; they are new at every step, and the KL is closed where it is known.
        key: for these draws; `jax.random.key(0)` if None.
        draw: the gradient estimator for the refined posterior, one of `jaxvae.draws`.

    Returns:
        The model, with the given one's params.

    Raises:
        ValueError: `num_steps` or `num_samples` is less than one, or the step size is not positive.

    Example:
        >>> from jaxvae import elbo
        >>> from jaxvae.models import linear
        >>> model = linear.linear_vae(latent=2)
        >>> params, x = model.init(jax.random.key(0), jnp.zeros(3)), jnp.ones(3)
        >>> start = elbo(model, jax.random.key(1), params, x, num_samples=100)
        >>> refined = elbo(semi_amortised(model), jax.random.key(1), params, x, num_samples=100)
        >>> bool(refined > start)
        True

    Source: Kim et al. (2018), algorithm 1.
    """
    if num_steps < 1 or num_samples < 1:
        raise ValueError(f"num_steps={num_steps} and num_samples={num_samples} must both be at least one")
    if not step_size > 0:
        raise ValueError(f"step_size={step_size} must be positive: it multiplies the gradient of the bound, in nats")

    def posterior_of(params: Params, x: Array) -> Distribution:
        prior = model.prior(params)

        def bound(posterior: Distribution, key: Key) -> Array:
            def of_draw(key: Key) -> Array:
                z, log_density = sample_and_log_prob(posterior, key)
                closed = closed_kl(posterior, prior)
                divergence = log_density - prior.log_prob(z) if closed is None else closed
                return model.likelihood(params, z).log_prob(x) - divergence

            return jnp.mean(jax.vmap(of_draw)(jax.random.split(key, num_samples)))

        def step(posterior: Distribution, key: Key) -> tuple[Distribution, None]:
            gradient = jax.grad(bound)(posterior, key)
            square = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient))
            scale = step_size * jnp.minimum(1, 5 / jnp.sqrt(square + 1e-12))
            return jax.tree.map(lambda value, slope: value + scale * slope, posterior, gradient), None

        keys = jax.random.split(jax.random.key(0) if key is None else key, num_steps)
        return scan(step, model.posterior(params, x), keys)[0]

    def terms(key: Key, params: Params, x: Array) -> Terms:
        drawn = draw(key, posterior_of(params, x))
        return terms_of(drawn, model.prior(params), model.likelihood(params, drawn.value), x)

    return model._replace(posterior=posterior_of, terms=terms)
