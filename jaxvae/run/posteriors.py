"""The models of `--model.posterior`: most are a density for `jaxvae.vae`, some a model around another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from jaxvae.distributions import Normal
from jaxvae.model import VAE, vae
from jaxvae.models import auxiliary_vae, hamiltonian_vae, reading_both, semi_amortised
from jaxvae.run import densities
from jaxvae.run.structures import WIDTHS, Parts, with_planes
from jaxvae.types import Shape

if TYPE_CHECKING:
    from jaxvae.run import config as configuration


def plain(model: configuration.Model, shape: Shape, parts: Parts) -> VAE:
    """An encoder whose outputs are the parameters of q(z|x), with any prior.

    Args:
        model: of a configuration.
        shape: [H, W, C] of an image.
        parts: what every model is made of.

    Returns:
        The model.
    """
    posterior, outputs = densities.posterior_of(model)
    encoder, decoder = map(parts.cast, parts.pair(outputs, parts.outputs))
    return vae(
        encoder=encoder,
        decoder=decoder,
        prior=densities.prior_of(model),
        posterior=posterior,
        likelihood=parts.likelihood,
        draw=parts.draw,
    )


def auxiliary(model: configuration.Model, shape: Shape, parts: Parts) -> VAE:
    """A Gaussian given the image and an auxiliary variable, which has as many dimensions as z."""
    network, decoder = map(parts.cast, parts.pair(Normal.parameters((model.latent,)), parts.outputs))
    both = reading_both(network) if model.network in WIDTHS else with_planes(network)
    return auxiliary_vae(
        auxiliary_encoder=network,
        encoder=both,
        reverse=both,
        decoder=decoder,
        prior=densities.prior_of(model),
        likelihood=parts.likelihood,
    )


def hamiltonian(model: configuration.Model, shape: Shape, parts: Parts) -> VAE:
    """A Gaussian whose draws are moved along p(x, z)."""
    return hamiltonian_vae(plain(model, shape, parts), num_leapfrog=model.inference_steps)


def refined(model: configuration.Model, shape: Shape, parts: Parts) -> VAE:
    """A Gaussian after steps of ascent on the bound."""
    return semi_amortised(plain(model, shape, parts), num_steps=model.inference_steps, draw=parts.draw)


MODELS: Mapping[str, Callable[[configuration.Model, Shape, Parts], VAE]] = {
    "auxiliary": auxiliary,
    "hamiltonian": hamiltonian,
    "semi-amortised": refined,
}
