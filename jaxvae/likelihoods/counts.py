"""Likelihoods of counts: of molecules in a cell, words in a document, items that a person has clicked."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, log_softmax, sigmoid, softmax
from jax.scipy.special import gammaln

from jaxvae.distributions import LARGEST_LOG, LOG_2PI, check_event, held, log_quotient, stirling_error
from jaxvae.types import Array, Distribution, Key, Shape

MOST = 1e9  # a draw's Poisson rate is cut off there: beyond it JAX's whole numbers end


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NegativeBinomial:
    """Independent counts 0, 1, ... with a variance above their mean, by the mean μ and the inverse dispersion θ.

    log p(x) = Σ [ln Γ(x+θ) - ln Γ(θ) - ln x! + θ ln θ/(θ+μ) + x ln μ/(θ+μ)],    var x = μ + μ²/θ

    As θ grows it becomes the Poisson distribution. It is scVI's parameterisation, whose "inverse dispersion" is this θ;
    where the number of molecules of a cell is known, its logarithm is added to `log_mean` by the decoder.

    Args:
        log_mean: [*event] ln μ, smoothly held between -40 and 40, and itself between -30 and 30.
        log_inverse_dispersion: [*event] or [] ln θ; outside of ±30 it counts as ±30.

    Example:
        >>> geometric = NegativeBinomial(jnp.zeros(1), jnp.zeros(1))  # μ = θ = 1: each further one has probability ½
        >>> round(float(jnp.exp(geometric.log_prob(jnp.array([2.0])))), 4)
        0.125

    Source: Lopez et al., "Deep generative modeling for single-cell transcriptomics" (2018), Methods; Loader, "Fast and
    Accurate Computation of Binomial Probabilities" (2000), for its evaluation.
    """

    log_mean: Array
    log_inverse_dispersion: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        return {"log_mean": shape, "log_inverse_dispersion": shape}

    def sample(self, key: Key) -> Array:
        """One draw of counts, [*event], of the mean's dtype: a Poisson draw whose rate is a Gamma draw."""
        key_rate, key_count = jax.random.split(key)
        log_theta = self._log_theta()
        log_rate = jax.random.loggamma(key_rate, jnp.exp(log_theta)) + self._log_mean() - log_theta
        rate = jnp.exp(jnp.minimum(log_rate, jnp.log(MOST)))
        return jax.random.poisson(key_count, rate).astype(self.log_mean.dtype)

    def log_prob(self, value: Array) -> Array:
        """The log probability of counts [*event]: [], in nats."""
        check_event(self, value, self.log_mean.shape)
        mean, theta = jnp.exp(self._log_mean()), jnp.exp(self._log_theta())
        zero = value == 0
        x = jnp.where(zero, jnp.ones_like(value), value)
        # Loader's saddle point: every Γ by Stirling's formula and what it leaves, and powers by quotients near one.
        errors = stirling_error(x + theta) - stirling_error(theta) - stirling_error(x)
        powers = theta * log_quotient(theta + mean, theta + x, mean - x)
        powers += x * log_quotient((theta + mean) * x, (theta + x) * mean, theta * (x - mean))
        of_x = errors - powers - 0.5 * (jnp.log1p(x / theta) + jnp.log(x) + LOG_2PI)
        return jnp.sum(jnp.where(zero, -theta * jnp.log1p(mean / theta), of_x))

    def expectation(self) -> Array:
        """The mean, [*event]."""
        return jnp.exp(self._log_mean())

    def _log_mean(self) -> Array:
        return held(self.log_mean, free=LARGEST_LOG, reach=LARGEST_LOG + 10)

    def _log_theta(self) -> Array:
        inside = jnp.clip(self.log_inverse_dispersion, -LARGEST_LOG, LARGEST_LOG)
        return jnp.broadcast_to(inside, self.log_mean.shape)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ZeroInflated:
    """Independent counts with more zeros than their distribution has: with probability π each is zero anyway.

    p(0) = π + (1-π) p₀(0),    p(x) = (1-π) p₀(x) for x > 0,    π = σ(g)

    Args:
        base: p₀, of independent dimensions: a `NegativeBinomial`, say. It is taken apart by `vmap`, so its fields have
            the shape of the event, or none.
        gate_logits: [*event] g.

    Example:
        >>> without = NegativeBinomial(jnp.zeros(1), jnp.zeros(1))
        >>> round(float(jnp.exp(ZeroInflated(without, jnp.zeros(1)).log_prob(jnp.zeros(1)))), 4)  # ½ + ½ · ½
        0.75

    Source: Lopez et al. (2018), Methods.
    """

    base: Distribution
    gate_logits: Array

    def sample(self, key: Key) -> Array:
        """One draw, [*event]."""
        key_gate, key_base = jax.random.split(key)
        value = self.base.sample(key_base)
        return jnp.where(jax.random.bernoulli(key_gate, sigmoid(self.gate_logits)), jnp.zeros_like(value), value)

    def log_prob(self, value: Array) -> Array:
        """The log probability of an event [*event]: [], in nats."""
        shape = self.gate_logits.shape
        check_event(self, value, shape)
        bases = jax.tree.map(lambda field: jnp.broadcast_to(field, shape).ravel(), self.base)
        log_base = jax.vmap(lambda base, value: base.log_prob(value))(bases, value.ravel()).reshape(shape)
        let_through = log_sigmoid(-self.gate_logits) + log_base
        at_zero = jnp.logaddexp(log_sigmoid(self.gate_logits), let_through)
        return jnp.sum(jnp.where(value == 0, at_zero, let_through))

    def expectation(self) -> Array:
        """The mean, [*event]."""
        return sigmoid(-self.gate_logits) * self.base.expectation()


