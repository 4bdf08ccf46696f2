"""A mixture of distributions of one family."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, softmax
from jax.scipy.special import logsumexp

from jaxvae.distributions.elementary import Normal
from jaxvae.distributions.event import check_event
from jaxvae.distributions.many_normals import log_densities
from jaxvae.types import Array, Distribution, Key


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixture:
    """A mixture of distributions of one family.

    p(z) = Σ_c π_c p_c(z),    π = softmax(l)

    Its draws have no gradient by l, for a draw does not move when the weights do: it is a prior, not a posterior.

    Args:
        logits: [C] l.
        components: p_c, fields [C, ...].

    Example:
        >>> two = Mixture(jnp.zeros(2), Normal(jnp.array([[-9.0], [9.0]]), jnp.zeros((2, 1))))
        >>> round(float(two.log_prob(jnp.array([9.0]))), 4)  # -½ ln 2π - ln 2
        -1.6121
    """

    logits: Array
    components: Distribution

    def sample(self, key: Key) -> Array:
        """One draw, [*latent]: a component at random, then a draw from it."""
        key_component, key_z = jax.random.split(key)
        component = jax.random.categorical(key_component, self.logits)
        return jax.tree.map(lambda field: field[component], self.components).sample(key_z)

    def log_prob(self, value: Array) -> Array:
        """The log density of [*latent]: [], in nats."""
        return logsumexp(self.log_joint(value))

    def log_joint(self, value: Array) -> Array:
        """ln p(c, z) = ln π_c + ln p_c(z) of [*latent] and each component: [C], in nats."""
        match self.components:
            case Normal(mean, log_scale):
                check_event(self, value, mean.shape[1:])
                of_each = log_densities(value, mean, log_scale)
            case _:
                of_each = jax.vmap(lambda component: component.log_prob(value))(self.components)
        check_event(self, self.logits, of_each.shape, name="logits")
        return log_softmax(self.logits) + of_each

    def log_responsibilities(self, value: Array) -> Array:
        """Which component [*latent] came from, ln p(c|z): [C], in nats; see `NormalMixture`."""
        return log_softmax(self.log_joint(value))

    def expectation(self) -> Array:
        """The mean, [*latent]."""
        of_each = jax.vmap(lambda component: component.expectation())(self.components)
        return jnp.tensordot(softmax(self.logits), of_each, axes=1)


def even_mixture(components: Distribution) -> Mixture:
    """The mixture of distributions with equal weights.

    Args:
        components: C distributions, fields [C, ...].

    Returns:
        The mixture.

    Example:
        >>> from jaxvae.distributions import Normal
        >>> two = even_mixture(Normal(jnp.array([[-9.0], [9.0]]), jnp.zeros((2, 1))))
        >>> round(float(two.log_prob(jnp.array([9.0]))), 4)  # -½ ln 2π - ln 2
        -1.6121
    """
    leaf = jax.tree.leaves(components)[0]
    return Mixture(jnp.zeros(len(leaf), leaf.dtype), components)
