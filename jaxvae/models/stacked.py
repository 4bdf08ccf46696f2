"""A model of another model's codes as the prior of that model, both trained by one bound.

p(h) p(z|h) p(x|z),    q(z|x) q(h|z)

Of a plain VAE (M1) and of one with few labels (M2), M1+M2 as one model: Kingma et al. (2014) train the second on what
the first has learned, and say in section 2.3 that both could be trained together.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.draws import pathwise
from jaxvae.losses import Loss, Metrics
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Distribution, Key, Params


def stacked(first: VAE, second: VAE) -> VAE:
    """Two models as one, in which the second is the prior of the first one's code z.

    ln w = ln p(x|z) - ln q(z|x) + ln w_2(z),    z ~ q(z|x)

    with ln w_2 the log weight of the second model, of z and of its latent variable h: unbiased as both of its parts
    are. `elbo` is E_q(z|x)[ln p(x|z) - ln q(z|x) + the second one's elbo of z].

    Args:
        first: of x. Its own prior has no part in this.
        second: of (z, what else an example has), a `labelled_vae` for instance; its decoder gives a density of z.

    Returns:
        The model of examples (x, what else the example has). Params are {"first": those of the first, "second": those
        of the second}. Its latent variable is h: `posterior` is q(h|z), and `likelihood` p(x|z), each at the mean of
        z; `terms`, and so every bound, and `sample` draw z. `kl` has the entry E[ln q(z|x) - ln p(z|h)], then those of
        the second.

    Example:
        >>> from jaxvae import elbo, networks, standard_normal, vae
        >>> from jaxvae.distributions import Bernoulli, Normal
        >>> from jaxvae.models import labelled_vae, reading_both
        >>> first = vae(
        ...     encoder=networks.mlp((8,), Normal.parameters((4,))),
        ...     decoder=networks.mlp((8,), Bernoulli.parameters((3, 3, 1))),
        ...     prior=standard_normal((4,)),
        ... )
        >>> second = labelled_vae(
        ...     classes=10,
        ...     classifier=networks.mlp((8,), {"logits": (10,)}),
        ...     encoder=reading_both(networks.mlp((8,), Normal.parameters((2,)))),
        ...     decoder=reading_both(networks.mlp((8,), Normal.parameters((4,)))),
        ...     prior=standard_normal((2,)),
        ...     likelihood=Normal,
        ... )
        >>> model, example = stacked(first, second), (jnp.ones((3, 3, 1)), jnp.array(-1))
        >>> params = model.init(jax.random.key(0), example)
        >>> elbo(model, jax.random.key(1), params, example).shape
        ()

    Source: Kingma et al., "Semi-supervised Learning with Deep Generative Models" (2014), sections 2.1 and 2.3.
    """

    def mean_code(params: Params, x: Array) -> Array:
        return first.posterior(params["first"], x).expectation()

    def init(key: Key, example: tuple[Array, Any]) -> Params:
        key_first, key_second = jax.random.split(key)
        x, rest = example
        params = {"first": first.init(key_first, x)}
        return params | {"second": second.init(key_second, (mean_code(params, x), rest))}

    def prior_of(params: Params) -> Distribution:
        return second.prior(params["second"])

    def posterior_of(params: Params, example: tuple[Array, Any]) -> Distribution:
        x, rest = example
        return second.posterior(params["second"], (mean_code(params, x), rest))

    def likelihood_of(params: Params, latent: Any) -> Distribution:
        return first.likelihood(params["first"], second.likelihood(params["second"], latent).expectation())

    def terms(key: Key, params: Params, example: tuple[Array, Any]) -> Terms:
        key_z, key_second = jax.random.split(key)
        x, rest = example
        z = pathwise(key_z, first.posterior(params["first"], x))
        above = second.terms(key_second, params["second"], (z.value, rest))
        log_likelihood = first.likelihood(params["first"], z.value).log_prob(x)
        kl = jnp.concatenate([(z.log_density - above.log_likelihood)[None], above.kl])
        weight = None if above.log_weight is None else log_likelihood - z.log_density + above.log_weight
        return Terms(log_likelihood, kl, weight, above.feedback, above.score)

    def sample(key: Key, params: Params) -> Array:
        key_z, key_x = jax.random.split(key)
        return first.likelihood(params["first"], second.sample(key_z, params["second"])).sample(key_x)

    return VAE(init, prior_of, posterior_of, likelihood_of, terms, sample)


def held(loss: Loss, part: str, steps: int) -> Loss:
    """A loss that leaves one part of the params as it is for the first steps, for a new model on a trained one.

    Args:
        loss: any.
        part: the name of the part, "first" of `stacked`.
        steps: how many.

    Returns:
        The loss, whose gradient of that part is zero in those steps.
    """

    def of_batch(keys: Key, params: Params, extra: Any, xs: Any, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        def of_leaf(leaf: Array) -> Array:
            return jnp.where(step < steps, jax.lax.stop_gradient(leaf), leaf)

        return loss(keys, params | {part: jax.tree.map(of_leaf, params[part])}, extra, xs, step)

    return of_batch
