"""What `--model.posterior`, `--model.prior` and `--model.likelihood` name: a table for each.

A density becomes an option by a line here and a word in `jaxvae.run.config`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logit

from jaxvae import networks
from jaxvae.distributions import (
    Bernoulli,
    ContinuousBernoulli,
    FullNormal,
    Laplace,
    MaskedNormal,
    Normal,
    NormalMixture,
    OneHot,
    StudentT,
    UniformSphere,
    VonMisesFisher,
    normal_with_scale,
)
from jaxvae.flows import (
    affine_coupling,
    householder_sylvester,
    inverse_autoregressive,
    neural_spline,
    orthogonal_sylvester,
    planar,
    radial,
    triangular_sylvester,
)
from jaxvae.likelihoods import (
    AutoregressivePixels,
    BetaBinomial,
    DiscretizedLogisticMixture,
    PixelCategorical,
    StructuredNormal,
    globally_conditioned,
)
from jaxvae.networks import Free, Outputs
from jaxvae.priors import Prior, correlated_normal, learned, normal_mixture, standard_normal, vamp_prior
from jaxvae.run import RunError
from jaxvae.types import Distribution, Params, Shape

if TYPE_CHECKING:
    from jaxvae.run import config as configuration

Density = tuple[Callable[..., Distribution], Outputs]  # named outputs -> the density, and what a network must give it

POSTERIORS: dict[str, Any] = {
    "normal": Normal,
    "full": FullNormal,
    "mixture": NormalMixture,
    "von-mises-fisher": VonMisesFisher,
    "hamiltonian": Normal,  # where `jaxvae.run.posteriors` begins
    "semi-amortised": Normal,
    "bernoulli": Bernoulli,
    "one-hot": OneHot,
}
FLOWS = {
    "planar": planar,
    "radial": radial,
    "sylvester-orthogonal": orthogonal_sylvester,
    "sylvester-householder": householder_sylvester,
    "sylvester-triangular": triangular_sylvester,
    "iaf": inverse_autoregressive,
    "coupling": affine_coupling,
    "spline": neural_spline,
}

# The priors over what is no vector of real numbers: uniform at zeros.
ELSEWHERE: dict[str, Any] = {"von-mises-fisher": UniformSphere, "bernoulli": Bernoulli, "one-hot": OneHot}

# No output of theirs is a pixel's mean or its logit.
WITHOUT_MEAN = ("categorical", "logistic-mixture", "beta-binomial", "student-t", "pixelcnn")


def likelihood_of(model: configuration.Model, shape: Shape) -> Density:
    """p(x|z) of named outputs, and the outputs that the decoder must have.

    Args:
        model: of a configuration.
        shape: [H, W, C] of an image.

    Returns:
        Both.
    """
    table: dict[str, Callable[[], Density]] = {
        "bernoulli": lambda: (Bernoulli, Bernoulli.parameters(shape)),
        "continuous-bernoulli": lambda: (ContinuousBernoulli, ContinuousBernoulli.parameters(shape)),
        "gaussian": lambda: (normal_with_scale(model.scale), {"mean": shape}),
        "gaussian-shared": lambda: (Normal, {"mean": shape, "log_scale": Free(())}),
        "gaussian-per-pixel": lambda: (Normal, Normal.parameters(shape)),
        "structured": lambda: (StructuredNormal, StructuredNormal.parameters(shape)),
        "laplace": lambda: (Laplace, {"mean": shape, "log_scale": Free(())}),
        "student-t": lambda: (StudentT, {"location": shape, "log_scale": Free(()), "log_degrees": Free((), 2.0)}),
        "categorical": lambda: (PixelCategorical, PixelCategorical.parameters(shape)),
        "beta-binomial": lambda: (BetaBinomial, BetaBinomial.parameters(shape)),
        "logistic-mixture": lambda: (DiscretizedLogisticMixture, DiscretizedLogisticMixture.parameters(shape)),
        "pixelcnn": lambda: _pixelcnn(model, shape),
    }
    return table[model.likelihood]()


def _pixelcnn(model: configuration.Model, shape: Shape) -> Density:
    local = model.pixel_condition == "local"
    sizes = {"radius": model.pixel_radius, "layers": model.pixel_layers}
    outputs = AutoregressivePixels.parameters(shape, local=local, **sizes)
    return (AutoregressivePixels if local else globally_conditioned(shape)), outputs


def posterior_of(model: configuration.Model) -> Density:
    """q(z|x) of named outputs, and the outputs that the encoder must have.

    Args:
        model: of a configuration.

    Returns:
        Both.
    """
    shape = latent_shape(model)
    if model.posterior in FLOWS:
        flow = FLOWS[model.posterior]
        return flow, flow.parameters(shape, num_flows=model.flows, amortised=model.amortised)
    family = POSTERIORS[model.posterior]
    return family, family.parameters(shape)


def latent_shape(model: configuration.Model) -> Shape:
    """The shape of z, of a plain model.

    Args:
        model: of a configuration.

    Returns:
        [D], or [D, K] for one-hot latents.
    """
    return (model.latent, model.classes) if model.posterior == "one-hot" else (model.latent,)


def prior_of(model: configuration.Model) -> Prior:
    """p(z).

    Args:
        model: of a configuration.

    Returns:
        The prior.
    """
    shape, elsewhere = latent_shape(model), ELSEWHERE.get(model.posterior)
    table: dict[str, Callable[[], Prior]] = {
        "standard": lambda: standard_normal(shape) if elsewhere is None else uniform(elsewhere, shape),
        "learned": lambda: learned(Normal if elsewhere is None else elsewhere, shape),
        "mixture": lambda: normal_mixture(shape, num_components=model.components),
        "vamp": lambda: vamp_prior(num_components=model.components),
        "flow": lambda: learned(affine_coupling, shape, num_flows=model.flows),
        "correlated": lambda: correlated_normal(shape),
        "autoregressive": lambda: learned(MaskedNormal, shape),
    }
    return table[model.prior]()


def uniform(family: Callable[[jax.Array], Distribution], shape: Shape) -> Prior:
    """A prior of `ELSEWHERE`, which has no parameters.

    Args:
        family: an array of zeros -> the uniform distribution.
        shape: of z.

    Returns:
        The prior.
    """
    return Prior(init=lambda key, x: {}, apply=lambda params, posterior: family(jnp.zeros(shape)))


def from_data(params: Params, model: configuration.Model, images: np.ndarray) -> Params:
    """The params of a new model, started from the training data where the configuration says so.

    `mean_bias` sets the decoder's output bias from the mean image; a VampPrior's pseudo-inputs start at images from all
    over the training set.

    Args:
        params: of a new model.
        model: of its configuration.
        images: [N, H, W, C] of the training set, uint8 or float32 in [0, 1].

    Returns:
        New params.

    Raises:
        RunError: the likelihood has no output that is a pixel's mean or its logit.
    """
    if model.mean_bias:
        params = _from_mean_pixel(params, model.likelihood, mean_image(images))
    if model.prior == "vamp":
        rows = np.linspace(0, len(images) - 1, model.components).astype(int)
        scale = 255.0 if images.dtype == np.uint8 else 1.0
        chosen = jnp.asarray(images[rows] / scale, jnp.float32)
        prior = vamp_prior(num_components=model.components, images=chosen)
        params = params | {"prior": params["prior"] | prior.init(jax.random.key(0), chosen[0])}
    return params


def mean_image(images: np.ndarray) -> np.ndarray:
    """The mean of the training images.

    Args:
        images: [N, H, W, C], uint8 or float32 in [0, 1].

    Returns:
        [H, W, C] in [0, 1].
    """
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    return np.asarray(np.mean(images, axis=0, dtype=np.float64) / scale)


def _from_mean_pixel(params: Params, likelihood: str, mean: np.ndarray) -> Params:
    """The params with the decoder's output bias started from the mean image [H, W, C]."""
    start = {
        "logits": logit(jnp.clip(jnp.asarray(mean, jnp.float32), 0.001, 0.999)),
        "mean": jnp.asarray(mean, jnp.float32),
    }
    if likelihood in WITHOUT_MEAN:
        raise RunError(f"--model.mean-bias has no meaning for --model.likelihood {likelihood}: leave it out")
    output = "logits" if "bernoulli" in likelihood else "mean"
    return params | {"decoder": networks.with_output_bias(params["decoder"], output, start[output])}
