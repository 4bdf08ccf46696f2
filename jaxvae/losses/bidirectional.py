"""Examples with their codes against draws of the prior with what is made of them: ALI and BiGAN."""

from collections.abc import Callable
from typing import Any

import jax

from jaxvae.bounds import average, draw_terms
from jaxvae.distributions import softplus
from jaxvae.losses.aggregate import checked
from jaxvae.losses.base import Loss, Metrics, lifted, metrics_of
from jaxvae.losses.players import players
from jaxvae.model import VAE
from jaxvae.types import Array, Distribution, Event, Key, Network, Params

OF_PAIR = 20  # folded into an example's key: the draw of the prior, and what is made of it

Seen = Callable[[Key, Distribution], Event]  # what a discriminator is shown of a distribution


def by_draw(key: Key, distribution: Distribution) -> Event:
    """A draw, [*event]: ALI's way with codes."""
    return distribution.sample(key)


def by_mean(key: Key, distribution: Distribution) -> Event:
    """The mean, [*event]: BiGAN's way with codes, and the way of both with images."""
    return distribution.expectation()


def bidirectional(model: VAE, discriminator: Network, *, encode: Seen = by_draw, generate: Seen = by_mean) -> Loss:
    """An encoder and a decoder whose pairs are to be told from each other by nobody; no likelihood is trained.

    the discriminator:  -1/B Σ_b ln D(x_b, z_b) - 1/B Σ_b ln (1 - D(x̃_b, y_b)),    z ~ q(z|x),  y ~ p(z),  x̃ ~ p(x|y)
    the model:          -1/B Σ_b ln (1 - D(x_b, z_b)) - 1/B Σ_b ln D(x̃_b, y_b)

    At the best discriminator its logit is ln q(x) q(z|x) / (p(z) p(x|z)) and its loss ln 4 - 2 JS of both joint laws:
    ln 4 where they are the same, and then q(z|x) is the posterior of p(x, z). The model descends the loss with the
    labels swapped, which has a slope where the discriminator is sure.

    No part of it bounds ln p(x). The reported "bound" is the ELBO of the same model, which nothing raises.

    Args:
        model: `beside_discriminator(vae, discriminator, sees=of_pairs)`; what is shown of it must have a path.
        discriminator: (x, z) -> {"logit": []}.
        encode: what is shown of q(z|x), `by_draw` (ALI) or `by_mean` (BiGAN).
        generate: what is shown of p(x|y), its mean by default: give it a law whose draws look like its mean.

    Returns:
        The loss of both players, a mean over examples, with the metrics of `negative_bound` and "discriminator_loss".

    Source: Dumoulin et al., "Adversarially Learned Inference" (2017), algorithm 1; Donahue, Krähenbühl & Darrell,
    "Adversarial Feature Learning" (2017), section 3.
    """

    def logits(key: Key, params: Params, x: Any) -> tuple[Array, Array]:
        key_y, key_x = jax.random.split(jax.random.fold_in(key, OF_PAIR))
        z = checked(encode(jax.random.split(key, 1)[0], model.posterior(params, x)))
        y = model.prior(params).sample(key_y)
        made = generate(key_x, model.likelihood(params, y))
        of_pair, own = discriminator.apply, params["discriminator"]
        return of_pair(own, x, z)["logit"], of_pair(own, made, y)["logit"]

    def hidden(key: Key, params: Params, x: Any, step: Array) -> tuple[Array, Metrics]:
        encoded, generated = logits(key, params, x)
        terms = draw_terms(model, key, jax.lax.stop_gradient(params), x, num_samples=1)
        return -softplus(encoded) - softplus(-generated), metrics_of(average(terms), terms)

    def told(key: Key, params: Params, x: Any, step: Array) -> tuple[Array, Metrics]:
        encoded, generated = logits(key, params, x)
        return -softplus(-encoded) - softplus(generated), {}

    return players({"discriminator": lifted(told)}, rest=lifted(hidden))
