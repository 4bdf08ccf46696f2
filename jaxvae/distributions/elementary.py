"""The densities of the VAE literature, one event each.

A distribution here is a frozen dataclass of unconstrained arrays (logits, log scales), registered as a pytree. It has
no batch axes: `jax.vmap` makes them. Its fields are the names of a network's outputs, so that a decoder which returns
`{"logits": ...}` becomes a likelihood by `Bernoulli(**outputs)`; `parameters(shape)` tells the shapes of those outputs.
The continuous Bernoulli has a file of its own, and the densities of pixels with 256 levels are in `jaxvae.likelihoods`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, sigmoid

from jaxvae.distributions.continuous_bernoulli import ContinuousBernoulli as ContinuousBernoulli
from jaxvae.distributions.event import check_event
from jaxvae.distributions.scale import held, representable
from jaxvae.types import Array, Distribution, Key, Shape

LOG_2 = 0.6931471805599453
LOG_2PI = 1.8378770664093453


# ln(1 + e) / e for e in [0, 1] by powers of e, a weighted least-squares fit at 400 Chebyshev points: within 6e-9
LOG1P_BY_POWERS = (
    0.9999999945,
    -0.499998909,
    0.3332966549,
    -0.2495116719,
    0.1966101787,
    -0.1526327365,
    0.1053295061,
    -0.0562695258,
    0.01948768608,
    -0.003163999356,
)


@jax.custom_jvp
def softplus(logits: Array) -> Array:
    """ln(1 + exp l), [*shape], faster on a CPU than `jax.nn.softplus` and as exact; its derivative is σ(l)."""
    return jnp.maximum(logits, 0) + jnp.log1p(jnp.exp(-jnp.abs(logits)))


@softplus.defjvp
def _softplus_and_slope(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """In training the value has no logarithm: XLA then does a step in less time, and a bound alone in more."""
    (logits,), (tangent,) = primals, tangents
    small = jnp.exp(-jnp.abs(logits))  # e
    log1p = _log1p(small) if small.dtype == jnp.float32 else jnp.log1p(small)
    return jnp.maximum(logits, 0) + log1p, tangent * sigmoid(logits)


def _log1p(small: Array) -> Array:
    """ln(1 + e) for 0 ≤ e ≤ 1 in single precision."""
    ratio = jnp.full_like(small, LOG1P_BY_POWERS[-1])
    for coefficient in LOG1P_BY_POWERS[-2::-1]:
        ratio = ratio * small + coefficient
    return small * ratio


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Normal:
    """Diagonal Gaussian N(x; μ, σ²), the log density summed over dimensions.

    log p(x) = -½ Σ [((x - μ) / σ)² + 2 ln σ + ln 2π]

    A fixed variance, one learned variance for all pixels and a variance for each pixel differ only in where `log_scale`
    comes from: `normal_with_scale`, `jaxvae.networks.Free`, or an output of the decoder.

    Args:
        mean: [*event] μ.
        log_scale: [*event] or [] ln σ, `held` between -16 and 16; a scalar is shared by all dimensions.

    Example:
        >>> standard = Normal(jnp.zeros(2), jnp.zeros(2))
        >>> round(float(standard.log_prob(jnp.zeros(2))), 4)  # -ln 2π
        -1.8379

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014), Appendix C.2.
    """

    mean: Array
    log_scale: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        return {"mean": shape, "log_scale": shape}

    def sample(self, key: Key) -> Array:
        """One draw, [*event], by the reparameterisation μ + σ ε with ε ~ N(0, I)."""
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(self._log_scale()) * noise

    def log_prob(self, value: Array) -> Array:
        """The log density of an event [*event]: [], in nats."""
        check_event(self, value, self.mean.shape)
        standardised = (value - self.mean) * jnp.exp(-self._log_scale())
        return representable(-jnp.sum(0.5 * (jnp.square(standardised) + LOG_2PI) + self._log_scale()))

    def expectation(self) -> Array:
        """The mean, [*event]."""
        return self.mean

    def _log_scale(self) -> Array:
        return jnp.broadcast_to(held(self.log_scale), self.mean.shape)


def normal_with_scale(scale: float):
    """Gaussians of one fixed scale: a likelihood for a decoder whose only output is `mean`.

    Args:
        scale: σ > 0, in the units of the data.

    Returns:
        A function mean -> Normal, to be given as `likelihood` to `jaxvae.vae`.

    Raises:
        ValueError: the scale is not positive.

    Example:
        >>> likelihood = normal_with_scale(0.1)
        >>> round(float(likelihood(mean=jnp.zeros(1)).log_prob(jnp.zeros(1))), 4)  # -ln 0.1 - ½ ln 2π
        1.3836
    """
    if not scale > 0:
        raise ValueError(f"a Gaussian's scale must be positive, not {scale}; give the standard deviation of a pixel")

    def likelihood(mean: Array) -> Normal:
        return Normal(mean, jnp.log(jnp.asarray(scale, mean.dtype)))

    return likelihood


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Laplace:
    """Independent Laplace densities, summed over dimensions.

    log p(x) = -Σ [|x - μ| / b + ln 2b]

    Args:
        mean: [*event] μ.
        log_scale: [*event] or [] ln b, `held` between -16 and 16; a scalar is shared by all dimensions.
    """

    mean: Array
    log_scale: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        return {"mean": shape, "log_scale": shape}

    def sample(self, key: Key) -> Array:
        """One draw, [*event], reparameterised as μ + b ε with ε ~ Laplace(0, 1)."""
        noise = jax.random.laplace(key, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(self._log_scale()) * noise

    def log_prob(self, value: Array) -> Array:
        """The log density of an event [*event]: [], in nats."""
        check_event(self, value, self.mean.shape)
        standardised = jnp.abs(value - self.mean) * jnp.exp(-self._log_scale())
        return representable(-jnp.sum(standardised + self._log_scale() + LOG_2))

    def expectation(self) -> Array:
        """The mean, [*event]."""
        return self.mean

    def _log_scale(self) -> Array:
        return jnp.broadcast_to(held(self.log_scale), self.mean.shape)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bernoulli:
    """Independent pixels in {0, 1}, by their logits l = ln p/(1-p).

    log p(x) = Σ [x l - softplus(l)]

    It is a density over {0, 1} only: a grey pixel between them has no Bernoulli likelihood, and the number that comes
    out is no bound. Binarise the data, or take `ContinuousBernoulli`.

    Args:
        logits: [*event] l, unbounded.

    Example:
        >>> float(Bernoulli(jnp.array([1e4, -1e4])).log_prob(jnp.array([1.0, 0.0])))
        0.0

    Source: Kingma & Welling (2014), Appendix C.1.
    """

    logits: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        return {"logits": shape}

    def sample(self, key: Key) -> Array:
        """One draw in {0, 1}, [*event], of the logits' dtype."""
        return jax.random.bernoulli(key, sigmoid(self.logits)).astype(self.logits.dtype)

    def relaxed(self, key: Key, temperature: float) -> tuple[Array, Array]:
        """A draw, and the point of [0, 1] that it is the end nearest to: [*event] each (Maddison et al. 2017)."""
        perturbed = self.logits + jax.random.logistic(key, self.logits.shape, self.logits.dtype)
        return (perturbed > 0).astype(self.logits.dtype), sigmoid(perturbed / temperature)

    def log_prob(self, value: Array) -> Array:
        """The log probability of an event [*event]: [], in nats."""
        check_event(self, value, self.logits.shape)
        # One flat axis: on a CPU, XLA sums over rows and columns of pixels several times more slowly.
        value, logits = jnp.ravel(value), jnp.ravel(self.logits)
        return jnp.sum(value * logits - softplus(logits))

    def expectation(self) -> Array:
        """The probability of a one, [*event]."""
        return sigmoid(self.logits)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Categorical:
    """Independent classes 0..K-1, by their logits.

    log p(x) = Σ ln softmax(l)_x

    Args:
        logits: [*event, K] l, unbounded.

    Example:
        >>> round(float(Categorical(jnp.zeros(10)).log_prob(jnp.array(3))), 4)  # -ln 10
        -2.3026
    """

    logits: Array

    def sample(self, key: Key) -> Array:
        """One draw of integers, [*event]."""
        return jax.random.categorical(key, self.logits)

    def log_prob(self, value: Array) -> Array:
        """The log probability of an event [*event] of integers: [], in nats."""
        check_event(self, value, self.logits.shape[:-1])
        log_probabilities = log_softmax(self.logits)
        return jnp.sum(jnp.take_along_axis(log_probabilities, value[..., None], axis=-1))

    def expectation(self) -> Array:
        """The probabilities of the classes, [*event, K]."""
        return jax.nn.softmax(self.logits)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Delta:
    """All mass on one point: the code of a plain auto-encoder. It has no density.

    Args:
        value: [*event] the point.
    """

    value: Array

    def sample(self, key: Key) -> Array:
        """The point."""
        return self.value

    def log_prob(self, value: Array) -> Array:
        """Not defined.

        Raises:
            ValueError: always.
        """
        raise ValueError("a point mass has no density: a plain auto-encoder has a reconstruction error but no bound")

    def expectation(self) -> Array:
        """The point."""
        return self.value


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Frozen:
    """A distribution whose parameters no gradient passes; gradients reach the value alone.

    It is not the wrapped type, so `kl` takes the drawn difference for it: the gradient estimators that stop the
    gradient of log q(z|x) rest on this.

    Args:
        distribution: what is wrapped.
    """

    distribution: Distribution

    def sample(self, key: Key) -> Array:
        """One draw, without a gradient."""
        return jax.lax.stop_gradient(self.distribution).sample(key)

    def log_prob(self, value: Array) -> Array:
        """The log density, [], in nats, with a gradient to the value only."""
        return jax.lax.stop_gradient(self.distribution).log_prob(value)

    def expectation(self) -> Array:
        """The mean, without a gradient."""
        return jax.lax.stop_gradient(self.distribution).expectation()


def sample_and_log_prob(distribution: Distribution, key: Key) -> tuple[Array, Array]:
    """One draw and its log density, together where the distribution knows a shorter way (a flow does).

    Args:
        distribution: any.
        key: for the draw.

    Returns:
        [*event] the draw, and [] ln p(draw), in nats.
    """
    own = getattr(distribution, "sample_and_log_prob", None)
    if own is not None:
        return own(key)
    value = distribution.sample(key)
    return value, distribution.log_prob(value)
