"""VAE/GAN: a reconstruction is judged by what a discriminator sees in it, and not by its pixels."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.bounds import average, draw_terms
from jaxvae.distributions import LOG_2PI, softplus
from jaxvae.losses.base import Loss, Metrics, lifted, metrics_of
from jaxvae.losses.players import players
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Key, Network, Params

OF_NEW = 21  # folded into an example's key: the draw of the prior that a new image is made of


def learned_similarity(model: VAE, discriminator: Network, *, weight: float) -> Loss:
    """Three players: encoder, decoder, and a discriminator whose features are the space of the reconstruction.

    the encoder:        KL(q(z|x) || p(z)) + S,    S = -E_q[ln N(f(x); f(x̃), I)]
    the rest:           γ S - 1/B Σ_b [ln D(x̃_b) + ln D(x̂_b)]
    the discriminator:  -1/B Σ_b [ln D(x_b) + ln (1 - D(x̃_b)) + ln (1 - D(x̂_b))]

    f are features of the discriminator, x̃ is the mean of p(x|z) at a draw of q(z|x) and x̂ at one of the prior. At the
    best discriminator its logit is ln p_data(x) - ln [p_x̃(x) + p_x̂(x)]; where all three laws are the same it is -ln 2,
    and its loss ln 27/4. The decoder descends -ln D, which has a slope where the discriminator is sure. The authors'
    code lets players wait while one of them is far ahead; here all move at every step.

    No part of it bounds ln p(x). The reported "bound" is the ELBO of the same model, by pixels.

    Args:
        model: `beside_discriminator(vae, discriminator, sees=of_examples)`; the posterior's draws must have a path.
        discriminator: x -> {"logit": [], "features": [F]}, `scored_features` for instance.
        weight: γ, of the reconstruction beside the discriminator in the decoder's loss.

    Returns:
        The loss of the three players, a mean over examples, with the metrics of `negative_bound`, "similarity", -S,
        "encoder_loss" and "discriminator_loss". "loss" is that of the rest.

    Source: Larsen, Sønderby, Larochelle & Winther, "Autoencoding beyond pixels using a learned similarity metric"
    (2016), algorithm 1.
    """

    def images(key: Key, params: Params, x: Any) -> tuple[Any, Any, Terms]:
        terms = draw_terms(model, key, params, x, num_samples=1)
        z = model.posterior(params, x).sample(jax.random.split(key, 1)[0])
        y = model.prior(params).sample(jax.random.fold_in(key, OF_NEW))
        again, new = (model.likelihood(params, code).expectation() for code in (z, y))
        return again, new, terms

    def seen(params: Params, x: Any) -> dict[str, Array]:
        return discriminator.apply(params["discriminator"], x)

    def similarity(params: Params, x: Any, again: dict[str, Array]) -> Array:
        apart = seen(params, x)["features"] - again["features"]
        return -0.5 * jnp.sum(jnp.square(apart) + LOG_2PI)

    def of_decoder(key: Key, params: Params, x: Any, step: Array) -> tuple[Array, Metrics]:
        again, new, terms = images(key, params, x)
        of_again = seen(params, again)
        alike = similarity(params, x, of_again)
        passing = -softplus(-of_again["logit"]) - softplus(-seen(params, new)["logit"])
        return weight * alike + passing, metrics_of(average(terms), terms) | {"similarity": alike}

    def of_encoder(key: Key, params: Params, x: Any, step: Array) -> tuple[Array, Metrics]:
        again, _, terms = images(key, params, x)
        return similarity(params, x, seen(params, again)) - jnp.sum(terms.kl), {}

    def of_discriminator(key: Key, params: Params, x: Any, step: Array) -> tuple[Array, Metrics]:
        again, new, _ = images(key, params, x)
        made = sum(-softplus(seen(params, of)["logit"]) for of in (again, new))
        return made - softplus(-seen(params, x)["logit"]), {}

    own = {"encoder": lifted(of_encoder), "discriminator": lifted(of_discriminator)}
    return players(own, rest=lifted(of_decoder))


def scored_features(features: Network, score: Network, activation: Callable[[Array], Array]) -> Network:
    """A discriminator that shows what it sees.

    Args:
        features: x -> {"features": [F]}, before their activation.
        score: [F] -> {"logit": []}.
        activation: between the two.

    Returns:
        x -> {"features": [F], "logit": []}.
    """

    def init(key: Key, x: Any) -> Params:
        key_features, key_score = jax.random.split(key)
        params = features.init(key_features, x)
        inner = activation(features.apply(params, x)["features"])
        return {"features": params, "score": score.init(key_score, inner)}

    def apply(params: Params, x: Any) -> dict[str, Array]:
        inner = features.apply(params["features"], x)["features"]
        return {"features": inner, "logit": score.apply(params["score"], activation(inner))["logit"]}

    return Network(init, apply)
