"""Hamiltonian variational inference: a posterior's draw is moved by leapfrog steps along the model's own density.

(z_{t-1}, v_t) -> leapfrog -> (z_t, v'_t),    v_t ~ N(0, I) afresh for every move,    t = 1 ... T

The steps conserve volume, so the density of all that was drawn is q(z_0|x) Π N(v_t), and the model is extended by a
density r(v'_t|z_t, x) for each momentum that is left behind. The weight holds both momenta of every move.
Source: Salimans, Kingma & Welling, "Markov Chain Monte Carlo and Variational Inference: Bridging the Gap" (2015);
Caterini, Doucet & Sejdinovic, "Hamiltonian Variational Auto-Encoder" (2018), for one momentum and many steps.
"""

import jax
import jax.numpy as jnp

from jaxvae.distributions import Normal, sample_and_log_prob
from jaxvae.draws import leapfrog
from jaxvae.loops import scan
from jaxvae.model import VAE, Terms
from jaxvae.models.auxiliary import DrawnPosterior
from jaxvae.types import Array, Distribution, Key, Network, Params


def hamiltonian_vae(
    model: VAE,
    *,
    num_moves: int = 1,
    num_leapfrog: int = 5,
    step_size: float = 0.05,
    reverse: Network | None = None,
) -> VAE:
    """A model whose posterior is the given one's, moved by Hamiltonian dynamics along p(x, z).

    log w = ln p(x, z_T) - ln q(z_0|x) + Σ_t [ln r(v'_t|z_t, x) - ln N(v_t; 0, I)]

    To take the density of the last momentum for that of the first, too, leaves out what the dynamics gained, and the
    weights that come of it are optimistic.

    Args:
        model: with a differentiable likelihood and prior, and a posterior with a density. A VampPrior stays the mixture
            of these posteriors, before they are moved.
        num_moves: T, each with a fresh momentum; one is the Hamiltonian VAE of Caterini et al. without tempering.
        num_leapfrog: leapfrog steps in each move.
        step_size: where the step sizes start, one for each dimension; they are learned. Beyond the size at which the
            dynamics are stable the weights are zero or no number at all, so start small, and clip gradients.
        reverse: (x, z) -> {"mean", "log_scale"} [*latent] of r(v'|z, x), made by `jaxvae.models.reading_both`
            for instance; None for N(0, I).

    Returns:
        A model with the params "log_step_size" [*latent] and "reverse" beside the given one's. Its `kl` has two
        entries: z's and the momenta's. Its `posterior` can be drawn from, but has no density; its expectation is the
        given posterior's, moved without a momentum at the start.

    Raises:
        ValueError: `num_moves` or `num_leapfrog` is less than one, or the step size is not positive.

    Example:
        >>> from jaxvae import elbo
        >>> from jaxvae.models import linear
        >>> model = hamiltonian_vae(linear.linear_vae(latent=2))
        >>> params = model.init(jax.random.key(0), jnp.zeros(3))
        >>> elbo(model, jax.random.key(1), params, jnp.ones(3)).shape
        ()

    Source: Salimans et al. (2015), on Hamiltonian variational inference;
    Neal, "MCMC Using Hamiltonian Dynamics" (2011), for the dynamics.
    """
    if num_moves < 1 or num_leapfrog < 1:
        raise ValueError(f"num_moves={num_moves} and num_leapfrog={num_leapfrog} must both be at least one")
    if not step_size > 0:
        raise ValueError(f"step_size={step_size} must be positive: the unit is a standard deviation of z")

    def momentum_density(params: Params, z: Array, x: Array) -> Distribution:
        if reverse is None:
            return Normal(jnp.zeros_like(z), jnp.zeros_like(z))
        return Normal(**reverse.apply(params["reverse"], x, z))

    def moved(params: Params, x: Array, z: Array, momentum: Array) -> tuple[Array, Array]:
        def log_joint(z: Array) -> Array:
            return model.likelihood(params, z).log_prob(x) + model.prior(params).log_prob(z)

        step_sizes = jnp.exp(params["log_step_size"])
        return leapfrog(log_joint, z, momentum, step_size=step_sizes, num_leapfrog=num_leapfrog)

    def walk(params: Params, x: Array, z: Array, key: Key) -> tuple[Array, Array]:
        """Where z ends, and Σ [ln N(v) - ln r(v'|z, x)]."""

        def move(z: Array, key: Key) -> tuple[Array, Array]:
            start, log_start = sample_and_log_prob(Normal(jnp.zeros_like(z), jnp.zeros_like(z)), key)
            z, end = moved(params, x, z, start)
            return z, log_start - momentum_density(params, z, x).log_prob(end)

        z, log_ratios = scan(move, z, jax.random.split(key, num_moves))
        return z, jnp.sum(log_ratios)

    def draw(params: Params, x: Array, key: Key) -> Array:
        key_start, key_walk = jax.random.split(key)
        return walk(params, x, model.posterior(params, x).sample(key_start), key_walk)[0]

    def posterior_of(params: Params, x: Array) -> Distribution:
        centre = model.posterior(params, x).expectation()
        for _ in range(num_moves):
            centre, _ = moved(params, x, centre, jnp.zeros_like(centre))
        return DrawnPosterior(jax.tree_util.Partial(draw, params, x), centre)

    def init(key: Key, x: Array) -> Params:
        key_model, key_reverse = jax.random.split(key)
        params = model.init(key_model, x)
        z = model.posterior(params, x).expectation()
        params = params | {"log_step_size": jnp.full(z.shape, jnp.log(step_size), z.dtype)}
        return params if reverse is None else params | {"reverse": reverse.init(key_reverse, x, z)}

    def terms(key: Key, params: Params, x: Array) -> Terms:
        key_start, key_walk = jax.random.split(key)
        z, log_start = sample_and_log_prob(model.posterior(params, x), key_start)
        z, of_momenta = walk(params, x, z, key_walk)
        log_likelihood = model.likelihood(params, z).log_prob(x)
        of_position = log_start - model.prior(params).log_prob(z)
        kl = jnp.stack([of_position, of_momenta])
        return Terms(log_likelihood, kl, log_likelihood - of_position - of_momenta)

    return model._replace(init=init, posterior=posterior_of, terms=terms)
