"""Losses of several players, each with an entry of the params of its own; and the first such game, FactorVAE's."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvae.distributions import softplus
from jaxvae.losses.aggregate import SHARED_DRAWS, checked, drawn, regularised
from jaxvae.losses.base import ALONE, Loss, Metrics, OfWholeBatch, Shared
from jaxvae.losses.correlation import density_ratio
from jaxvae.model import VAE
from jaxvae.types import Array, Key, Network, Params


def players(losses: Mapping[str, Loss], *, rest: Loss) -> Loss:
    """One loss whose gradient is, for each player, that of its own loss: all move at once.

    ∇_{θ_p} L = ∇_{θ_p} L_p,    p a top-level entry of the params, or all the others together

    Args:
        losses: entry of the params -> what it descends.
        rest: what all other entries descend, the model's; its value is the "loss" that is reported.

    Returns:
        The loss, with the metrics of `rest` and each player's loss as "ENTRY_loss". It is one of a whole batch where
        one of them is. `optimizer_of_players` gives each player its own optimizer.

    Example:
        >>> fall = lambda keys, params, extra, xs, step: (params["a"] * params["b"], (extra, {}))
        >>> rise = lambda keys, params, extra, xs, step: (-params["a"] * params["b"], (extra, {}))
        >>> game = players({"b": rise}, rest=fall)
        >>> start = {"a": jnp.array(2.0), "b": jnp.array(5.0)}
        >>> gradient = jax.grad(lambda params: game(None, params, (), None, None)[0])(start)
        >>> float(gradient["a"]), float(gradient["b"])
        (5.0, -2.0)

    Source: simultaneous gradient descent, Goodfellow et al., "Generative Adversarial Nets" (2014), algorithm 1.
    """

    def loss(keys: Key, params: Params, extra: Any, xs: Any, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        missing = [name for name in losses if name not in params]
        if missing:
            raise ValueError(
                f"the player {missing[0]!r} has no entry in the params, which are {', '.join(params)}: begin with them"
            )
        fixed = jax.lax.stop_gradient(params)
        of_rest = params | {name: fixed[name] for name in losses}
        value, (extra, metrics) = rest(keys, of_rest, extra, xs, step)
        for name, of_player in losses.items():
            own, _ = of_player(keys, fixed | {name: params[name]}, extra, xs, step)
            value = value + own - jax.lax.stop_gradient(own)
            metrics = metrics | {f"{name}_loss": own}
        return value, (extra, metrics)

    whole = [one.looks_at for one in (rest, *losses.values()) if isinstance(one, OfWholeBatch)]
    return OfWholeBatch(loss, whole[0]) if whole else loss


def optimizer_of_players(
    optimizers: Mapping[str, optax.GradientTransformation], *, rest: optax.GradientTransformation
) -> optax.GradientTransformation:
    """One optimizer for all players, each of which has its own: clipping, schedule, betas.

    After any number of steps the params are those of separate optimizers, one for each player.

    Args:
        optimizers: top-level entry of the params -> its optimizer.
        rest: of all other entries.

    Returns:
        The optax transformation.

    Example:
        >>> both = optimizer_of_players({"b": optax.sgd(1.0)}, rest=optax.sgd(0.1))
        >>> params = {"a": jnp.ones(()), "b": jnp.ones(())}
        >>> updates, _ = both.update(params, both.init(params), params)
        >>> round(float(updates["a"]), 3), float(updates["b"])
        (-0.1, -1.0)
    """

    def labels(params: Params) -> Any:
        return {
            name: jax.tree.map(lambda _, name=name: name if name in optimizers else "", entry)
            for name, entry in params.items()
        }

    return optax.partition({"": rest, **optimizers}, labels)


def factor(model: VAE, discriminator: Network, *, weight: float, num_samples: int = 1, shared: Shared = ALONE) -> Loss:
    """FactorVAE: the model pays for the dependence of its latents, and a discriminator learns to tell it.

    the model:          -ELBO + γ 1/B Σ_b logit D(z_b)
    the discriminator:  -½ 1/B Σ_b ln D(z_b) - ½ 1/B Σ_b ln (1 - D(z̃_b))

    z̃ are the codes of the batch, each dimension of which is permuted over the batch by itself. The paper permutes those
    of a second batch; here, as in the library of Locatello et al., they are those of the same.

    Args:
        model: `beside_discriminator`, whose latents are z [D].
        discriminator: z -> {"logit": []}.
        weight: γ.
        num_samples: the draws that the likelihood is averaged over.
        shared: how the batch lies on the devices.

    Returns:
        The loss of both players, with the metrics of `regularised` and "discriminator_loss", ln 2 where it cannot tell.

    Source: Kim & Mnih, "Disentangling by Factorising" (2018), algorithm 2.
    """

    def telling(keys: Key, params: Params, extra: Any, xs: Any, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        zs = jax.vmap(lambda key, x: drawn(key, model.posterior(params, x), num_samples))(keys, xs)
        key = jax.random.fold_in(shared.rows(keys)[0], SHARED_DRAWS)
        mixed = shared.part(permuted(key, shared.rows(zs)))

        def logits(of: Array) -> Array:
            return jax.vmap(lambda z: discriminator.apply(params["discriminator"], z)["logit"])(of)

        loss = 0.5 * (jnp.mean(softplus(-logits(zs))) + jnp.mean(softplus(logits(mixed))))
        return loss, (extra, {})

    paying = regularised(
        model, of_aggregate=density_ratio(weight, discriminator), num_samples=num_samples, shared=shared
    )
    return players({"discriminator": telling}, rest=paying)


def permuted(key: Key, zs: Array) -> Array:
    """Codes whose dimensions are permuted over the batch, each by itself: the marginals are kept, nothing else.

    Args:
        key: for the permutations.
        zs: [B, D].

    Returns:
        [B, D].

    Raises:
        ValueError: the codes are no vectors.

    Source: Kim & Mnih (2018), algorithm 1.
    """
    if zs.ndim != 2:
        raise ValueError(f"dimensions are permuted of codes [B, D], and these are {zs.shape}")
    return jax.vmap(jax.random.permutation, (0, 1), 1)(jax.random.split(key, zs.shape[1]), zs)


def of_codes(model: VAE, params: Params, x: Any) -> tuple[Any, ...]:
    """What a discriminator of codes sees: z [*latent].

    Raises:
        ValueError: a code of this model is no array.
    """
    return (checked(model.posterior(params, x).expectation()),)


def of_pairs(model: VAE, params: Params, x: Any) -> tuple[Any, ...]:
    """What a discriminator of examples with their codes sees: x [*event] and z [*latent].

    Raises:
        ValueError: a code of this model is no array.
    """
    return (x, *of_codes(model, params, x))


def of_examples(model: VAE, params: Params, x: Any) -> tuple[Any, ...]:
    """What a discriminator of examples sees: x [*event]."""
    return (x,)


def beside_discriminator(
    model: VAE, discriminator: Network, *, sees: Callable[[VAE, Params, Any], tuple[Any, ...]] = of_codes
) -> VAE:
    """The model whose params begin with those of a discriminator beside its own.

    Args:
        model: any.
        discriminator: of z, or of what it sees -> {"logit": []}.
        sees: (model, its params, x) -> the inputs of the discriminator: `of_codes`, `of_pairs` or `of_examples`.

    Returns:
        The model with another `init`, which adds the entry "discriminator".

    Raises:
        ValueError: when params are made, and the model has such an entry already, or its codes are no arrays.
    """

    def init(key: Key, x: Any) -> Params:
        key_model, key_discriminator = jax.random.split(key)
        params = model.init(key_model, x)
        if "discriminator" in params:
            raise ValueError(
                'the params of this model have an entry "discriminator" of their own; give it another name'
            )
        return params | {"discriminator": discriminator.init(key_discriminator, *sees(model, params, x))}

    return model._replace(init=init)