def zero_inflated(base):
    """A family of likelihoods with more zeros.

    Args:
        base: named outputs -> a distribution of independent dimensions; `NegativeBinomial`, say.

    Returns:
        A function of the outputs of `base` and one more, `gate_logits`, to be given as `likelihood` to `jaxvae.vae`.

    Example:
        >>> likelihood = zero_inflated(NegativeBinomial)
        >>> outputs = NegativeBinomial.parameters((2000,)) | {"gate_logits": (2000,)}
        >>> float(likelihood(**{name: jnp.zeros(shape) for name, shape in outputs.items()}).expectation()[0])
        0.5
    """

    def likelihood(gate_logits: Array, **outputs: Array) -> ZeroInflated:
        return ZeroInflated(base(**outputs), gate_logits)

    return likelihood


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Multinomial:
    """How often each of K things came, given how many came in all.

    log p(x | N) = ln N! - Σ ln x_k! + Σ x_k ln π_k,    π = softmax(l),    N = Σ x_k

    The total N is that of the event itself: it is conditioned on, no distribution is given to it. Recommenders leave
    out the first two terms, the number of orders in which the same counts can come; they depend on no parameter, so
    the gradients are the same, and their bounds are lower than these by a number that the data alone determine.

    Args:
        logits: [*event] l, all of them together one softmax.

    Example:
        >>> two_throws = Multinomial(jnp.zeros(2)).log_prob(jnp.array([1.0, 1.0]))  # of a coin, one of each side
        >>> round(float(jnp.exp(two_throws)), 4)
        0.5

    Source: Liang et al., "Variational Autoencoders for Collaborative Filtering" (2018), section 2.1.
    """

    logits: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        return {"logits": shape}

    def sample(self, key: Key, total: int | Array = 1) -> Array:
        """One draw of counts that sum to `total`, [*event]: by default, of one thing.

        Not inside a `shard_map` that checks types: `jax.random.binomial`, which draws it, cannot be there.
        """
        probabilities = softmax(self.logits.ravel())
        total = jnp.asarray(total, probabilities.dtype)
        return jax.random.multinomial(key, total, probabilities).reshape(self.logits.shape)

    def log_prob(self, value: Array) -> Array:
        """The log probability of counts [*event], given their sum: [], in nats."""
        check_event(self, value, self.logits.shape)
        orders = gammaln(jnp.sum(value) + 1) - jnp.sum(gammaln(value + 1))
        log_probabilities = log_softmax(self.logits.ravel())
        impossible = (log_probabilities == -jnp.inf) & (value.ravel() == 0)  # 0 ln 0 = 0
        return orders + jnp.sum(value.ravel() * jnp.where(impossible, 0, log_probabilities))

    def expectation(self) -> Array:
        """The probability of each thing, [*event]: the mean of a total of one."""
        return softmax(self.logits.ravel()).reshape(self.logits.shape)
