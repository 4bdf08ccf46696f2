"""Missing pixels, filled in by the model."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.latent.space import likelihood_near
from jaxvae.loops import scan
from jaxvae.model import VAE
from jaxvae.types import Array, Key, Params


class Imputations(NamedTuple):
    """The rounds of a chain, each a whole example in which the observed pixels are as they were given."""

    samples: Array  # [T, *event] the chain's states: missing pixels drawn from p(x|z)
    means: Array  # [T, *event] missing pixels at the mean of p(x|z): their average over rounds is the smoother guess


def pseudo_gibbs(model: VAE, key: Key, params: Params, x: Array, observed: Array, *, num_rounds: int) -> Imputations:
    """Missing pixels by pseudo-Gibbs sampling: a code for the whole, new missing pixels for the code, and so on.

    z ~ q(z|x),    x_missing ~ p(x|z),    x_observed as it is

    With the exact posterior it is a Gibbs sampler of p(x_missing, z | x_observed), whose draws are right in the long
    run. With a trained one it is not quite, and the encoder has to make sense of what lies in the missing pixels at the
    start, which is no datum: give it one that is near the data, the mean image for instance.

    Args:
        model: any model with a posterior.
        key: split into one key for each round.
        params: the model's parameters.
        x: [*event] one example; what its missing pixels hold is the start of the chain.
        observed: [*event] booleans, true where x is known.
        num_rounds: T.

    Returns:
        All rounds, in order.

    Raises:
        ValueError: `num_rounds` is less than one, or the two shapes differ.

    Example:
        >>> from jaxvae.models import linear
        >>> params = linear.parameters(jnp.array([[2.0], [2.0]]), jnp.zeros(2), jnp.asarray(0.1))
        >>> x, observed = jnp.array([4.0, 0.0]), jnp.array([True, False])
        >>> rounds = pseudo_gibbs(linear.linear_vae(latent=1), jax.random.key(0), params, x, observed, num_rounds=50)
        >>> bool(jnp.all(rounds.samples[:, 0] == 4)), bool(abs(rounds.samples[-1, 1] - 4) < 1)
        (True, True)

    Source: Rezende, Mohamed & Wierstra, "Stochastic Backpropagation" (2014), appendix F; for what an inexact posterior
    does to it and a Metropolis step that mends it, Mattei & Frellsen, "Leveraging the Exact Likelihood" (2018).
    """
    if num_rounds < 1:
        raise ValueError(f"num_rounds={num_rounds} must be at least one")
    if x.shape != observed.shape:
        raise ValueError(f"each pixel is observed or not: observed {observed.shape} must have the shape of x {x.shape}")

    def one_round(current: Array, key: Key) -> tuple[Array, tuple[Array, Array]]:
        key_z, key_x = jax.random.split(key)
        likelihood = likelihood_near(model, key_z, params, current)
        filled = jnp.where(observed, x, likelihood.sample(key_x).astype(x.dtype))
        return filled, (filled, jnp.where(observed, x, likelihood.expectation().astype(x.dtype)))

    _, (samples, means) = scan(one_round, x, jax.random.split(key, num_rounds))
    return Imputations(samples, means)
