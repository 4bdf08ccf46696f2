"""A VAE of the rows of a table, as the shell trains it: one recipe for each architecture."""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae import bounds, losses, training
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.model import VAE, vae
from jaxvae.networks import Free, Outputs, mlp
from jaxvae.priors import standard_normal
from jaxvae.run.fit import recipe_of
from jaxvae.run.recipe import Recipe
from jaxvae.types import Array, Distribution

SMALLEST_SCALE = 1e-3  # of a column's noise, in its standard deviations: the density of a constant column is unbounded


class Architecture(NamedTuple):
    """What a compiled program depends on."""

    features: int  # columns
    latent: int
    hidden: tuple[int, ...]  # of the encoder; the decoder has them in reverse
    likelihood: str  # "gaussian" or "bernoulli"


@lru_cache(maxsize=64)  # one object for each architecture: a compiled program is found by it
def model_of(architecture: Architecture) -> VAE:
    """The model of one standardised row.

    Args:
        architecture: of the model.

    Returns:
        The same object at every call.
    """
    features, latent, hidden, likelihood = architecture
    outputs: Outputs
    density: Callable[..., Distribution]
    if likelihood == "bernoulli":
        outputs, density = Bernoulli.parameters((features,)), Bernoulli
    else:
        outputs, density = {"mean": (features,), "log_scale": Free((features,), start=-0.5)}, _normal
    return vae(
        encoder=mlp(hidden, Normal.parameters((latent,))),
        decoder=mlp(hidden[::-1], outputs),
        prior=standard_normal((latent,)),
        likelihood=density,
    )


def _normal(mean: Array, log_scale: Array) -> Normal:
    smallest = jnp.asarray(math.log(SMALLEST_SCALE), log_scale.dtype)
    return Normal(mean, jnp.logaddexp(log_scale, smallest))


@lru_cache(maxsize=64)
def recipe_for(architecture: Architecture) -> Recipe:
    """How the model is trained: by the ELBO, with one step for every learning rate and any number of steps.

    Args:
        architecture: of the model.

    Returns:
        The same object at every call; the step is compiled once. Its course must have the optimizer `cosine`.
    """
    model = model_of(architecture)
    loss = losses.negative_bound(model, bounds.average)
    row = jnp.zeros((1, architecture.features))
    # An update reads the rate and the number of steps from its state: these are not what they were made with.
    step = training.make_step(loss, cosine(1.0, 1))
    made = recipe_of(model, row, loss=loss)
    return made._replace(init=jax.jit(made.init), step=lambda *of_a_run: step)


def cosine(lr: float, num_steps: int) -> optax.GradientTransformation:
    """Adam with a learning rate that falls to zero along a cosine; both numbers lie in its state, and are traced.

    Args:
        lr: at the start.
        num_steps: at zero.

    Returns:
        The transformation.
    """
    return optax.inject_hyperparams(_adam)(lr=lr, num_steps=float(num_steps))


def _adam(lr: Array, num_steps: Array) -> optax.GradientTransformation:
    return optax.adam(partial(_fallen, lr, num_steps))


def _fallen(lr: Array, num_steps: Array, step: Array) -> Array:
    return lr * 0.5 * (1 + jnp.cos(jnp.pi * step / num_steps))
