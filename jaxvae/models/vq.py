"""Codes from a finite table: an image becomes a small image of code numbers, each the vector nearest to an encoding.

The table is a moving average of encodings (`jaxvae.models`). It is kept in the `extra` of a training state, and
`whole` puts it among the params that are evaluated.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.distributions import Bernoulli
from jaxvae.losses import Loss, Metrics
from jaxvae.model import VAE, Terms
from jaxvae.models.codebook import Codebook, Nearest, UniformCodes, averaged, perplexity, revived
from jaxvae.types import Array, Distribution, Key, Network, Params, Shape


def straight_through(encoding: Array, vectors: Array) -> Array:
    """The vectors, with the gradient of the encoding: what the decoder asks of them is asked of the encoder.

    Args:
        encoding: [*positions, D].
        vectors: [*positions, D] that stand in its place.

    Returns:
        [*positions, D].

    Source: van den Oord et al. (2017), section 3.2; Bengio, Léonard & Courville (2013) for the estimator.
    """
    return encoding + jax.lax.stop_gradient(vectors - encoding)


def vq_vae(
    *,
    encoder: Network,
    decoder: Network,
    positions: Shape,
    num_codes: int,
    likelihood: Callable[..., Distribution] = Bernoulli,
) -> VAE:
    """The vector-quantised auto-encoder, with a uniform prior over its codes.

    ln p(x)  ≥  ln p(x|z) + ln p(z),    z = nearest(encoder(x)),    ln p(z) = -positions ln K

    That is an honest bound, the length of a code for x: first the numbers of its vectors, then x given them. A prior
    that is learned afterwards raises it by what it saves on the first part.

    Args:
        encoder: x -> {"encoding": [*positions, D]}.
        decoder: vectors [*positions, D] -> named outputs, which become p(x|z) by `likelihood(**outputs)`.
        positions: the shape of the image of codes.
        num_codes: K.
        likelihood: named outputs -> p(x|z).

    Returns:
        The model. Its params are a dict with the entries "encoder", "decoder" and "codebook" [K, D]; no gradient
        reaches the last: train it by `negative_bound` of this file, not of `jaxvae.training`. Its `log_weight` is None,
        since a posterior of one point is no proposal for importance sampling.

    Source: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning" (2017).
    """

    def init(key: Key, x: Array) -> Params:
        key_encoder, key_decoder, key_codebook = jax.random.split(key, 3)
        encoder_params = encoder.init(key_encoder, x)
        encoding = encoder.apply(encoder_params, x)["encoding"]
        return {
            "encoder": encoder_params,
            "decoder": decoder.init(key_decoder, encoding),
            "codebook": jax.random.normal(key_codebook, (num_codes, encoding.shape[-1]), encoding.dtype),
        }

    def prior(params: Params) -> UniformCodes:
        return UniformCodes(params["codebook"], positions)

    def posterior(params: Params, x: Array) -> Nearest:
        return Nearest(encoder.apply(params["encoder"], x)["encoding"], params["codebook"])

    def likelihood_of(params: Params, z: Array) -> Distribution:
        return likelihood(**decoder.apply(params["decoder"], z))

    def terms(key: Key, params: Params, x: Array) -> Terms:
        q = posterior(params, x)
        z = straight_through(q.encoding, q.expectation())
        log_likelihood = likelihood_of(params, z).log_prob(x)
        return Terms(log_likelihood, -prior(params).log_prob(z)[None], None)

    def sample(key: Key, params: Params) -> Array:
        key_z, key_x = jax.random.split(key)
        return likelihood_of(params, prior(params).sample(key_z)).sample(key_x)

    return VAE(init, prior, posterior, likelihood_of, terms, sample)


def parted(params: Params) -> tuple[Params, Codebook]:
    """A new model's params as training has them: what gradients move, and the table.

    Args:
        params: of `vq_vae`.

    Returns:
        The params without "codebook", and a table in which every code is unused: the first encodings that are offered
        take the places of its random vectors.
    """
    vectors = params["codebook"]
    usage = jnp.full(len(vectors), 1e-6, vectors.dtype)
    nothing = jnp.zeros_like(vectors)
    rest = {name: value for name, value in params.items() if name != "codebook"}
    return rest, Codebook(usage, usage[:, None] * vectors, nothing[:, 0], nothing)


def whole(params: Params, codebook: Codebook) -> Params:
    """The params of `vq_vae`, put together again.

    Args:
        params: without "codebook".
        codebook: its moving averages.

    Returns:
        The params with "codebook": [K, D], or [S, K, D] for several seeds.
    """
    return {**params, "codebook": codebook.sums / codebook.usage[..., None]}


def negative_bound(
    model: VAE,
    *,
    commitment: float = 0.25,
    decay: float = 0.99,
    least: float = 0.03,
    places: int = 1024,
) -> Loss:
    """The loss of a vector-quantised auto-encoder, whose `extra` is its `Codebook`.

    -ln p(x|z) + β Σ |e(x) - sg z|²,    N_k ← γ N_k + (1 - γ) n_k,    m_k ← γ m_k + (1 - γ) s_k,    v_k = m_k / N_k

    with n_k the share of the batch's positions that take code k, and s_k the mean over positions of what those encode.

    The averages are linear in the batch, so the mean of them over devices or parts of a batch is that of the whole
    batch. A code that hardly anything takes is dead, and the first encoding that is offered to it takes its place: each
    example offers one of its encodings, at a position and to a place among `places` that its own key draws; the first
    K places are the codes. What is offered to one code in one batch is averaged. So the codes that are revived, too, do
    not depend on how many devices share the batch.

    Args:
        model: made by `vq_vae`.
        commitment: β.
        decay: γ.
        least: a code is dead where its share is under this part of the equal share 1/K.
        places: at least K; with B examples in a batch, B / places encodings are offered to each code, on average.

    Returns:
        The loss. Its params are those without "codebook"; its metrics are "bound", "log_likelihood" and "kl" as for
        other models, "commitment" (without β) and "perplexity" of the moving usage.

    Source: van den Oord et al. (2017), equation 3 and Appendix A.1; Razavi, van den Oord & Vinyals (2019), section 2.1,
    for the moving averages in place of a loss for the table.
    """

    def objective(params: Params, x: Array) -> tuple[Array, Array, Array, Array]:
        q = model.posterior(params, x)
        assert isinstance(q, Nearest)
        log_likelihood = model.likelihood(params, straight_through(q.encoding, q.expectation())).log_prob(x)
        distance = jnp.sum(jnp.square(q.encoding - jax.lax.stop_gradient(q.expectation())))
        return log_likelihood, q.encoding, q.codes, distance

    def loss(keys: Key, params: Params, extra: Codebook, xs: Array, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        codebook = revived(extra, least)
        complete = whole(params, jax.lax.stop_gradient(codebook))
        log_likelihood, encodings, codes, distances = jax.vmap(objective, (None, 0))(complete, xs)
        updated = averaged(codebook, jax.lax.stop_gradient(encodings), codes, keys, decay=decay, places=places)
        rate = -model.prior(complete).log_prob(encodings[0])  # the same for all codes
        metrics = {
            "bound": jnp.mean(log_likelihood) - rate,
            "log_likelihood": jnp.mean(log_likelihood),
            "kl": rate,
            "commitment": jnp.mean(distances),
            "perplexity": perplexity(codebook.usage),
        }
        return commitment * jnp.mean(distances) - jnp.mean(log_likelihood), (updated, metrics)

    return loss
