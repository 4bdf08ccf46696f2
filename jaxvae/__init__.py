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
    losses,
    mixture,
    multisample,
    networks,
    onehot,
    pixels,
    priors,
    renyi,
    semi_amortised,
    sphere,
    sylvester,
    thermodynamic,
    wake_sleep,
)
from jaxvae.bounds import batched, batched_elbo, batched_iwae_bound, bound, elbo, iwae_bound
from jaxvae.draws import doubly_reparameterized, pathwise, score_function, sticking_the_landing, straight_through
from jaxvae.evaluation import log_likelihood
from jaxvae.generalized import generalized_doubly_reparameterized
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
    "bound",
    "coupling",
    "distributions",
    "divergence",
    "doubly_reparameterized",
    "draws",
    "elbo",
    "flows",
    "gaussian",
    "generalized_doubly_reparameterized",
    "hamiltonian_vae",
    "iwae_bound",
    "linear",
    "load",
    "log_likelihood",
    "losses",
    "mixture",
    "multisample",
    "networks",
    "onehot",
    "pathwise",
    "pixels",
    "priors",
    "renyi",
    "score_function",
    "semi_amortised",
    "sphere",
    "standard_normal",
    "sticking_the_landing",
    "straight_through",
    "sylvester",
    "thermodynamic",
    "vae",
    "wake_sleep",
]
