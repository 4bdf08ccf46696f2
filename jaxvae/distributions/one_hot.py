"""Classes as one-hot vectors: discrete latents that a decoder can multiply, and their relaxation."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, one_hot
from jax.scipy.special import gammaln, logsumexp

from jaxvae.distributions.event import check_event
from jaxvae.distributions.scale import held
from jaxvae.types import Array, Key, Shape


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OneHot:
    """Independent classes by their logits, each event a one-hot vector.

    log p(z) = Σ z · ln softmax(l)

    Args:
        logits: [*event, K] l, unbounded; -inf for a class that cannot be.

    Example:
        >>> round(float(OneHot(jnp.zeros((2, 10))).log_prob(jnp.eye(10)[:2])), 4)  # -2 ln 10
        -4.6052
    """

    logits: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for one-hot events [*event, K] of this shape."""
        return {"logits": shape}

    def sample(self, key: Key) -> Array:
        """One draw, [*event, K], of zeros and ones."""
        return self.relaxed(key, 1.0)[0]

    def relaxed(self, key: Key, temperature: float) -> tuple[Array, Array]:
        """A draw, and the point of the simplex that it is the corner nearest to: [*event, K] each.

        Source: Jang, Gu & Poole (2017), equations 1 and 2.
        """
        perturbed = self.logits + jax.random.gumbel(key, self.logits.shape, self.logits.dtype)
        hard = one_hot(jnp.argmax(perturbed, axis=-1), self.logits.shape[-1], dtype=self.logits.dtype)
        return hard, jax.nn.softmax(perturbed / temperature)

    def log_prob(self, value: Array) -> Array:
        """The log probability of an event [*event, K]: [], in nats."""
        check_event(self, value, self.logits.shape)
        log_probabilities = log_softmax(self.logits)
        impossible = (log_probabilities == -jnp.inf) & (value == 0)  # 0 ln 0 = 0
        return jnp.sum(value * jnp.where(impossible, 0, log_probabilities))

    def expectation(self) -> Array:
        """The probabilities, [*event, K]."""
        return jax.nn.softmax(self.logits)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Concrete:
    """Relaxed one-hot vectors, a density over the logarithms of the points of a simplex.

    log p(y) = Σ [ln (K-1)! + (K-1) ln τ + Σ_k (l_k - τ y_k) - K ln Σ_k exp(l_k - τ y_k)],    y = ln z,  Σ_k z_k = 1

    A decoder takes exp(y). As posterior and prior it makes a model of continuous latents, whose bound is exact for that
    model and not for the discrete one.

    Args:
        logits: [*event, K] l, unbounded.
        log_temperature: [] ln τ, `held` between -16 and 16.

    Source: Maddison, Mnih & Teh, "The Concrete Distribution" (2017), appendix C.3, the density in log space.
    """

    logits: Array
    log_temperature: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for events [*event, K] of this shape."""
        return {"logits": shape, "log_temperature": ()}

    def sample(self, key: Key) -> Array:
        """One draw of y, [*event, K], reparameterised."""
        perturbed = self.logits + jax.random.gumbel(key, self.logits.shape, self.logits.dtype)
        return log_softmax(perturbed * jnp.exp(-held(self.log_temperature)))

    def log_prob(self, value: Array) -> Array:
        """The log density of y [*event, K], with respect to its first K - 1 entries' simplex: [], in nats."""
        check_event(self, value, self.logits.shape)
        classes = self.logits.shape[-1]
        log_temperature = held(self.log_temperature)
        scores = self.logits - jnp.exp(log_temperature) * value
        constant = gammaln(jnp.asarray(classes, scores.dtype)) + (classes - 1) * log_temperature
        return jnp.sum(constant + jnp.sum(scores, axis=-1) - classes * logsumexp(scores, axis=-1))

    def expectation(self) -> Array:
        """The logarithms of the probabilities of the corners, [*event, K]: where the draws lie about."""
        return log_softmax(self.logits)
