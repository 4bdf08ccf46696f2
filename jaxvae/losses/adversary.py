"""A discriminator that tells codes from draws of the prior, in place of the divergence: AAE and WAE-GAN."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.distributions import softplus
from jaxvae.losses.aggregate import Code, drawn, regularised
from jaxvae.losses.base import Loss, Metrics
from jaxvae.losses.players import players
from jaxvae.model import VAE
from jaxvae.types import Array, Key, Network, Params

OF_PRIOR = 18  # folded into an example's key: its draw of the prior


def adversarial(model: VAE, discriminator: Network, *, weight: float, alpha: float = 1.0, num_samples: int = 1) -> Loss:
    """An auto-encoder whose codes are to pass for draws of the prior.

    the model:          -E ln p(x|z) + (1 - α) KL(q(z|x) || p(z)) - w 1/B Σ_b ln D(z_b)
    the discriminator:  -½ 1/B Σ_b ln D(y_b) - ½ 1/B Σ_b ln (1 - D(z_b)),    y_b ~ p(z)

    At the best discriminator its logit is ln p(z)/q(z), of the aggregate posterior, and its loss ln 2 - JS(q, p), the
    distance of Jensen and Shannon: ln 2 where codes are draws of the prior. The model descends -ln D in place of
    ln (1 - D), which has no slope where the discriminator is sure.

    With α = 1 no divergence is left: with a Bernoulli it is the AAE, with `normal_with_scale(10 ** 0.5)`, the cost of
    WAE, WAE-GAN. No part of it bounds ln p(x); the reported "bound" is the ELBO of the same model.

    Args:
        model: `beside_discriminator`, whose draws have a path.
        discriminator: z -> {"logit": []}.
        weight: w; the authors of WAE take 10, in the discriminator's loss too, where Adam does not see it.
        alpha: the share of the divergence that is taken out.
        num_samples: the draws that the likelihood is averaged over.

    Returns:
        The loss of both players, a mean over examples, with the metrics of `regularised` and "discriminator_loss".

    Source: Makhzani et al., "Adversarial Autoencoders" (2016), section 2; Tolstikhin, Bousquet, Gelly & Schölkopf,
    "Wasserstein Auto-Encoders" (2018), algorithm 1.
    """

    def logit(params: Params, z: Array) -> Array:
        return discriminator.apply(params["discriminator"], z)["logit"]

    def passing(code: Code) -> Array:
        return weight * softplus(-logit(code.params, code.draw)) - alpha * code.kl

    def telling(keys: Key, params: Params, extra: Any, xs: Any, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        prior = model.prior(params)

        def of_example(key: Key, x: Any) -> Array:
            y, z = prior.sample(jax.random.fold_in(key, OF_PRIOR)), drawn(key, model.posterior(params, x), num_samples)
            return 0.5 * (softplus(-logit(params, y)) + softplus(logit(params, z)))

        return jnp.mean(jax.vmap(of_example)(keys, xs)), (extra, {})

    paying = regularised(model, of_posterior=passing, num_samples=num_samples)
    return players({"discriminator": telling}, rest=paying)
