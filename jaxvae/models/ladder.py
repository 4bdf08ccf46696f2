"""Several layers of latent variables, each given the one above, with an inference that goes down the same path.

Layers are counted from the top, in the order in which they are drawn: z[0] is the layer that depends on no other, z[-1]
the one that the image is made of. (The papers count them from the image up.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.distributions import Bernoulli, Normal, kl
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Distribution, Key, Network, Params, Shape

Codes = tuple[Array, ...]  # z of every layer, the top one first


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TopDown:
    """p(z) = p(z₀) Π p(z_l | z_{l-1}), or q(z|x), which goes down the same path and listens to the image on its way.

    q(z_l | z_{l-1}, x) ∝ p(z_l | z_{l-1}) N(z_l; μ̂_l(x), σ̂_l²(x)),    at the top N(μ̂₀, σ̂₀²) alone

    Args:
        top: p(z₀), a standard Gaussian.
        params: of the networks, in their order.
        messages: N(μ̂_l(x), σ̂_l²(x)) of every layer, what the image says of it; None for the prior.
        networks: z_{l-1} -> {"mean", "log_scale"} of p(z_l | z_{l-1}), for every layer but the top.

    Source: Sønderby et al., "Ladder Variational Autoencoders" (2016), equations 7 to 12.
    """

    top: Normal
    params: tuple[Params, ...]
    messages: tuple[Normal, ...] | None
    networks: tuple[Network, ...] = field(metadata={"static": True})

    def at(self, layer: int, above: Array | None) -> tuple[Normal, Normal]:
        """One layer, given the one above: its own distribution, and the prior's, which has no messages."""
        if above is None:
            prior, message = self.top, self.messages and self.messages[0]
            return message or prior, prior
        prior = Normal(**self.networks[layer - 1].apply(self.params[layer - 1], above))
        return (prior if self.messages is None else combined(prior, self.messages[layer])), prior

    def sample(self, key: Key) -> Codes:
        """One draw of every layer."""
        return self.sample_at(key)

    def sample_at(
        self, key: Key, *, temperatures: Sequence[float] | None = None, fixed: Sequence[Array | None] | None = None
    ) -> Codes:
        """A draw in which each layer has its own temperature, or is given.

        z_l = μ_l + T_l σ_l ε,    or z_l as it is given

        Args:
            key: split into one for each layer, so that a layer's noise depends on no other layer.
            temperatures: T of every layer; 1 draws, 0 takes the mean. None for 1 everywhere.
            fixed: the value of every layer, None for those that are drawn; None for drawing all.

        Returns:
            z of every layer.
        """
        layers = len(self.networks) + 1
        keys = jax.random.split(key, layers)
        codes: list[Array] = []
        for layer in range(layers):
            own, _ = self.at(layer, codes[-1] if codes else None)
            temperature = 1.0 if temperatures is None else temperatures[layer]
            drawn = own.mean + temperature * (own.sample(keys[layer]) - own.mean)
            given = None if fixed is None else fixed[layer]
            codes.append(drawn if given is None else given)
        return tuple(codes)

    def log_prob(self, value: Codes) -> Array:
        """The joint log density of all layers, [], in nats."""
        above = (None, *value[:-1])
        parts = [self.at(layer, above[layer])[0].log_prob(z) for layer, z in enumerate(value)]
        return sum(parts[1:], parts[0])

    def expectation(self) -> Codes:
        """The mean of the top layer, and of every other layer at the mean above it: not the mean of the marginal."""
        codes: list[Array] = []
        for layer in range(len(self.networks) + 1):
            codes.append(self.at(layer, codes[-1] if codes else None)[0].mean)
        return tuple(codes)


def combined(one: Normal, other: Normal) -> Normal:
    """The normalised product of two Gaussians, in which each mean has the weight of its precision.

    σ² = 1 / (σ₁⁻² + σ₂⁻²),    μ = σ² (μ₁ σ₁⁻² + μ₂ σ₂⁻²)

    Args:
        one: fields [D].
        other: fields [D].

    Returns:
        Fields [D].

    Example:
        >>> product = combined(Normal(jnp.zeros(1), jnp.zeros(1)), Normal(jnp.full(1, 3.0), jnp.zeros(1)))
        >>> float(product.mean[0]), round(float(jnp.exp(2 * product.log_scale[0])), 6)
        (1.5, 0.5)

    Source: Sønderby et al. (2016), equations 11 and 12.
    """
    weight = jax.nn.sigmoid(2 * (one.log_scale - other.log_scale))  # of the other
    log_scale = -0.5 * jnp.logaddexp(-2 * one.log_scale, -2 * other.log_scale)
    return Normal(one.mean + weight * (other.mean - one.mean), log_scale)


