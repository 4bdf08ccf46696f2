"""The table of a vector-quantised model: which vector is nearest, and how the table follows the encodings.

It is not learned by gradients: each vector is a moving average of the encodings that took it.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.distributions import check_event
from jaxvae.types import Array, Key, Shape


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
        check_event(self, value, self.encoding.shape)
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
        check_event(self, value, (*self.positions, self.vectors.shape[1]))
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


def revived(codebook: Codebook, least: float) -> Codebook:
    """The table after dead codes took what was offered to them.

    Args:
        codebook: before.
        least: a code is dead where its share is under this part of the equal share 1/K.

    Returns:
        The table, in which a code that was revived has the equal share.
    """
    equal = 1 / len(codebook.usage)
    taken = (codebook.usage < least * equal) & (codebook.offers > 0)
    usage = jnp.where(taken, equal, codebook.usage)
    offered = equal * codebook.offered / jnp.where(codebook.offers > 0, codebook.offers, 1)[:, None]
    return codebook._replace(usage=usage, sums=jnp.where(taken[:, None], offered, codebook.sums))


def averaged(codebook: Codebook, encodings: Array, codes: Array, keys: Key, *, decay: float, places: int) -> Codebook:
    """The moving averages after a batch.

    N_k ← γ N_k + (1 - γ) n_k,    m_k ← γ m_k + (1 - γ) s_k

    with n_k the share of the batch's positions that take code k, and s_k the mean over positions of what those encode.

    Args:
        codebook: before.
        encodings: [B, *positions, D] of the batch.
        codes: [B, *positions] that they took.
        keys: [B] one for each example, which draws what it offers and to which place.
        decay: γ.
        places: at least K, of which the first K are the codes.

    Returns:
        The averages, and what this batch offers to each code.

    Source: van den Oord et al. (2017), Appendix A.1.
    """
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
