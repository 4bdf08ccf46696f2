"""Priors p(z), with parameters of their own or with the posterior's.

Most are a family of distributions whose parameters are learned, by `learned`: a diagonal Gaussian, a normalising flow,
an autoregressive density. The mixture of posteriors at pseudo-inputs is in `jaxvae.priors`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.distributions import Normal, NormalMixture
from jaxvae.networks import Free
from jaxvae.types import Array, Distribution, Key, Params, Shape

Posterior = Callable[[Array], Distribution]  # x [*event] -> q(z|x)
Start = float | Callable[[Key, Shape], Array]  # a number, or (key, shape) -> a parameter before the first step


class Prior(NamedTuple):
    """A pure prior: any pair of functions. Most take nothing but their params."""

    init: Callable[[Key, Array], Params]  # (key, x) -> params; x [*event] is any example, for its shape
    apply: Callable[[Params, Posterior], Distribution]  # (params, the model's posterior) -> the distribution of z


def standard_normal(shape: Shape) -> Prior:
    """The prior N(0, I), which has no parameters.

    Args:
        shape: the shape of z.

    Returns:
        The prior.
    """
    return Prior(init=lambda key, x: {}, apply=lambda params, posterior: Normal(jnp.zeros(shape), jnp.zeros(shape)))


def learned(family: Any, shape: Shape, *, start: dict[str, Start] | None = None, **options: Any) -> Prior:
    """A prior of any family of distributions, whose parameters are learned beside the networks.

    Args:
        family: what has `parameters(shape, **options)`, named outputs, and makes a distribution when it is called with
            them: `Normal`, `jaxvae.distributions.MaskedNormal`, a flow of `jaxvae.flows`.
        shape: the shape of z.
        start: the first values of parameters, by name; others start at zero, or where their `Free` says.
        options: of `family.parameters`.

    Returns:
        The prior; its params are the named outputs.

    Raises:
        ValueError: `start` names a parameter that the family does not have.

    Example:
        >>> prior = learned(Normal, (2,), start={"mean": 0.5})
        >>> params = prior.init(jax.random.key(0), jnp.zeros(()))
        >>> prior.apply(params, None).expectation()
        Array([0.5, 0.5], dtype=float32)

    Source: Hoffman & Johnson, "ELBO surgery" (2016), section 2, for Gaussians; Chen et al., "Variational Lossy
    Autoencoder" (2017), section 3.2, for flows.
    """
    starts = start or {}
    outputs = family.parameters(shape, **options)
    for name in starts:
        if name not in outputs:
            raise ValueError(f"start names {name!r}, and this prior has the parameters {', '.join(outputs)}")
    free = {
        name: output if isinstance(output, Free) else Free(output, starts.get(name, 0.0))
        for name, output in outputs.items()
    }
    free |= {name: Free(free[name].shape, first) for name, first in starts.items()}

    def init(key: Key, x: Array) -> Params:
        keys = jax.random.split(key, len(free))
        return {name: free[name].first_value(key, free[name].shape) for key, name in zip(keys, free, strict=True)}

    return Prior(init, lambda params, posterior: family(**params))


def normal_mixture(shape: Shape, *, num_components: int, spread: float = 1.0) -> Prior:
    """A mixture of diagonal Gaussians with learned weights, means and scales.

    Args:
        shape: the shape of z.
        num_components: C.
        spread: of the means before the first step, which are drawn from N(0, spread²); the scales start at one.

    Returns:
        The prior; its params are "logits" [C], "mean" and "log_scale" [C, *latent].

    Raises:
        ValueError: there is no component.

    Source: Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational Autoencoders" (2016).
    """
    if num_components < 1:
        raise ValueError(f"num_components={num_components}: a mixture has at least one component")

    start: dict[str, Start] = {"mean": lambda key, shape: spread * jax.random.normal(key, shape)}
    return learned(NormalMixture, shape, start=start, components=num_components)
