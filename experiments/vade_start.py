"""What VaDE begins from: an auto-encoder, and a mixture of Gaussians that EM fits to its codes."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.mixture import GaussianMixture

from jaxvae import bounds, training
from jaxvae.losses import Loss, Metrics, lifted, negative_bound
from jaxvae.model import VAE
from jaxvae.recipes import plain
from jaxvae.run import keys
from jaxvae.run.data import Dataset, Split
from jaxvae.run.options import priors
from jaxvae.run.recipe import about
from jaxvae.run.settings import Optimizer
from jaxvae.run.train import train
from jaxvae.types import Array, Key, Params


def pretrained(
    config: plain.Config, optimizer: Optimizer, dataset: Dataset, *, beta: float, epochs: int, show: str | None
) -> Params:
    """The params of a model whose networks have been trained as an auto-encoder, or as nearly one.

    minus E_q[ln p(x|z)] + β KL(q(z|x) || N(0, I)),    or with β = 0 minus ln p(x|μ(x))

    A small β keeps the codes as small as a prior's. Without it they grow, to a standard deviation of 7 on MNIST, and
    the mixture that is fitted to them moves only that much more slowly afterwards.

    Args:
        config: of the run that is to begin from them.
        optimizer: of this training.
        dataset: of the run; its training images alone are read.
        beta: the weight of the divergence.
        epochs: of this training.
        show: the progress bar's label; None shows none.

    Returns:
        The params, without any of a prior.

    Raises:
        Diverged: a term is not finite.
    """
    standard = replace(config, model=replace(config.model, prior=priors.Standard()))
    recipe = plain.recipe(standard, about(dataset))
    loss = (
        negative_bound(recipe.model, bounds.average, beta=optax.constant_schedule(beta))
        if beta
        else reconstruction(recipe.model)
    )
    course = config.course()._replace(epochs=epochs, optimizer=optimizer.transformation)
    unwatched = dataset._replace(valid=None, test=Split(()))
    return train(recipe._replace(loss=lambda plan: loss, step=None), course, unwatched, show=show).params


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
