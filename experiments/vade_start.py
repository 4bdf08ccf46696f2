"""What VaDE begins from: an auto-encoder, and a mixture of Gaussians that EM fits to its codes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.mixture import GaussianMixture

from jaxvae import training
from jaxvae.losses import Loss, Metrics, lifted
from jaxvae.model import VAE
from jaxvae.run import keys
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset, Split
from jaxvae.run.recipe import Recipe
from jaxvae.run.train import train
from jaxvae.types import Array, Key, Params


def pretrained(recipe: Recipe, course: Course, dataset: Dataset, *, show: str | None) -> Params:
    """The params of a model whose networks have been trained as an auto-encoder.

    Args:
        recipe: of the run that is to begin from them.
        course: of this training.
        dataset: of the run; its training images alone are read.
        show: the progress bar's label; None shows none.

    Returns:
        The params; those of the prior, and what tells the scales of q(z|x), are as they were at the start.

    Raises:
        Diverged: a term is not finite.
    """
    reconstructing = recipe._replace(loss=lambda plan: reconstruction(recipe.model), step=None)
    unwatched = dataset._replace(valid=None, test=Split(()))
    return train(reconstructing, course, unwatched, show=show).params


def reconstruction(model: VAE) -> Loss:
    """An auto-encoder's loss: minus ln p(x|μ(x)), with no draw and no prior.

    Args:
        model: whose posterior has a mean.

    Returns:
        The loss.
    """

    def of_example(key: Key, params: Params, x: Array, step: Array) -> tuple[Array, Metrics]:
        log_likelihood = model.likelihood(params, model.posterior(params, x).expectation()).log_prob(x)
        return log_likelihood, {"log_likelihood": log_likelihood}

    return lifted(of_example)


def mean_codes(model: VAE, params: Params, split: Split) -> np.ndarray:
    """The mean of q(z|x) of every image of a split, [N, D]; of grey images where the stored ones are."""
    return np.asarray(_means(model, params, jnp.asarray(split.examples)))


@partial(jax.jit, static_argnums=0)
def _means(model: VAE, params: Params, stored: Array) -> Array:
    def mean(example: Array) -> Array:
        return model.posterior(params, training.grey(keys.held_out(), example)).expectation()  # no key is used

    return jax.lax.map(mean, stored, batch_size=1000)


def fitted_prior(codes: np.ndarray, *, components: int, restarts: int, seed: int) -> Params:
    """The params of a mixture prior that EM has fitted to codes.

    Args:
        codes: [N, D].
        components: how many.
        restarts: from how many starts; the most likely mixture is kept.
        seed: of the starts.

    Returns:
        "logits" [C], "mean" and "log_scale" [C, D], as `jaxvae.priors.normal_mixture` has them.

    Example:
        >>> codes = np.concatenate([np.full((50, 1), -3.0), np.full((50, 1), 3.0)])
        >>> prior = fitted_prior(codes, components=2, restarts=1, seed=0)
        >>> sorted(prior["mean"].ravel().tolist())
        [-3.0, 3.0]
    """
    fitted = GaussianMixture(
        components, covariance_type="diag", n_init=restarts, max_iter=200, reg_covar=1e-4, random_state=seed
    ).fit(codes)
    return {
        "logits": jnp.asarray(np.log(fitted.weights_), jnp.float32),
        "mean": jnp.asarray(fitted.means_, jnp.float32),
        "log_scale": jnp.asarray(0.5 * np.log(fitted.covariances_), jnp.float32),
    }
