"""Kullback-Leibler divergences: the closed forms that are known, in one table, and the estimate for all others."""

from collections.abc import Callable

import jax.numpy as jnp
from jax.nn import log_softmax, sigmoid

from jaxvae.distributions.correlated_normal import CorrelatedNormal
from jaxvae.distributions.elementary import Bernoulli, Categorical, Laplace, Normal, softplus
from jaxvae.distributions.event import check_same_events, event_shapes
from jaxvae.distributions.full_normal import FullNormal
from jaxvae.distributions.one_hot import OneHot
from jaxvae.distributions.scale import representable
from jaxvae.distributions.sphere import UniformSphere, VonMisesFisher
from jaxvae.types import Array, Distribution


def closed_kl(q: Distribution, p: Distribution) -> Array | None:
    """KL(q || p) in closed form, or None where none is known.

    KL(q || p) = E_q[ln q(z) - ln p(z)]

    Args:
        q: the distribution that is averaged over.
        p: the other one, over the same events.

    Returns:
        [] nats, never negative; or None.

    Raises:
        ValueError: a closed form is known, and the events of the two differ in shape.

    Source: Kingma & Welling (2014), Appendix B, for the Gaussians; Davidson et al. (2018), for the sphere.
    """
    known = _known(q, p)
    if known is not None:
        check_same_events(event_shapes(q), event_shapes(p), "second distribution of a divergence", "first one")
        return known()
    return None


def _known(q: Distribution, p: Distribution) -> Callable[[], Array] | None:
    """The closed form, not yet computed; None where none is known."""
    match q, p:
        case Normal(), Normal():
            return lambda: _kl_normal(q, p)
        case Normal(), CorrelatedNormal():
            return lambda: p.kl_from_normal(q)
        case FullNormal(), Normal():
            return lambda: q.kl_to_normal(p)
        case VonMisesFisher(), UniformSphere():
            return lambda: q.kl_to_uniform()
        case Laplace(), Laplace():
            return lambda: _kl_laplace(q, p)
        case Bernoulli(), Bernoulli():
            return lambda: _kl_bernoulli(q.logits, p.logits)
        case Categorical(), Categorical():
            return lambda: _kl_classes(q.logits, p.logits)
        case OneHot(), OneHot():
            return lambda: _kl_classes(q.logits, p.logits)
        case _:
            return None


def kl(q: Distribution, p: Distribution, value: Array) -> Array:
    """The divergence KL(q || p) in closed form where one is known, else its one-draw estimate.

    KL(q || p)  ≈  ln q(value) - ln p(value)

    Args:
        q: the distribution that is averaged over, an event of shape [*event].
        p: the other one, over the same events.
        value: [*event] a draw from q; used only where there is no closed form.

    Returns:
        [] nats. The closed form is never negative; the estimate can be, and its mean over draws is the divergence.

    Example:
        >>> q, p = Normal(jnp.ones(1), jnp.zeros(1)), Normal(jnp.zeros(1), jnp.zeros(1))
        >>> float(kl(q, p, jnp.zeros(1)))
        0.5
    """
    closed = closed_kl(q, p)
    return q.log_prob(value) - p.log_prob(value) if closed is None else closed


def _kl_normal(q: Normal, p: Normal) -> Array:
    log_ratio = q._log_scale() - p._log_scale()
    shift = (q.mean - p.mean) * jnp.exp(-p._log_scale())
    return representable(jnp.sum(0.5 * (jnp.exp(2 * log_ratio) + jnp.square(shift) - 1) - log_ratio))


def _kl_bernoulli(q_logits: Array, p_logits: Array) -> Array:
    return jnp.sum(sigmoid(q_logits) * (q_logits - p_logits) - softplus(q_logits) + softplus(p_logits))


def _kl_classes(q_logits: Array, p_logits: Array) -> Array:
    check_same_events(q_logits.shape, p_logits.shape, "second distribution's logits", "first one's")
    log_q, log_p = log_softmax(q_logits), log_softmax(p_logits)
    possible = log_q > -jnp.inf  # 0 ln 0 = 0
    log_ratio = jnp.where(possible, log_q, 0) - jnp.where(possible, log_p, 0)
    return jnp.sum(jnp.exp(log_q) * log_ratio)


def _kl_laplace(q: Laplace, p: Laplace) -> Array:
    distance = jnp.abs(q.mean - p.mean)
    log_ratio = q._log_scale() - p._log_scale()
    overlap = jnp.exp(log_ratio - distance * jnp.exp(-q._log_scale()))
    return representable(jnp.sum(distance * jnp.exp(-p._log_scale()) + overlap - log_ratio - 1))