def ladder_vae(
    *,
    bottom_up: Sequence[Network],
    top_down: Sequence[Network],
    decoder: Network,
    top: Shape,
    likelihood: Callable[..., Distribution] = Bernoulli,
) -> VAE:
    """The ladder variational auto-encoder.

    ln w = ln p(x|z_L) + Σ_l [ln p(z_l | z_{l-1}) - ln q(z_l | z_{l-1}, x)],    z_l ~ q in turn from the top

    The image goes up without noise, d_l = f_l(d_{l+1}), and each layer's message is read from its d_l. Its terms have a
    divergence for every layer, the top one first: closed, between two Gaussians, given the draws above. The draws are
    reparameterised. The paper normalises over the batch, and found that it matters with five layers; networks here
    never do, because an example's bound would depend on the other examples.

    Args:
        bottom_up: for every layer from the image up: the features below (first the image) -> {"features", "mean",
            "log_scale"}, the features for the next layer (the top one needs none) and what the image says of this one.
        top_down: for every layer but the top, from the top down: z above -> {"mean", "log_scale"}.
        decoder: z of the last layer -> named outputs, which become p(x|z) by `likelihood(**outputs)`.
        top: the shape of the top layer.
        likelihood: named outputs -> p(x|z).

    Returns:
        The model. Its latent variable is a tuple, the top layer first; its `prior` and `posterior` are `TopDown`, whose
        `sample_at` draws with a temperature for each layer or with some layers given.

    Raises:
        ValueError: the numbers of networks do not fit.

    Example:
        >>> from jaxvae import elbo, networks
        >>> def upward(latent):
        ...     return networks.mlp((16,), {"features": (16,)} | Normal.parameters((latent,)))
        >>> model = ladder_vae(
        ...     bottom_up=[upward(4), upward(2)],
        ...     top_down=[networks.mlp((16,), Normal.parameters((4,)))],
        ...     decoder=networks.mlp((16,), Bernoulli.parameters((8, 8, 1))),
        ...     top=(2,),
        ... )
        >>> params = model.init(jax.random.key(0), jnp.ones((8, 8, 1)))
        >>> model.terms(jax.random.key(1), params, jnp.ones((8, 8, 1))).kl.shape
        (2,)

    Source: Sønderby, Raiko, Maaløe, Sønderby & Winther, "Ladder Variational Autoencoders" (2016), section 2.1.
    """
    if len(bottom_up) != len(top_down) + 1:
        raise ValueError(
            f"{len(bottom_up)} layers need {len(bottom_up) - 1} networks between them, not {len(top_down)}: give "
            "bottom_up one network for each layer, and top_down one for each but the top"
        )
    standard = Normal(jnp.zeros(top), jnp.zeros(top))

    def init(key: Key, x: Array) -> Params:
        key_up, key_down, key_decoder = jax.random.split(key, 3)
        upward: list[Params] = []
        z: list[Array] = []
        features = x
        for network, key in zip(bottom_up, jax.random.split(key_up, len(bottom_up)), strict=True):
            upward.append(network.init(key, features))
            outputs = network.apply(upward[-1], features)
            features, z = outputs.get("features"), [outputs["mean"], *z]
        keys = jax.random.split(key_down, len(top_down))
        downward = tuple(n.init(key, above) for n, key, above in zip(top_down, keys, z[:-1], strict=True))
        return {"encoder": tuple(upward), "prior": downward, "decoder": decoder.init(key_decoder, z[-1])}

    def prior(params: Params) -> TopDown:
        return TopDown(standard, params["prior"], None, tuple(top_down))

    def posterior(params: Params, x: Array) -> TopDown:
        messages: list[Normal] = []
        features = x
        for network, of_network in zip(bottom_up, params["encoder"], strict=True):
            outputs: dict[str, Any] = dict(network.apply(of_network, features))
            features = outputs.pop("features", None)
            messages.insert(0, Normal(**outputs))
        return TopDown(standard, params["prior"], tuple(messages), tuple(top_down))

    def likelihood_of(params: Params, z: Codes) -> Distribution:
        return likelihood(**decoder.apply(params["decoder"], z[-1]))

    def terms(key: Key, params: Params, x: Array) -> Terms:
        path = posterior(params, x)
        z, divergences, log_ratios = None, [], []
        for layer, key_z in enumerate(jax.random.split(key, len(bottom_up))):
            q, p = path.at(layer, z)
            z = q.sample(key_z)
            divergences.append(kl(q, p, z))
            log_ratios.append(p.log_prob(z) - q.log_prob(z))
        log_likelihood = likelihood(**decoder.apply(params["decoder"], z)).log_prob(x)
        return Terms(log_likelihood, jnp.stack(divergences), log_likelihood + jnp.sum(jnp.stack(log_ratios)))

    def sample(key: Key, params: Params) -> Array:
        key_z, key_x = jax.random.split(key)
        return likelihood_of(params, prior(params).sample(key_z)).sample(key_x)

    return VAE(init, prior, posterior, likelihood_of, terms, sample)
