"""What `--objective.estimator` names: how a gradient is drawn, what it makes of the model, and what it descends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from jaxvae import draws, losses, networks
from jaxvae.draws import Draw
from jaxvae.losses import Loss
from jaxvae.model import VAE
from jaxvae.models import generalized_doubly_reparameterized
from jaxvae.run.choice import Above, AtLeast
from jaxvae.types import Distribution, Key, Network

PATH = {"model.posterior": {"path"}}
DENSE_PATH = {"model.posterior": {"path", "density"}}
DENSITY = {"model.posterior": {"density"}}
REACHES = frozenset({"reaches the likelihood"})


@dataclass(frozen=True)
class Estimator:
    """A gradient estimator; the value of the bound is the same for all."""

    way: ClassVar[Any]

    def draw(self) -> Callable[[Key, Distribution], Draw]:
        """How z is drawn."""
        return type(self).way

    def of_model(self, model: VAE) -> VAE:
        """What it makes of the model."""
        return model

    def loss(self, model: VAE, reduce: Any, **options: Any) -> Loss:
        """What training descends; options: num_samples, beta, at_once."""
        return losses.negative_bound(model, reduce, **options)


@dataclass(frozen=True)
class Pathwise(Estimator):
    """The path of the draw."""

    has: ClassVar = REACHES
    needs: ClassVar = PATH
    way: ClassVar = staticmethod(draws.pathwise)


@dataclass(frozen=True)
class StickingTheLanding(Estimator):
    """The path alone, without the density's own gradient."""

    has: ClassVar = REACHES
    needs: ClassVar = DENSE_PATH
    way: ClassVar = staticmethod(draws.sticking_the_landing)


@dataclass(frozen=True)
class DoublyReparameterized(Estimator):
    """The path twice, for bounds of several draws, unbiased for the true weight alone."""

    has: ClassVar = REACHES
    needs: ClassVar = DENSE_PATH | {"objective.bound": {"equal draws"}, "objective.price": {"unit weight"}}
    way: ClassVar = staticmethod(draws.doubly_reparameterized)


@dataclass(frozen=True)
class GeneralizedDoublyReparameterized(Estimator):
    """The same for a prior with parameters."""

    has: ClassVar = REACHES
    needs: ClassVar = DoublyReparameterized.needs | {"model.prior": {"moving gaussian"}}
    way: ClassVar = staticmethod(draws.pathwise)

    def of_model(self, model: VAE) -> VAE:
        """The model whose draws go back through the prior."""
        return generalized_doubly_reparameterized(model)


@dataclass(frozen=True)
class ScoreFunction(Estimator):
    """The score function, with the other draws for its baseline; it needs no path."""

    needs: ClassVar = DENSITY
    way: ClassVar = staticmethod(draws.score_function)


@dataclass(frozen=True)
class LearnedBaseline(Estimator):
    """The score function, with a network for its baseline."""

    needs: ClassVar = DENSITY | {"objective.bound": {"one bound"}}
    way: ClassVar = staticmethod(draws.score_function)
    width: Annotated[int, AtLeast(1)] = 100
    """Units of the network's hidden layer."""

    @property
    def baseline(self) -> Network:
        """The network, of an image."""
        return networks.mlp((self.width,), {"baseline": ()})

    def of_model(self, model: VAE) -> VAE:
        """The model with the network's params beside its own."""
        return losses.beside_baseline(model, self.baseline)

    def loss(self, model: VAE, reduce: Any, **options: Any) -> Loss:
        """What training descends."""
        return losses.with_baseline(model, reduce, self.baseline, **options)


@dataclass(frozen=True)
class StraightThrough(Estimator):
    """Discrete latents with the slope of relaxed ones."""

    has: ClassVar = REACHES
    needs: ClassVar = {"model.posterior": {"relaxed", "density"}}
    temperature: Annotated[float, Above(0)] = 1.0
    """A low one has less bias and more noise."""

    def draw(self) -> Callable[[Key, Distribution], Draw]:
        """How z is drawn."""
        return draws.straight_through(self.temperature)


@dataclass(frozen=True)
class Wake(Estimator):
    """Reweighted wake-sleep, whose bound is the importance-weighted one."""

    needs: ClassVar = DENSITY | {"objective.bound": {"all weights"}, "objective.price": {"unit weight"}}
    way: ClassVar = staticmethod(draws.score_function)
    descends: ClassVar[Any]

    def loss(self, model: VAE, reduce: Any, **options: Any) -> Loss:
        """What training descends, which has a bound and a weight of its own."""
        return type(self).descends(model, num_samples=options["num_samples"], at_once=options["at_once"])


@dataclass(frozen=True)
class WakeWake(Wake):
    """Reweighted wake-sleep: the encoder follows the true posterior at the image."""

    descends: ClassVar = staticmethod(losses.wake_wake)


@dataclass(frozen=True)
class WakeSleep(Wake):
    """Reweighted wake-sleep: the encoder follows the true posterior at dreams."""

    descends: ClassVar = staticmethod(losses.wake_sleep)


AnyEstimator = (
    Pathwise
    | StickingTheLanding
    | DoublyReparameterized
    | GeneralizedDoublyReparameterized
    | ScoreFunction
    | LearnedBaseline
    | StraightThrough
    | WakeWake
    | WakeSleep
)
