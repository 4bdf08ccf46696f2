"""Members of `--objective.price` that make a loss of their own, of the codes of a whole batch most of them."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import jax
import optax

from jaxvae import losses, networks
from jaxvae.losses import Loss
from jaxvae.model import VAE
from jaxvae.run import RunError
from jaxvae.run.choice import Above, AtLeast, Between, Within, named
from jaxvae.run.options.discriminators import LEAKY, Discriminator
from jaxvae.run.recipe import Plan
from jaxvae.types import Network

OWN_COST = {"objective.bound": {"terms"}, "objective.estimator": {"reaches the likelihood"}}
CODES = OWN_COST | {"model.posterior": {"reals", "path", "density"}}
APART = OWN_COST | {"model.posterior": {"independent"}}


@dataclass(frozen=True)
class OwnLoss:
    """A price that makes the loss."""

    needs: ClassVar[Any] = OWN_COST
    looks_at: ClassVar[str] = ""  # what of a whole batch; "" where the loss is a mean over examples

    def of_model(self, model: VAE) -> VAE:
        """The model, with another player's params beside its own where there is one."""
        return model

    def optimizer(self, configured: optax.GradientTransformation) -> optax.GradientTransformation:
        """That of all players, of which the model has the configured one."""
        return configured

    def extra(self) -> Any:
        """What the loss keeps beside the params before the first step."""
        return ()

    def loss(self, model: VAE, plan: Plan, *, num_samples: int) -> Loss:
        """What training descends."""
        raise NotImplementedError


@dataclass(frozen=True)
class TotalCorrelation(OwnLoss):
    """A weight for the dependence of the latents, by the densities of the batch (beta-TCVAE)."""

    needs: ClassVar = APART
    looks_at: ClassVar = "the aggregate posterior"
    beta: Annotated[float, AtLeast(0)] = 6.0
    """The weight of the total correlation; 1 is the bound itself."""
    sampling: Literal["stratified", "weighted"] = "stratified"
    """How the batch stands for the data set: with weights that are unbiased, or with even ones."""

    def loss(self, model: VAE, plan: Plan, *, num_samples: int) -> Loss:
        """The ELBO, less beta - 1 times the total correlation."""
        ways = {"stratified": losses.stratified_log_weights, "weighted": losses.weighted_log_weights}

        def log_weights(batch_size: int) -> jax.Array:
            return ways[self.sampling](plan.steps_per_epoch * batch_size, batch_size)  # as many as an epoch visits

        price = losses.total_correlation(self.beta - 1, log_weights)
        return losses.regularised(model, of_aggregate=price, num_samples=num_samples, shared=plan.shared)


@dataclass(frozen=True)
class WithDiscriminator(Discriminator, OwnLoss):
    """A price that a discriminator of codes tells, with an optimizer of its own."""

    needs: ClassVar = CODES
    width: Annotated[int, AtLeast(1)] = 1000
    """Units of each hidden layer of the discriminator."""
    depth: Annotated[int, AtLeast(1)] = 6
    """Its hidden layers."""
    lr: Annotated[float, Above(0)] = 1e-4
    """The learning rate of its Adam."""
    beta2: Annotated[float, Between(0, 1)] = 0.9
    """The decay of its Adam's mean of squared gradients."""

    def of_model(self, model: VAE) -> VAE:
        """The model with the discriminator's params beside its own."""
        return losses.beside_discriminator(model, self.discriminator)


@dataclass(frozen=True)
class Factor(WithDiscriminator):
    """A weight for the dependence of the latents, by a discriminator with an optimizer of its own (FactorVAE)."""

    looks_at: ClassVar = "the aggregate posterior"
    gamma: Annotated[float, AtLeast(0)] = 10.0
    """The weight of the total correlation."""

    def loss(self, model: VAE, plan: Plan, *, num_samples: int) -> Loss:
        """Of both players."""
        return losses.factor(model, self.discriminator, weight=self.gamma, num_samples=num_samples, shared=plan.shared)


@dataclass(frozen=True)
class Adversary(WithDiscriminator):
    """A discriminator that tells codes from draws of the prior, in place of the divergence (AAE, WAE-GAN)."""

    width: Annotated[int, AtLeast(1)] = 512
    """Units of each hidden layer of the discriminator."""
    depth: Annotated[int, AtLeast(1)] = 4
    """Its hidden layers."""
    lr: Annotated[float, Above(0)] = 5e-4
    """The learning rate of its Adam."""
    beta2: Annotated[float, Between(0, 1)] = 0.999
    """The decay of its Adam's mean of squared gradients."""
    weight: Annotated[float, AtLeast(0)] = 10.0
    """Of passing for a draw of the prior."""
    alpha: Annotated[float, Within(0, 1)] = 1.0
    """The share of the divergence that is taken out of the loss."""

    def loss(self, model: VAE, plan: Plan, *, num_samples: int) -> Loss:
        """Of both players."""
        return losses.adversarial(
            model, self.discriminator, weight=self.weight, alpha=self.alpha, num_samples=num_samples
        )


SHOWN = CODES | {"model.likelihood": {"grey"}}


