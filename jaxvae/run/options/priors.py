"""What `--model.prior` names: p(z)."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from jaxvae.distributions import MaskedNormal
from jaxvae.flows import affine_coupling
from jaxvae.priors import Prior, correlated_normal, learned, normal_mixture, vamp_prior
from jaxvae.run.choice import AtLeast, Between

REALS = {"model.posterior": {"reals"}}


@dataclass(frozen=True)
class Standard:
    """N(0, I), or uniform on a sphere and over discrete latents."""

    def of(self, latent: int, posterior: Any) -> Prior:
        """The prior of a model with this posterior."""
        return posterior.standard(latent)


@dataclass(frozen=True)
class Learned:
    """A Gaussian, or a density of discrete latents, with learned parameters."""

    has: ClassVar = frozenset({"moving gaussian"})
    needs: ClassVar = {"model.posterior": {"family"}}

    def of(self, latent: int, posterior: Any) -> Prior:
        """The prior of a model with this posterior."""
        return learned(posterior.family, posterior.shape(latent))


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians."""

    needs: ClassVar = REALS
    components: Annotated[int, AtLeast(1)] = 500
    """How many."""
    spread: Annotated[float, AtLeast(0)] = 1.0
    """The standard deviation of their means at the start."""

    def of(self, latent: int, posterior: Any) -> Prior:
        """The prior of a model with this posterior."""
        return normal_mixture((latent,), num_components=self.components, spread=self.spread)


@dataclass(frozen=True)
class Vamp:
    """The mixture of the posteriors of learned pseudo-inputs."""

    needs: ClassVar = {"model.posterior": {"mixable"}}
    components: Annotated[int, AtLeast(1)] = 500
    """How many."""
    learned_weights: bool = False
    """Learn the weights of the mixture; otherwise all are the same."""

    def of(self, latent: int, posterior: Any) -> Prior:
        """The prior of a model with this posterior."""
        return vamp_prior(num_components=self.components, learned_weights=self.learned_weights)


@dataclass(frozen=True)
class Flow:
    """A Gaussian carried through affine coupling transforms."""

    needs: ClassVar = REALS
    flows: Annotated[int, AtLeast(1)] = 4
    """How many transforms."""
    hidden: Annotated[int, AtLeast(1)] = 64
    """Units of the network in each."""

    def of(self, latent: int, posterior: Any) -> Prior:
        """The prior of a model with this posterior."""
        return learned(affine_coupling, (latent,), num_flows=self.flows, hidden=self.hidden)


@dataclass(frozen=True)
class Autoregressive:
    """One dimension given those before it."""

    needs: ClassVar = REALS
    hidden: Annotated[int, AtLeast(1)] = 128
    """Units of its network."""

    def of(self, latent: int, posterior: Any) -> Prior:
        """The prior of a model with this posterior."""
        return learned(MaskedNormal, (latent,), hidden=self.hidden)


@dataclass(frozen=True)
class Correlated:
    """Standard Gaussians correlated with their neighbours, which no independent posterior can match (the delta-VAE)."""

    needs: ClassVar = REALS
    correlation: Annotated[float, Between(-1, 1)] = 0.95
    """Between neighbours."""

    def of(self, latent: int, posterior: Any) -> Prior:
        """The prior of a model with this posterior."""
        return correlated_normal((latent,), correlation=self.correlation)


AnyPrior = Standard | Learned | Mixture | Vamp | Flow | Autoregressive | Correlated
