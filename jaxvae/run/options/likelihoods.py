"""What `--model.likelihood` names: the density of pixels, p(x|z)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp

from jaxvae import distributions, likelihoods
from jaxvae.distributions import above, with_least_scale
from jaxvae.networks import Free, Outputs
from jaxvae.run.choice import Above, AtLeast
from jaxvae.types import Array, Distribution, Shape

Density = tuple[Callable[..., Distribution], Outputs]  # named outputs -> the density, and what a network must give it
EACH = frozenset({"factorises"})
GREY = EACH | {"grey"}


@dataclass(frozen=True)
class Bernoulli:
    """Pixels that are zero or one."""

    has: ClassVar = EACH
    pixels: ClassVar = "binary"  # what they are: binary, grey in [0, 1], or levels of 8 bits
    mean_output: ClassVar[str | None] = "logits"  # the output that a pixel's mean, or its logit, is

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        return distributions.Bernoulli, distributions.Bernoulli.parameters(shape)


@dataclass(frozen=True)
class ContinuousBernoulli:
    """Grey pixels, by a Bernoulli's form with the right constant."""

    has: ClassVar = GREY
    pixels: ClassVar = "grey"
    mean_output: ClassVar[str | None] = "logits"

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        return distributions.ContinuousBernoulli, distributions.ContinuousBernoulli.parameters(shape)


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian of a fixed scale."""

    has: ClassVar = GREY
    pixels: ClassVar = "grey"
    mean_output: ClassVar[str | None] = "mean"
    scale: Annotated[float, Above(0)] = 0.1
    """The standard deviation of a pixel, pixels being in [0, 1]."""

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        return distributions.normal_with_scale(self.scale), {"mean": shape}


@dataclass(frozen=True)
class LearnedScale:
    """A density of grey pixels whose scale is learned, and does not fall below a floor."""

    pixels: ClassVar = "grey"
    mean_output: ClassVar[str | None] = "mean"
    least_scale: Annotated[float, Above(0)] = 0.004
    """The floor, pixels being in [0, 1]: about one level of 8 bits. Pixels that never change would take any smaller
    scale, and the density any value, the larger the longer is trained."""

    def scales(self, density: Any) -> Array:
        """The scale of each pixel, [*event], of a density that `of` makes."""
        return jnp.exp(jnp.broadcast_to(density.log_scale, density.expectation().shape))


@dataclass(frozen=True)
class GaussianShared(LearnedScale):
    """A Gaussian whose scale is one learned number for all pixels."""

    has: ClassVar = GREY

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        return with_least_scale(distributions.Normal, self.least_scale), {"mean": shape, "log_scale": Free(())}


@dataclass(frozen=True)
class GaussianPerPixel(LearnedScale):
    """A Gaussian whose scale is an output of the decoder for each pixel."""

    has: ClassVar = GREY

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        return with_least_scale(distributions.Normal, self.least_scale), distributions.Normal.parameters(shape)


@dataclass(frozen=True)
class Structured(LearnedScale):
    """A Gaussian with a covariance between neighbouring pixels; its scale is that of a pixel given those before it."""

    radius: Annotated[int, AtLeast(1)] = 1
    """How many rows and columns off a neighbour is."""

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        family, least = likelihoods.StructuredNormal, self.least_scale

        def likelihood(log_diagonal: Array, **outputs: Array) -> Distribution:
            return family(log_diagonal=-above(-log_diagonal, least), **outputs)  # of a precision's root

        return likelihood, family.parameters(shape, radius=self.radius)

    def scales(self, density: Any) -> Array:
        """The scale of each pixel given those before it, [*event], of a density that `of` makes."""
        return jnp.exp(-density.log_diagonal)


@dataclass(frozen=True)
class Laplace(LearnedScale):
    """A Laplace density whose scale is one learned number for all pixels."""

    has: ClassVar = GREY

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        return with_least_scale(distributions.Laplace, self.least_scale), {"mean": shape, "log_scale": Free(())}


@dataclass(frozen=True)
class StudentT(LearnedScale):
    """Student's t, for outliers."""

    word: ClassVar = "student-t"
    has: ClassVar = GREY
    mean_output: ClassVar[str | None] = None

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        outputs: Outputs = {"location": shape, "log_scale": Free(()), "log_degrees": Free((), 2.0)}
        return with_least_scale(distributions.StudentT, self.least_scale), outputs


@dataclass(frozen=True)
class Categorical:
    """Any probabilities of the 256 levels of 8-bit pixels."""

    has: ClassVar = EACH
    pixels: ClassVar = "levels"
    mean_output: ClassVar[str | None] = None

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        return likelihoods.PixelCategorical, likelihoods.PixelCategorical.parameters(shape)


@dataclass(frozen=True)
class BetaBinomial:
    """A beta-binomial of the 256 levels."""

    has: ClassVar = EACH
    pixels: ClassVar = "levels"
    mean_output: ClassVar[str | None] = None

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        return likelihoods.BetaBinomial, likelihoods.BetaBinomial.parameters(shape)


@dataclass(frozen=True)
class LogisticMixture:
    """A mixture of logistic densities of the 256 levels, whose channels follow each other."""

    pixels: ClassVar = "levels"
    mean_output: ClassVar[str | None] = None
    components: Annotated[int, AtLeast(1)] = 10
    """How many."""

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        mixture = likelihoods.DiscretizedLogisticMixture
        return mixture, mixture.parameters(shape, self.components)


@dataclass(frozen=True)
class Pixelcnn:
    """Binary pixels, one by one."""

    pixels: ClassVar = "binary"
    mean_output: ClassVar[str | None] = None
    condition: Literal["local", "global"] = "local"
    """What the code tells: something of its own for each pixel, or the same for all of them, which a posterior easily
    leaves unused."""
    radius: Annotated[int, AtLeast(1)] = 3
    """How many rows and columns back the first layer sees."""
    layers: Annotated[int, AtLeast(0)] = 3
    """The layers after the first, each of which sees one pixel further."""
    maps: Annotated[int, AtLeast(1)] = 16
    """Feature maps of every layer."""

    @property
    def needs(self) -> dict[str, set[str]]:
        """A code that is the same for all pixels is a vector, and convolutions give maps."""
        return {"model.network": {"vectors"}} if self.condition == "global" else {}

    def of(self, shape: Shape) -> Density:
        """p(x|z) of named outputs, and the outputs that the decoder must have."""
        local, pixels = self.condition == "local", likelihoods.AutoregressivePixels
        outputs = pixels.parameters(shape, local=local, radius=self.radius, layers=self.layers, maps=self.maps)
        return (pixels if local else likelihoods.globally_conditioned(shape)), outputs


AnyLikelihood = (
    Bernoulli
    | ContinuousBernoulli
    | Gaussian
    | GaussianShared
    | GaussianPerPixel
    | Structured
    | Laplace
    | StudentT
    | Categorical
    | BetaBinomial
    | LogisticMixture
    | Pixelcnn
)