@dataclass(frozen=True)
class Bidirectional(Discriminator, OwnLoss):
    """A discriminator of images with their codes, in place of bound and likelihood (ALI, BiGAN)."""

    needs: ClassVar = SHOWN
    code: Literal["draw", "mean"] = "draw"
    """What it is shown of the posterior: draw: a draw (ALI); mean: the mean (BiGAN)."""

    def of_model(self, model: VAE) -> VAE:
        """The model with the discriminator's params beside its own."""
        return losses.beside_discriminator(model, self.of_pairs, sees=losses.of_pairs)

    def loss(self, model: VAE, plan: Plan, *, num_samples: int) -> Loss:
        """Of both players."""
        _check_one_draw(self, num_samples)
        ways = {"draw": losses.by_draw, "mean": losses.by_mean}
        return losses.bidirectional(model, self.of_pairs, encode=ways[self.code])


@dataclass(frozen=True)
class Similarity(Discriminator, OwnLoss):
    """A discriminator of images whose features judge reconstructions, in place of pixels (VAE/GAN)."""

    needs: ClassVar = SHOWN
    gamma: Annotated[float, AtLeast(0)] = 0.1
    """The weight of the reconstruction beside the discriminator in the decoder's loss."""

    @property
    def showing(self) -> Network:
        """The discriminator, whose last hidden layer is its features."""
        hidden = (self.width,) * (self.depth - 1)
        features = networks.mlp(hidden, {"features": (self.width,)}, activation=LEAKY)
        return losses.scored_features(features, networks.mlp((), {"logit": ()}), LEAKY)

    def of_model(self, model: VAE) -> VAE:
        """The model with the discriminator's params beside its own."""
        return losses.beside_discriminator(model, self.showing, sees=losses.of_examples)

    def loss(self, model: VAE, plan: Plan, *, num_samples: int) -> Loss:
        """Of the three players."""
        _check_one_draw(self, num_samples)
        return losses.learned_similarity(model, self.showing, weight=self.gamma)


def _check_one_draw(price: OwnLoss, num_samples: int) -> None:
    if num_samples > 1:
        raise RunError(
            f"--objective.price {named(type(price))} shows its discriminator one draw of each example, and "
            f"--objective.num-samples {num_samples} would say nothing of its loss: leave it out"
        )


@dataclass(frozen=True)
class Dip(OwnLoss):
    """A price on the covariance of the codes for not being the identity (DIP-VAE)."""

    needs: ClassVar = APART
    looks_at: ClassVar = "the covariance of the codes"
    version: Literal["i", "ii"] = "ii"
    """i: of the posteriors' means; ii: of the codes themselves, with the posteriors' variances."""
    off_diagonal: Annotated[float, AtLeast(0)] = 10.0
    """The weight of each squared covariance."""
    diagonal: Annotated[float, AtLeast(0)] = 10.0
    """The weight of each squared distance of a variance to 1; its authors take 10 times the other in version i."""

    def loss(self, model: VAE, plan: Plan, *, num_samples: int) -> Loss:
        """The ELBO, less the price."""
        price = losses.dip(off_diagonal=self.off_diagonal, diagonal=self.diagonal, with_variances=self.version == "ii")
        return losses.regularised(model, of_aggregate=price, num_samples=num_samples, shared=plan.shared)


@dataclass(frozen=True)
class Mmd(OwnLoss):
    """The maximum mean discrepancy of all codes and the prior, in place of divergence (InfoVAE; at alpha 1 WAE)."""

    needs: ClassVar = CODES
    looks_at: ClassVar = "the aggregate posterior"
    alpha: Annotated[float, Within(0, 1)] = 1.0
    """The share of the divergence that is taken out of the loss."""
    scale: Annotated[float, AtLeast(0)] = 10.0
    """Lambda: the discrepancy has the weight alpha + scale - 1."""
    kernel: Literal["inverse-multiquadric", "gaussian"] = "inverse-multiquadric"
    """Of the discrepancy."""

    def loss(self, model: VAE, plan: Plan, *, num_samples: int) -> Loss:
        """The reconstruction, the divergence that is left, and the discrepancy."""
        kernels = {"inverse-multiquadric": losses.inverse_multiquadric, "gaussian": losses.gaussian_kernel}
        return losses.regularised(
            model,
            of_posterior=losses.divergence(-self.alpha),
            of_aggregate=losses.discrepancy(self.alpha + self.scale - 1, kernels[self.kernel]),
            num_samples=num_samples,
            shared=plan.shared,
        )


@dataclass(frozen=True)
class Distortion(OwnLoss):
    """The least divergence at a distortion that is given, by a multiplier that moves (GECO)."""

    nats: float = 80.0
    """What -log p(x|z) may be on average, constants included."""
    rate: Annotated[float, Above(0)] = 0.001
    """How fast the multiplier's logarithm moves, for each nat that the distortion is off."""
    decay: Annotated[float, Between(0, 1)] = 0.99
    """Of the moving average by which it moves."""

    def extra(self) -> Any:
        """The moving average and the multiplier."""
        return losses.multiplier_start()

    def loss(self, model: VAE, plan: Plan, *, num_samples: int) -> Loss:
        """The divergence, and the multiplier times what the distortion is above its target."""
        return losses.constrained(
            model, distortion=self.nats, rate=self.rate, decay=self.decay, num_samples=num_samples
        )
