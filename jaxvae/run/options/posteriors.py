"""What `--model.posterior` names: q(z|x), and for some a model around it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import jax.numpy as jnp

from jaxvae import distributions, flows
from jaxvae.model import VAE, vae
from jaxvae.models import auxiliary_vae, hamiltonian_vae, semi_amortised
from jaxvae.networks import Outputs
from jaxvae.priors import Prior, standard_normal
from jaxvae.run.choice import Above, AtLeast
from jaxvae.run.options.parts import Parts
from jaxvae.types import Distribution, Shape

Density = tuple[Callable[..., Distribution], Outputs]  # named outputs -> the density, and what a network must give it
REAL = frozenset({"reals", "path", "density", "mixable", "family"})


@dataclass(frozen=True)
class OfReals:
    """Latents that are vectors of real numbers, with N(0, I) for their standard prior."""

    has: ClassVar = REAL
    density: ClassVar[Any] = distributions.Normal

    def shape(self, latent: int) -> Shape:
        """The shape of z."""
        return (latent,)

    def of(self, latent: int) -> Density:
        """q(z|x) of named outputs, and the outputs that the encoder must have."""
        return self.density, self.density.parameters(self.shape(latent))

    def standard(self, latent: int) -> Prior:
        """The prior that has no parameters."""
        return standard_normal(self.shape(latent))

    @property
    def family(self) -> Any:
        """Of a learned prior."""
        return distributions.Normal

    def model(self, latent: int, parts: Parts, prior: Prior) -> VAE:
        """The model: an encoder whose outputs are the parameters of q(z|x)."""
        posterior, outputs = self.of(latent)
        encoder, decoder = parts.pair(outputs)
        return vae(
            encoder=encoder,
            decoder=decoder,
            prior=prior,
            posterior=posterior,
            likelihood=parts.likelihood,
            draw=parts.draw,
        )


@dataclass(frozen=True)
class Normal(OfReals):
    """A diagonal Gaussian."""

    has: ClassVar = REAL | {"independent"}


@dataclass(frozen=True)
class Full(OfReals):
    """A Gaussian with a full covariance."""

    density: ClassVar[Any] = distributions.FullNormal


@dataclass(frozen=True)
class Flow(OfReals):
    """A diagonal Gaussian that is carried through transforms of one kind."""

    flows: Annotated[int, AtLeast(1)] = 4
    """How many transforms follow each other."""
    amortised: bool = True
    """Whether the encoder gives the parameters of the transforms, or they are the same for every image."""

    def of(self, latent: int) -> Density:
        """q(z|x) of named outputs, and the outputs that the encoder must have."""
        own = {name: value for name, value in vars(self).items() if name not in ("flows", "amortised")}
        flow = self.density
        return flow, flow.parameters((latent,), num_flows=self.flows, amortised=self.amortised, **own)


@dataclass(frozen=True)
class Planar(Flow):
    """Transforms that stretch the space along one direction."""

    density: ClassVar[Any] = flows.planar


@dataclass(frozen=True)
class Radial(Flow):
    """Transforms that move the space away from a point."""

    density: ClassVar[Any] = flows.radial


@dataclass(frozen=True)
class SylvesterOrthogonal(Flow):
    """Transforms of a subspace of several dimensions."""

    density: ClassVar[Any] = flows.orthogonal_sylvester
    columns: Annotated[int, AtLeast(1)] = 8
    """Dimensions of the subspace; at most those of z."""


@dataclass(frozen=True)
class SylvesterHouseholder(Flow):
    """The same, the subspace made by reflections."""

    density: ClassVar[Any] = flows.householder_sylvester
    columns: Annotated[int, AtLeast(1)] = 8
    """Dimensions of the subspace; at most those of z."""
    reflections: Annotated[int, AtLeast(1)] = 4
    """Of the whole space, which turn it."""


@dataclass(frozen=True)
class SylvesterTriangular(Flow):
    """The same in all dimensions, whose order is turned from one transform to the next."""

    density: ClassVar[Any] = flows.triangular_sylvester


@dataclass(frozen=True)
class Iaf(Flow):
    """Inverse autoregressive transforms."""

    density: ClassVar[Any] = flows.inverse_autoregressive
    hidden: Annotated[int, AtLeast(1)] = 320
    """Units of the network in each transform."""


@dataclass(frozen=True)
class Coupling(Flow):
    """Affine transforms of one half of the latents, given the other."""

    density: ClassVar[Any] = flows.affine_coupling
    hidden: Annotated[int, AtLeast(1)] = 64
    """Units of the network in each transform."""


@dataclass(frozen=True)
class Spline(Flow):
    """The same by monotone splines."""

    density: ClassVar[Any] = flows.neural_spline
    hidden: Annotated[int, AtLeast(1)] = 64
    """Units of the network in each transform."""
    bins: Annotated[int, AtLeast(2)] = 8
    """Pieces of each spline."""


@dataclass(frozen=True)
class Mixture(OfReals):
    """A mixture of diagonal Gaussians."""

    components: Annotated[int, AtLeast(1)] = 10
    """How many."""

    def of(self, latent: int) -> Density:
        """q(z|x) of named outputs, and the outputs that the encoder must have."""
        mixture = distributions.NormalMixture
        return mixture, mixture.parameters((latent,), components=self.components)


@dataclass(frozen=True)
class VonMisesFisher(OfReals):
    """A density on the sphere, whose standard prior is uniform."""

    has: ClassVar = frozenset({"path", "density", "mixable"})
    density: ClassVar[Any] = distributions.VonMisesFisher

    def standard(self, latent: int) -> Prior:
        """The prior that has no parameters."""
        return _constant(distributions.UniformSphere, self.shape(latent))

    def model(self, latent: int, parts: Parts, prior: Prior) -> VAE:
        """The model."""
        if latent < 3:
            raise ValueError(f"--model.posterior von-mises-fisher needs --model.latent 3 at least, not {latent}")
        return super().model(latent, parts, prior)


@dataclass(frozen=True)
class Auxiliary(OfReals):
    """A Gaussian given the image and an auxiliary variable, which has as many dimensions as z."""

    has: ClassVar = frozenset({"reals", "path", "family"})

    def model(self, latent: int, parts: Parts, prior: Prior) -> VAE:
        """The model."""
        network, decoder = parts.pair(distributions.Normal.parameters((latent,)))
        both = parts.network.told(network)
        return auxiliary_vae(
            auxiliary_encoder=network,
            encoder=both,
            reverse=both,
            decoder=decoder,
            prior=prior,
            likelihood=parts.likelihood,
        )


@dataclass(frozen=True)
class Hamiltonian(OfReals):
    """A Gaussian whose draws are moved along p(x, z)."""

    has: ClassVar = frozenset({"reals", "path", "mixable", "family"})
    steps: Annotated[int, AtLeast(1)] = 5
    """How many leapfrog steps a draw takes."""
    step_size: Annotated[float, Above(0)] = 0.05
    """Of each, at the start; it is learned."""

    def model(self, latent: int, parts: Parts, prior: Prior) -> VAE:
        """The model."""
        return hamiltonian_vae(super().model(latent, parts, prior), num_leapfrog=self.steps, step_size=self.step_size)


@dataclass(frozen=True)
class SemiAmortised(OfReals):
    """A Gaussian that is refined by steps of ascent on the bound."""

    steps: Annotated[int, AtLeast(1)] = 5
    """How many."""
    step_size: Annotated[float, Above(0)] = 0.1
    """Of each."""

    def model(self, latent: int, parts: Parts, prior: Prior) -> VAE:
        """The model."""
        begun = super().model(latent, parts, prior)
        return semi_amortised(begun, num_steps=self.steps, step_size=self.step_size, draw=parts.draw)


@dataclass(frozen=True)
class Bernoulli(OfReals):
    """Latents that are zeros and ones, whose standard prior is uniform."""

    has: ClassVar = frozenset({"density", "mixable", "relaxed", "family"})
    density: ClassVar[Any] = distributions.Bernoulli

    @property
    def family(self) -> Any:
        """Of a learned prior."""
        return self.density

    def standard(self, latent: int) -> Prior:
        """The prior that has no parameters."""
        return _constant(self.density, self.shape(latent))


@dataclass(frozen=True)
class OneHot(Bernoulli):
    """Latents of several classes each, whose standard prior is uniform."""

    density: ClassVar[Any] = distributions.OneHot
    classes: Annotated[int, AtLeast(2)] = 10
    """Of each latent."""

    def shape(self, latent: int) -> Shape:
        """The shape of z, [D, K]."""
        return (latent, self.classes)


def _constant(family: Callable[..., Distribution], shape: Shape) -> Prior:
    """The uniform prior of a family that is uniform at zeros."""
    return Prior(init=lambda key, x: {}, apply=lambda params, posterior: family(jnp.zeros(shape)))


AnyPosterior = (
    Normal
    | Full
    | Planar
    | Radial
    | SylvesterOrthogonal
    | SylvesterHouseholder
    | SylvesterTriangular
    | Iaf
    | Coupling
    | Spline
    | Mixture
    | VonMisesFisher
    | Auxiliary
    | Hamiltonian
    | SemiAmortised
    | Bernoulli
    | OneHot
)
