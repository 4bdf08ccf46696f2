"""Sequences of any length, a latent variable at every step: the deep Markov model, the variational recurrent network.

A sequence is padded to the length of the longest, and its mask tells which steps are there. Every step's terms are
multiplied by its mask, the divergence too, so that padding changes nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.distributions import Bernoulli, Normal, kl
from jaxvae.loops import scan
from jaxvae.model import VAE, Terms
from jaxvae.models.chain import Chain, Sequence, Steps, Unrolled, ended, keys_of, total, whole
from jaxvae.models.given import ConditionalPrior, Conditioned, Given
from jaxvae.types import Array, Distribution, Event, Key, Network, Params, Shape

Family = Callable[..., Distribution]  # named outputs -> a distribution


def deep_markov(
    *,
    transition: Network,
    reader: Network,
    combiner: Network,
    decoder: Network,
    latent: Shape,
    length: int,
    prior: Family = Normal,
    posterior: Family = Normal,
    likelihood: Family = Bernoulli,
) -> VAE:
    """The deep Markov model: a state-space model of networks, with a smoother as its posterior.

    p(x, z) = Π_t p(z_t | z_{t-1}) p(x_t | z_t),    q(z | x) = Π_t q(z_t | z_{t-1}, h_t),    h_t = h(x_t, ..., x_T)

    z_0 is a trained constant. The true posterior factorises in this way, so that q may be exact.

    Args:
        transition: z_{t-1} -> named outputs of p(z_t|z_{t-1}).
        reader: (values, mask) -> h, a tree of arrays [T, ...].
        combiner: (z_{t-1}, h_t) -> named outputs of q(z_t|z_{t-1}, h_t).
        decoder: z_t -> named outputs of p(x_t|z_t).
        latent: the shape of z_t.
        length: T of what `sample` and the prior draw.
        prior: named outputs -> p(z_t|z_{t-1}).
        posterior: named outputs -> q(z_t|z_{t-1}, h_t).
        likelihood: named outputs -> p(x_t|z_t).

    Returns:
        The model of examples `Sequence(values, mask)`. Its params have the entries "prior" ("start" and "transition"),
        "encoder" ("reader" and "combiner") and "decoder". Its latent variable is `Given(z, mask)`, z [T, *latent].

    Example:
        >>> from jaxvae import elbo, networks
        >>> parts = networks.markov_networks(2, Bernoulli.parameters((3,)), hidden=4, width=4)
        >>> model = deep_markov(**parts._asdict(), latent=(2,), length=5)
        >>> x = Sequence(jnp.ones((4, 3)), jnp.array([1.0, 1.0, 1.0, 0.0]))
        >>> params = model.init(jax.random.key(0), x)
        >>> elbo(model, jax.random.key(1), params, x).shape
        ()
        >>> model.sample(jax.random.key(2), params).values.shape
        (5, 3)

    Source: Krishnan, Shalit & Sontag, "Structured Inference Networks for Nonlinear State Space Models" (2017),
    equations 1, 3 and 6.
    """

    def init(key: Key, x: Sequence) -> Params:
        key_transition, key_reader, key_combiner, key_decoder = jax.random.split(key, 4)
        start, of_reader = jnp.zeros(latent), reader.init(key_reader, *x)
        heard = jax.tree.map(lambda leaf: leaf[0], reader.apply(of_reader, *x))
        return {
            "prior": {"start": start, "transition": transition.init(key_transition, start)},
            "encoder": {"reader": of_reader, "combiner": combiner.init(key_combiner, start, heard)},
            "decoder": decoder.init(key_decoder, start),
        }

    return _model(
        init=init,
        start=lambda params: params["prior"]["start"],
        hear=lambda params, x: reader.apply(params["encoder"]["reader"], *x),
        overhear=None,
        prior_at=lambda params, before, heard: prior(**transition.apply(params["prior"]["transition"], before)),
        posterior_at=lambda params, before, heard: posterior(
            **combiner.apply(params["encoder"]["combiner"], before, heard)
        ),
        follow=lambda params, before, z, heard: z,
        emit=lambda params, before, z: likelihood(**decoder.apply(params["decoder"], z)),
        length=length,
    )


def variational_recurrent(
    *,
    features_x: Network,
    features_z: Network,
    prior: Network,
    encoder: Network,
    decoder: Network,
    recurrence: Network,
    state: Shape,
    length: int,
    prior_family: Family = Normal,
    posterior: Family = Normal,
    likelihood: Family = Bernoulli,
) -> VAE:
    """The variational recurrent network: a VAE at every step, all of whose parts know the steps before.

    p(x, z) = Π_t p(z_t | h_{t-1}) p(x_t | z_t, h_{t-1}),    q(z | x) = Π_t q(z_t | x_t, h_{t-1}),
    h_t = f(h_{t-1}, φ(x_t), φ(z_t)),    h_0 a trained constant

    Args:
        features_x: x_t -> φ(x_t), a tree, made for all steps at once.
        features_z: z_t -> φ(z_t).
        prior: h_{t-1} -> named outputs of p(z_t|h_{t-1}).
        encoder: (h_{t-1}, φ(x_t)) -> named outputs of q(z_t|x_t, h_{t-1}).
        decoder: (h_{t-1}, φ(z_t)) -> named outputs of p(x_t|z_t, h_{t-1}).
        recurrence: (h_{t-1}, φ(z_t), φ(x_t)) -> h_t.
        state: the shape of h.
        length: T of what `sample` draws.
        prior_family: named outputs -> p(z_t|h_{t-1}).
        posterior: named outputs -> q(z_t|x_t, h_{t-1}).
        likelihood: named outputs -> p(x_t|z_t, h_{t-1}).

    Returns:
        The model of examples `Sequence(values, mask)`. Its params have the entries "prior", "encoder", "decoder" and
        "recurrence" ("start", "features_x", "features_z" and "cell"). Its latent variable is `Given(z, x)`, z
        [T, *latent]: a step's prior and likelihood are given the steps of x before it.

    Example:
        >>> from jaxvae import elbo, networks
        >>> parts = networks.recurrent_networks(2, Bernoulli.parameters((3,)), width=4)
        >>> model = variational_recurrent(**parts._asdict(), state=(4,), length=5)
        >>> x = Sequence(jnp.ones((4, 3)), jnp.array([1.0, 1.0, 1.0, 0.0]))
        >>> params = model.init(jax.random.key(0), x)
        >>> elbo(model, jax.random.key(1), params, x).shape
        ()

    Source: Chung et al., "A Recurrent Latent Variable Model for Sequential Data" (2015), equations 5 to 10.
    """

    def init(key: Key, x: Sequence) -> Params:
        key_x, key_z, key_prior, key_encoder, key_decoder, key_cell = jax.random.split(key, 6)
        start = jnp.zeros(state)
        of_x = features_x.init(key_x, x.values[0])
        heard = features_x.apply(of_x, x.values[0])
        of_encoder = encoder.init(key_encoder, start, heard)
        z = posterior(**encoder.apply(of_encoder, start, heard)).expectation()
        of_z = features_z.init(key_z, z)
        told = features_z.apply(of_z, z)
        cell = recurrence.init(key_cell, start, told, heard)
        return {
            "prior": prior.init(key_prior, start),
            "encoder": of_encoder,
            "decoder": decoder.init(key_decoder, start, told),
            "recurrence": {"start": start, "features_x": of_x, "features_z": of_z, "cell": cell},
        }

    def overhear(params: Params, x: Array) -> Any:
        return features_x.apply(params["recurrence"]["features_x"], x)

    def tell(params: Params, z: Array) -> Any:
        return features_z.apply(params["recurrence"]["features_z"], z)

    return _model(
        init=init,
        start=lambda params: params["recurrence"]["start"],
        hear=lambda params, x: jax.vmap(overhear, (None, 0))(params, x.values),
        overhear=overhear,
        prior_at=lambda params, h, heard: prior_family(**prior.apply(params["prior"], h)),
        posterior_at=lambda params, h, heard: posterior(**encoder.apply(params["encoder"], h, heard)),
        follow=lambda params, h, z, heard: recurrence.apply(params["recurrence"]["cell"], h, tell(params, z), heard),
        emit=lambda params, h, z: likelihood(**decoder.apply(params["decoder"], h, tell(params, z))),
        length=length,
    )


def _model(
    *,
    init: Callable[[Key, Sequence], Params],
    start: Callable[[Params], Any],
    hear: Callable[[Params, Sequence], Any],
    overhear: Callable[[Params, Array], Any] | None,
    prior_at: Callable[..., Distribution],
    posterior_at: Callable[..., Distribution],
    follow: Callable[..., Any],
    emit: Callable[..., Distribution],
    length: int,
) -> VAE:
    """The model of two chains, p(z) and q(z|x), that share their states; with `overhear`, states know the x so far."""

    def of_condition(params: Params, condition: Any) -> Chain:
        mask = condition if overhear is None else condition.mask
        heard = None if overhear is None else hear(params, ended(condition))
        return Chain(params, start(params), heard, mask, prior_at, follow)

    def prior(params: Params) -> ConditionalPrior:
        return ConditionalPrior(params, of_condition, (lambda key: jnp.ones(length)) if overhear is None else None)

    def posterior(params: Params, x: Sequence) -> Conditioned:
        chain = Chain(params, start(params), hear(params, ended(x)), x.mask, posterior_at, follow)
        return Conditioned(chain, x.mask if overhear is None else x)

    def likelihood(params: Params, latent: Given) -> Steps:
        before = of_condition(params, latent.condition).before(latent.z)
        return Steps(jax.vmap(emit, (None, 0, 0))(params, before, latent.z))

    def terms(key: Key, params: Params, x: Sequence) -> Terms:
        chain = posterior(params, x).latent
        assert isinstance(chain, Chain)

        # The walk made the posterior's steps; all that nothing waits for comes after it, for all steps at once.
        def of_step(drawn: Unrolled, x: Array) -> tuple[Array, Array, Array]:
            p = prior_at(params, drawn.before, None)
            log_ratio = p.log_prob(drawn.z) - drawn.steps.log_prob(drawn.z)
            return emit(params, drawn.before, drawn.z).log_prob(x), kl(drawn.steps, p, drawn.z), log_ratio

        each = jax.vmap(of_step)(chain.unrolled(key), ended(x).values)
        log_likelihood, divergence, log_ratio = (total(x.mask, values) for values in each)
        return Terms(log_likelihood, divergence[None], log_likelihood + log_ratio)

    def sample(key: Key, params: Params) -> Event:
        def one(state: Any, key: Key) -> tuple[Any, Array]:
            key_z, key_x = jax.random.split(key)
            z = prior_at(params, state, None).sample(key_z)
            x = emit(params, state, z).sample(key_x)
            return follow(params, state, z, None if overhear is None else overhear(params, x)), x

        return whole(scan(one, start(params), keys_of(key, length))[1])

    return VAE(init, prior, posterior, likelihood, terms, sample)
