from . import (
    bounds,
    distributions,
    draws,
    evaluation,
    flows,
    latent,
    likelihoods,
    losses,
    models,
    networks,
    priors,
    training,
)
from .bounds import batched, batched_elbo, batched_iwae_bound, bound, elbo, iwae_bound
from .draws import doubly_reparameterized, pathwise, score_function, sticking_the_landing, straight_through
from .evaluation import log_likelihood
from .model import VAE, Terms, autoencoder, standard_normal, vae
from .models import checked, generalized_doubly_reparameterized
from .run.fit import fit
from .run.folder.opening import load
from .run.scikit import VAEEstimator
from .run.share.export import export
from .run.share.hub import from_hub, push
from .types import Network

__version__: str
__all__ = [
    "VAE",
    "Network",
    "Terms",
    "VAEEstimator",
    "autoencoder",
    "batched",
    "batched_elbo",
    "batched_iwae_bound",
    "bound",
    "bounds",
    "checked",
    "distributions",
    "doubly_reparameterized",
    "draws",
    "elbo",
    "evaluation",
    "export",
    "fit",
    "flows",
    "from_hub",
    "generalized_doubly_reparameterized",
    "iwae_bound",
    "latent",
    "likelihoods",
    "load",
    "log_likelihood",
    "losses",
    "models",
    "networks",
    "pathwise",
    "priors",
    "push",
    "score_function",
    "standard_normal",
    "sticking_the_landing",
    "straight_through",
    "training",
    "vae",
]
