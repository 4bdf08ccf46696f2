"""Models of one thing given another: p(x|c) with a latent variable between.

A condition is anything that the networks can read: a class, or the visible part of an image. An example is whole, the
target and its condition together, and `split` takes it apart; so all that trains and evaluates a VAE serves here too.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.distributions import Bernoulli, Delta, Normal
from jaxvae.draws import Draw, pathwise
from jaxvae.model import VAE, Terms, terms_of
from jaxvae.models.given import ConditionalPrior, Conditioned, Given
from jaxvae.types import Array, Distribution, Key, Network, Params, Shape


def the_same_for_all(shape: Shape) -> Network:
    """A prior network that does not look at its condition: p(z|c) = N(0, I).

    Args:
        shape: of z.

    Returns:
        condition -> {"mean", "log_scale"}, without parameters.
    """
    standard = {"mean": jnp.zeros(shape), "log_scale": jnp.zeros(shape)}
    return Network(lambda key, condition: {}, lambda params, condition: standard)


def conditional_vae(
    *,
    split: Callable[[Any], tuple[Array, Any]],
    encoder: Network,
    decoder: Network,
    prior: Network,
    posterior: Callable[..., Distribution] = Normal,
    likelihood: Callable[..., Distribution] = Bernoulli,
    draw: Callable[[Key, Distribution], Draw] = pathwise,
    condition: Callable[[Key], Any] | None = None,
) -> VAE:
    """The conditional variational auto-encoder, p(z|c) p(x|z, c) with the posterior q(z|x, c).

    ln p(x|c)  ≥  E_q[ln p(x|z, c)] - KL(q(z|x, c) || p(z|c)),    ln w = ln p(x|z, c) + ln p(z|c) - ln q(z|x, c)

    Args:
        split: an example -> (the target x, the condition c).
        encoder: (x, c) -> named outputs, which become q(z|x, c) by `posterior(**outputs)`.
        decoder: (z, c) -> named outputs, which become p(x|z, c) by `likelihood(**outputs)`.
        prior: c -> named outputs of a Gaussian p(z|c); `the_same_for_all` for a standard one.
        posterior: named outputs -> q(z|x, c).
        likelihood: named outputs -> p(x|z, c).
        draw: the gradient estimator, one of `jaxvae.draws`.
        condition: key -> a condition, for draws from the prior where nobody gives one; no term depends on it.

    Returns:
        The model of whole examples, whose bounds are on ln p(x|c). Its latent variable is `Given(z, c)`, so that
        `likelihood` is a function of it as in every model; `given` is the model at one condition.

    Example:
        >>> from jaxvae import elbo, networks
        >>> latent, both = (2,), lambda network: reading_both(network)
        >>> model = conditional_vae(
        ...     split=lambda example: example,
        ...     encoder=both(networks.mlp((8,), Normal.parameters(latent))),
        ...     decoder=both(networks.mlp((8,), Bernoulli.parameters((3, 3, 1)))),
        ...     prior=the_same_for_all(latent),
        ... )
        >>> image, kind = jnp.ones((3, 3, 1)), jax.nn.one_hot(7, 10)
        >>> params = model.init(jax.random.key(0), (image, kind))
        >>> elbo(model, jax.random.key(1), params, (image, kind)).shape
        ()
        >>> given(model, kind).sample(jax.random.key(2), params).shape
        (3, 3, 1)

    Source: Sohn, Lee & Yan, "Learning Structured Output Representation using Deep Conditional Generative Models"
    (2015), equation 4; Kingma et al., "Semi-supervised Learning with Deep Generative Models" (2014), for classes.
    """

    def init(key: Key, example: Any) -> Params:
        key_prior, key_encoder, key_decoder = jax.random.split(key, 3)
        x, c = split(example)
        encoder_params = encoder.init(key_encoder, x, c)
        z = posterior(**encoder.apply(encoder_params, x, c)).expectation()
        return {
            "prior": prior.init(key_prior, c),
            "encoder": encoder_params,
            "decoder": decoder.init(key_decoder, z, c),
        }

    def prior_at(params: Params, c: Any) -> Distribution:
        return Normal(**prior.apply(params, c))

    def prior_of(params: Params) -> ConditionalPrior:
        return ConditionalPrior(params["prior"], prior_at, condition)

    def posterior_of(params: Params, example: Any) -> Conditioned:
        x, c = split(example)
        return Conditioned(posterior(**encoder.apply(params["encoder"], x, c)), c)

    def likelihood_of(params: Params, latent: Given) -> Distribution:
        return likelihood(**decoder.apply(params["decoder"], latent.z, latent.condition))

    def terms(key: Key, params: Params, example: Any) -> Terms:
        x, c = split(example)
        drawn = draw(key, posterior_of(params, example).latent)
        return terms_of(drawn, prior_of(params).given(c), likelihood_of(params, Given(drawn.value, c)), x)

    def sample(key: Key, params: Params) -> Array:
        key_z, key_x = jax.random.split(key)
        return likelihood_of(params, prior_of(params).sample(key_z)).sample(key_x)

    return VAE(init, prior_of, posterior_of, likelihood_of, terms, sample)


def given(model: VAE, condition: Any) -> VAE:
    """A conditional model at one condition: a VAE whose latent variable is z alone.

    Args:
        model: made by `conditional_vae` or `regression`.
        condition: c.

    Returns:
        The model, whose `posterior` and `terms` still take whole examples, of this condition.
    """

    def prior(params: Params) -> Distribution:
        return model.prior(params).given(condition)  # type: ignore[attr-defined]

    def posterior(params: Params, example: Any) -> Distribution:
        return model.posterior(params, example).latent  # type: ignore[attr-defined]

    def likelihood(params: Params, z: Array) -> Distribution:
        return model.likelihood(params, Given(z, condition))

    def sample(key: Key, params: Params) -> Array:
        key_z, key_x = jax.random.split(key)
        return likelihood(params, prior(params).sample(key_z)).sample(key_x)

    return VAE(model.init, prior, posterior, likelihood, model.terms, sample)


def regression(
    *,
    split: Callable[[Any], tuple[Array, Any]],
    prior: Network,
    decoder: Network,
    likelihood: Callable[..., Distribution] = Bernoulli,
) -> VAE:
    """The same networks without a latent variable: z is the mean of p(z|c), and p(x|c) = p(x|z(c), c).

    It is the baseline of structured prediction: every pixel is predicted well, and all of them independently.

    Args:
        split: an example -> (x, c).
        prior: c -> {"mean": z}; other outputs are not used.
        decoder: (z, c) -> named outputs, which become p(x|z, c).
        likelihood: named outputs -> p(x|z, c).

    Returns:
        A model whose divergence is zero and whose `log_weight` is ln p(x|c) itself: every bound on it is exact.

    Source: the baseline network of Sohn, Lee & Yan (2015), section 5.
    """
    model = conditional_vae(
        split=split,
        encoder=Network(lambda key, x, c: {}, lambda params, x, c: {}),
        decoder=decoder,
        prior=prior,
        likelihood=likelihood,
    )

    def init(key: Key, example: Any) -> Params:
        key_prior, key_decoder = jax.random.split(key)
        _, c = split(example)
        prior_params = prior.init(key_prior, c)
        decoder_params = decoder.init(key_decoder, prior.apply(prior_params, c)["mean"], c)
        return {"prior": prior_params, "decoder": decoder_params}

    def point(params: Params, c: Any) -> Distribution:
        return Delta(prior.apply(params, c)["mean"])

    def prior_of(params: Params) -> ConditionalPrior:
        return ConditionalPrior(params["prior"], point)

    def posterior(params: Params, example: Any) -> Conditioned:
        _, c = split(example)
        return Conditioned(prior_of(params).given(c), c)

    def terms(key: Key, params: Params, example: Any) -> Terms:
        x, _ = split(example)
        log_likelihood = model.likelihood(params, posterior(params, example).expectation()).log_prob(x)
        return Terms(log_likelihood, jnp.zeros((1,), log_likelihood.dtype), log_likelihood)

    def sample(key: Key, params: Params) -> Array:
        return model.likelihood(params, prior_of(params).sample(key)).sample(key)

    return VAE(init, prior_of, posterior, model.likelihood, terms, sample)


def reading_both(network: Network) -> Network:
    """A network of one input that reads two: both flattened, end to end.

    Args:
        network: that flattens what it reads, `networks.mlp` or a decoder of `networks`.

    Returns:
        (first, second) -> its outputs.
    """

    def both(first: Array, second: Array) -> Array:
        return jnp.concatenate([first.reshape(-1), second.reshape(-1)])

    return Network(
        lambda key, first, second: network.init(key, both(first, second)),
        lambda params, first, second: network.apply(params, both(first, second)),
    )


def with_planes(encoder: Network) -> Network:
    """A convolutional encoder that reads a vector too, as planes of the image, each of one number.

    Args:
        encoder: of an image [H, W, C + D].

    Returns:
        The encoder of an image [H, W, C] and a vector [D].
    """

    def both(image: Array, vector: Array) -> Array:
        planes = jnp.broadcast_to(vector[None, None], (*image.shape[:2], len(vector)))
        return jnp.concatenate([image, planes], axis=-1)

    return Network(
        lambda key, image, vector: encoder.init(key, both(image, vector)),
        lambda params, image, vector: encoder.apply(params, both(image, vector)),
    )
