"""Codes from a finite table: an image becomes a small image of code numbers, each the vector nearest to an encoding.

The table is not learned by gradients: each vector is a moving average of the encodings that took it. It is kept in the
`extra` of a training state, and `whole` puts it among the params that are evaluated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.distributions import Bernoulli
from jaxvae.losses import Loss, Metrics
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Distribution, Key, Network, Params, Shape


class Codebook(NamedTuple):
    """The moving averages that the table is made of; the axes of positions and examples are averaged out."""

    usage: Array  # [K]  the share of positions that take each code
    sums: Array  # [K, D]  what those positions encode, times that share
    offers: Array  # [K]  the share of the last batch's examples that offered an encoding to each code
    offered: Array  # [K, D]  what they offered, times that share


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Nearest:
    """q(z|x): all mass on the vectors of the table that lie nearest to what the encoder says.

    Args:
        encoding: [*positions, D] what it says.
        vectors: [K, D] the table.
    """

    encoding: Array
    vectors: Array

    @property
    def codes(self) -> Array:
        """The numbers of the nearest vectors, [*positions]."""
        return nearest(self.encoding, self.vectors)

    def sample(self, key: Key) -> Array:
        """The nearest vectors, [*positions, D]."""
        return self.expectation()

    def log_prob(self, value: Array) -> Array:
        """Zero at the nearest vectors, and -inf elsewhere: [], in nats."""
        return jnp.where(jnp.all(value == self.expectation()), 0.0, -jnp.inf)

    def expectation(self) -> Array:
        """The nearest vectors, [*positions, D]."""
        return self.vectors[self.codes]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UniformCodes:
    """p(z): every code at every position with the same probability, 1/K.

    Args:
        vectors: [K, D] the table.
        positions: the shape of the image of codes.
    """

    vectors: Array
    positions: Shape = field(metadata={"static": True})

    def sample(self, key: Key) -> Array:
        """Vectors of the table, [*positions, D]."""
        return self.vectors[jax.random.randint(key, self.positions, 0, len(self.vectors))]

    def log_prob(self, value: Array) -> Array:
        """- positions ln K, whatever vectors of the table they are: [], in nats."""
        return jnp.full((), -math.prod(self.positions) * math.log(len(self.vectors)), value.dtype)

    def expectation(self) -> Array:
        """The mean of the table at every position, [*positions, D]: no code."""
        return jnp.broadcast_to(jnp.mean(self.vectors, axis=0), (*self.positions, self.vectors.shape[1]))


def nearest(encoding: Array, vectors: Array) -> Array:
    """The number of the nearest vector of the table.

    argmin_k |e - v_k|²

    Args:
        encoding: [*positions, D] e.
        vectors: [K, D] v.

    Returns:
        [*positions] integers.

    Example:
        >>> nearest(jnp.array([[0.9, 0.0]]), jnp.array([[0.0, 0.0], [1.0, 0.0]]))
        Array([1], dtype=int32)
    """
    # |e - v|² less |e|², which is the same for all k
    length = jnp.sum(jnp.square(vectors), axis=1).reshape((1,) * (encoding.ndim - 1) + (-1,))
    return jnp.argmin(length - 2 * encoding @ vectors.T, axis=-1).astype(jnp.int32)


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


def perplexity(usage: Array) -> Array:
    """How many codes are in use, if all that are were used equally: exp of the entropy of their shares.

    Args:
        usage: [K] not negative.

    Returns:
        [] between 1 and K.

    Example:
        >>> round(float(perplexity(jnp.array([1.0, 1.0, 0.0]))), 4)
        2.0
    """
    share = usage / jnp.sum(usage)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(share, share)))


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
        codebook = _revived(extra, least)
        complete = whole(params, jax.lax.stop_gradient(codebook))
        log_likelihood, encodings, codes, distances = jax.vmap(objective, (None, 0))(complete, xs)
        updated = _averaged(codebook, jax.lax.stop_gradient(encodings), codes, keys, decay=decay, places=places)
        rate = -model.prior(complete).log_prob(complete["codebook"])
        metrics = {
            "bound": jnp.mean(log_likelihood) - rate,
            "log_likelihood": jnp.mean(log_likelihood),
            "kl": rate,
            "commitment": jnp.mean(distances),
            "perplexity": perplexity(codebook.usage),
        }
        return commitment * jnp.mean(distances) - jnp.mean(log_likelihood), (updated, metrics)

    return loss


def _revived(codebook: Codebook, least: float) -> Codebook:
    """The table after dead codes took what was offered to them."""
    equal = 1 / len(codebook.usage)
    taken = (codebook.usage < least * equal) & (codebook.offers > 0)
    usage = jnp.where(taken, equal, codebook.usage)
    offered = equal * codebook.offered / jnp.where(codebook.offers > 0, codebook.offers, 1)[:, None]
    return codebook._replace(usage=usage, sums=jnp.where(taken[:, None], offered, codebook.sums))


def _averaged(codebook: Codebook, encodings: Array, codes: Array, keys: Key, *, decay: float, places: int) -> Codebook:
    """The moving averages after encodings [B, *positions, D] took codes [B, *positions]."""
    num_codes, size = codebook.sums.shape
    encodings, codes = encodings.reshape(len(keys), -1, size), codes.reshape(len(keys), -1)

    def sums_of(values: Array, places: Array) -> Array:
        # A product, and no scatter: an accelerator's scatter adds in no fixed order, and a run has to repeat its bits.
        return jax.nn.one_hot(places, num_codes, dtype=values.dtype).T @ values / len(places)

    def offer(key: Key, encoded: Array) -> tuple[Array, Array]:
        key_place, key_position = jax.random.split(key)
        place = jax.random.randint(key_place, (), 0, max(places, num_codes))
        return place, encoded[jax.random.randint(key_position, (), 0, len(encoded))]

    ones = jnp.ones_like(encodings[..., 0])
    usage, sums = sums_of(ones.reshape(-1), codes.reshape(-1)), sums_of(encodings.reshape(-1, size), codes.reshape(-1))
    to, offered = jax.vmap(offer)(keys, encodings)
    return Codebook(
        decay * codebook.usage + (1 - decay) * usage,
        decay * codebook.sums + (1 - decay) * sums,
        sums_of(ones[:, 0], to),
        sums_of(offered, to),
    )
