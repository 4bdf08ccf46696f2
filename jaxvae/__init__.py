"""Variational auto-encoders in JAX: a model yields terms, a bound reduces them, a step ascends the bound."""

from jaxvae import (
    autoregressive,
    auxiliary,
    coupling,
    distributions,
    divergence,
    draws,
    flows,
    gaussian,
    hamiltonian_vae,
    linear,
    mixture,
    networks,
    pixels,
    priors,
    semi_amortised,
    sphere,
    sylvester,
)
from jaxvae.bounds import batched, batched_elbo, batched_iwae_bound, elbo, iwae_bound
from jaxvae.draws import doubly_reparameterized, pathwise, sticking_the_landing
from jaxvae.evaluation import log_likelihood
from jaxvae.model import VAE, Terms, autoencoder, standard_normal, vae
from jaxvae.types import Network

__version__ = "0.1.0"


def load(folder, *, seed: int = 0):
    """The model and the parameters of a run folder; see `jaxvae.run.folder.load`."""
    from jaxvae.run.folder import load  # the shell brings Orbax and matplotlib's weight: only where it is used

    return load(folder, seed=seed)


def __getattr__(name: str):
    """`VAEEstimator`, which brings scikit-learn: only where it is used."""
    if name == "VAEEstimator":
        from jaxvae.run.estimator import VAEEstimator

        return VAEEstimator
    raise AttributeError(f"module 'jaxvae' has no attribute {name!r}")


__all__ = [
    "VAE",
    "Network",
    "Terms",
    "VAEEstimator",
    "autoencoder",
    "autoregressive",
    "auxiliary",
    "batched",
    "batched_elbo",
    "batched_iwae_bound",
    "coupling",
    "distributions",
    "divergence",
    "doubly_reparameterized",
    "draws",
    "elbo",
    "flows",
    "gaussian",
    "hamiltonian_vae",
    "iwae_bound",
    "linear",
    "load",
    "log_likelihood",
    "mixture",
    "networks",
    "pathwise",
    "pixels",
    "priors",
    "semi_amortised",
    "sphere",
    "standard_normal",
    "sticking_the_landing",
    "sylvester",
    "vae",
]
