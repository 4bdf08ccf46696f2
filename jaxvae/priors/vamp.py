"""The prior that is a mixture of the model's own posteriors, at inputs that are learned."""

import jax
import jax.numpy as jnp

from jaxvae.distributions import Mixture
from jaxvae.priors.prior import Posterior, Prior
from jaxvae.types import Array, Key, Params

DARKEST = 0.01  # pseudo-inputs start between it and 1 - it: nearer to the ends a sigmoid hardly moves


def vamp_prior(*, num_components: int, images: Array | None = None, learned_weights: bool = False) -> Prior:
    """The variational mixture of posteriors.

    p(z) = Σ_c π_c q(z|u_c),    u_c in [0, 1], learned

    The encoder makes it: it reads the pseudo-inputs u once for a batch, not for each example. The pixels of u are
    sigmoids of the params, so that their gradients never end; the authors clip to [0, 1] instead.

    Args:
        num_components: C.
        images: [N, *event] in [0, 1], of which the first C are where the pseudo-inputs start, moved to between 0.01 and
            0.99; give some from all over the training set. Without them they start as noise, pixels about ½ with a
            standard deviation of about ¼, which an encoder hardly tells apart: images are the better start.
        learned_weights: learn π; otherwise all weights are 1/C, as the authors have them.

    Returns:
        The prior. Its params are "pseudo_inputs" [C, *event], as logits, and with learned weights "logits" [C].

    Raises:
        ValueError: there is no component, or fewer images than components.

    Example:
        >>> from jaxvae.models import linear
        >>> model = linear.linear_vae(latent=1)
        >>> params = model.init(jax.random.key(0), jnp.zeros(3))
        >>> prior = vamp_prior(num_components=5)
        >>> of_prior = prior.init(jax.random.key(1), jnp.zeros(3))
        >>> prior.apply(of_prior, lambda x: model.posterior(params, x)).sample(jax.random.key(2)).shape
        (1,)

    Source: Tomczak & Welling, "VAE with a VampPrior" (2018), equation 9.
    """
    if num_components < 1:
        raise ValueError(f"num_components={num_components}: a mixture has at least one component")
    if images is not None and len(images) < num_components:
        raise ValueError(f"{num_components} pseudo-inputs cannot start at {len(images)} images; give at least as many")

    def init(key: Key, x: Array) -> Params:
        if images is None:
            pseudo_inputs = jax.random.normal(key, (num_components, *x.shape), x.dtype)
        else:
            pixels = jnp.clip(jnp.asarray(images[:num_components], x.dtype), DARKEST, 1 - DARKEST)
            pseudo_inputs = jnp.log(pixels) - jnp.log1p(-pixels)
        weights = {"logits": jnp.zeros(num_components, x.dtype)} if learned_weights else {}
        return {"pseudo_inputs": pseudo_inputs, **weights}

    def apply(params: Params, posterior: Posterior) -> Mixture:
        pseudo_inputs = jax.nn.sigmoid(params["pseudo_inputs"])
        even = jnp.zeros(num_components, pseudo_inputs.dtype)
        return Mixture(params.get("logits", even), jax.vmap(posterior)(pseudo_inputs))

    return Prior(init, apply)
