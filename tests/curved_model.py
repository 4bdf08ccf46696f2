"""A nonlinear model with two latents whose log p(x), posterior moments and best bounds are quadratures."""

import jax.numpy as jnp
import numpy as np

from jaxvae.distributions import normal_with_scale
from jaxvae.model import standard_normal, vae
from jaxvae.types import Network

SCALE = 0.4
X = np.array([0.9, 0.7, -0.5])


def curve(z, library):
    """f(z), [*, 2] -> [*, 3]: its posterior has two bent modes."""
    first, second = z[..., 0], z[..., 1]
    return library.stack([library.sin(1.5 * first) + 0.5 * second, first**2 / 2, first * second], axis=-1)


def curved_vae():
    """z ~ N(0, I), x ~ N(f(z), σ² I), and a poor but wide encoder."""
    encoder = Network(
        lambda key, x: {}, lambda params, x: {"mean": 0.8 * x[:2], "log_scale": jnp.full(2, -0.2, x.dtype)}
    )
    decoder = Network(lambda key, z: {}, lambda params, z: {"mean": curve(z, jnp)})
    return vae(encoder=encoder, decoder=decoder, prior=standard_normal((2,)), likelihood=normal_with_scale(SCALE))


PARAMS: dict = {"prior": {}, "encoder": {}, "decoder": {}}


def quadrature(x):
    """log p(x), and the posterior mean and second moments of z, on a grid."""
    axis = np.linspace(-7, 7, 1401)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    log_joint = (
        -0.5 * np.sum(z**2, axis=-1)
        - np.log(2 * np.pi)
        - 0.5 * np.sum(((x - curve(z, np)) / SCALE) ** 2, axis=-1)
        - 3 * np.log(SCALE * np.sqrt(2 * np.pi))
    )
    cell = (axis[1] - axis[0]) ** 2
    density = np.exp(log_joint - log_joint.max())
    log_marginal = np.log(density.sum() * cell) + log_joint.max()
    density = density / density.sum()
    return log_marginal, np.einsum("ij,ijk->k", density, z), np.einsum("ij,ijk->k", density, z**2)
