"""The ELBO with a price on each posterior and one on the aggregate posterior: one loss, and most of the zoo is in it.

L = -ELBO + E_x[r1(q(z|x))] + r2(q(z)),    q(z) = E_x[q(z|x)]

| model | r1, of a posterior | r2, of the aggregate |
|---|---|---|
| β-VAE | (β - 1) KL(q(z|x) ‖ p(z)): `divergence` | none |
| β-TCVAE | none | (β - 1) TC(z) by the batch's densities: `total_correlation` |
| FactorVAE | none | γ TC(z) by a discriminator: `density_ratio` |
| DIP-VAE | none | the distance of a covariance to I: `dip` |
| InfoVAE | -α KL(q(z|x) ‖ p(z)) | (α + λ - 1) MMD²(q(z), p(z)): `discrepancy` |
| WAE-MMD | InfoVAE with α = 1: no KL is left | the same |
| AAE, WAE-GAN | -KL(q(z|x) ‖ p(z)) - w ln D(z), D another player: `adversarial` | none |

The reported "bound" is the ELBO, whatever is added.

Source: Prince, "Understanding Deep Learning" (2023), equation 17.29.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.bounds import average, draw_terms
from jaxvae.losses.base import ALONE, Loss, Metrics, OfWholeBatch, Shared
from jaxvae.model import VAE
from jaxvae.types import Array, Distribution, Key, Params

SHARED_DRAWS = 17  # folded into a key of the batch: what all devices draw alike


class Code(NamedTuple):
    """What is known of the code of one example."""

    posterior: Distribution  # q(z|x), fields [*latent]
    draw: Array  # [*latent]  z ~ q(z|x)
    kl: Array  # []  KL(q(z|x) || p(z)), nats
    params: Params = None  # all of them, another player's entry among them


class Aggregate(NamedTuple):
    """What is known of the codes of a whole batch, of all devices."""

    posteriors: Distribution  # q(z|x_b), fields [B, *latent]
    draws: Array  # [B, *latent]  one z_b ~ q(z|x_b) of each: draws of the aggregate posterior
    prior: Distribution  # p(z)
    params: Params  # all of them, another player's entry among them
    key: Key  # the same on every device
    step: Array  # []  the number of steps taken


OfPosterior = Callable[[Code], Array]  # r1, [] nats
OfAggregate = Callable[[Aggregate], Array]  # r2, [] nats


def regularised(
    model: VAE,
    *,
    of_posterior: OfPosterior | None = None,
    of_aggregate: OfAggregate | None = None,
    num_samples: int = 1,
    shared: Shared = ALONE,
) -> Loss:
    """The negative ELBO with a price on each posterior and one on the aggregate posterior.

    -1/B Σ_b ELBO_b + 1/B Σ_b r1(q(z|x_b)) + r2(1/B Σ_b q(z|x_b))

    Args:
        model: whose draws have a path, and whose posterior can be drawn from.
        of_posterior: r1, weight included; None for none.
        of_aggregate: r2 as the batch tells it, weight included; None for none. It sees the rows of all devices, and
            makes the same number on each.
        num_samples: the draws that the likelihood is averaged over. r1 and r2 see one of them.
        shared: how the batch lies on the devices.

    Returns:
        The loss, with the metrics of `negative_bound` and "regulariser", r1 + r2. With an r2 it is a loss of a whole
        batch. It raises a ValueError where the draws have no path, or a code is no array.

    Example:
        A regulariser of your own, on the fourth moment of the aggregate posterior, which is 3 for a standard Gaussian:

        >>> from jaxvae.models import linear
        >>> from jaxvae.training import make_step, start
        >>> import optax
        >>> def tails(aggregate):
        ...     centred = aggregate.draws - jnp.mean(aggregate.draws, axis=0, keepdims=True)
        ...     return 10.0 * jnp.sum(jnp.square(jnp.mean(centred**4, axis=0) - 3.0))
        >>> model, optimizer = linear.linear_vae(latent=2), optax.sgd(1e-4)
        >>> step = jax.jit(make_step(regularised(model, of_aggregate=tails), optimizer))
        >>> xs = jax.random.normal(jax.random.key(0), (64, 3))
        >>> state = start(model.init(jax.random.key(1), xs[0]), optimizer)
        >>> state, metrics = step(state, jax.random.split(jax.random.key(2), 64), xs)
        >>> sorted(metrics)
        ['bound', 'gradient_norm', 'kl', 'log_likelihood', 'loss', 'regulariser']

    Source: Prince, "Understanding Deep Learning" (2023), equation 17.29, with λ1 and λ2 in r1 and r2.
    """

    def of_example(key: Key, params: Params, x: Any) -> tuple[Metrics, Array, tuple[Distribution, Array]]:
        terms = draw_terms(model, key, params, x, num_samples=num_samples)
        if terms.score is not None:
            raise ValueError("a price on codes needs draws with a path: give the model draw=pathwise")
        kl = jnp.mean(jnp.sum(terms.kl, axis=-1))
        metrics = {"bound": average(terms), "log_likelihood": jnp.mean(terms.log_likelihood), "kl": kl}
        posterior = model.posterior(params, x)
        draw = posterior.sample(jax.random.split(key, num_samples)[0])
        code = Code(posterior, draw if of_aggregate is None else checked(draw), kl, params)
        own = jnp.zeros_like(kl) if of_posterior is None else of_posterior(code)
        return metrics, own, (posterior, code.draw)

    def loss(keys: Key, params: Params, extra: Any, xs: Any, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        metrics, own, codes = jax.vmap(of_example, (0, None, 0))(keys, params, xs)
        metrics, price = jax.tree.map(jnp.mean, metrics), jnp.mean(own)
        if of_aggregate is not None:
            key = jax.random.fold_in(shared.rows(keys)[0], SHARED_DRAWS)
            posteriors, draws = shared.rows(codes)
            price = price + of_aggregate(Aggregate(posteriors, draws, model.prior(params), params, key, step))
        return price - metrics["bound"], (extra, metrics | {"regulariser": price})

    return loss if of_aggregate is None else OfWholeBatch(loss, "the aggregate posterior")


def drawn(key: Key, posterior: Distribution, num_samples: int = 1) -> Array:
    """The first of the draws that `jaxvae.bounds.draw_terms` makes with this key where draws have a path.

    Args:
        key: of the example.
        posterior: q(z|x).
        num_samples: k.

    Returns:
        [*latent].

    Raises:
        ValueError: a code of this model is no array.
    """
    return checked(posterior.sample(jax.random.split(key, num_samples)[0]))


def checked(code: Any) -> Array:
    """A code, where it is one array.

    Args:
        code: of any model.

    Returns:
        The code.

    Raises:
        ValueError: it is something else, a code with its condition say.
    """
    if not isinstance(code, jax.Array):
        raise ValueError(
            f"a price on codes needs codes that are one array, and those of this model are {type(code).__name__}: "
            "leave out the price, or take a model with one latent variable"
        )
    return code


def divergence(weight: float) -> OfPosterior:
    """A price on the divergence beside its own: with β - 1 the loss is that of a β-VAE.

    r1 = w KL(q(z|x) || p(z))

    Args:
        weight: w; -1 takes the divergence out of the loss.

    Returns:
        The price, for `regularised`.

    Example:
        >>> float(divergence(3.0)(Code(None, None, jnp.array(2.0))))
        6.0

    Source: Higgins et al., "β-VAE" (2017), equation 4; Zhao, Song & Ermon, "InfoVAE" (2019), equation 6.
    """
    return lambda code: weight * code.kl
