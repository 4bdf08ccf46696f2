"""PCA, probabilistic PCA, factor analysis, and the linear VAE that finds the second of them by gradient ascent.

p(z) = N(0, I),    p(x|z) = N(W z + μ, Ψ),    Ψ = σ² I (probabilistic PCA) or diagonal (factor analysis)

The order is that of Bishop, sections 12.1, 12.2 and 12.2.4; the linear VAE is in Lucas et al., "Don't Blame the ELBO!"
(2019): its ELBO has the same maximum as the likelihood, and its diagonal posterior turns W to the principal axes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import subspace_angles
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, FactorAnalysis
from threadpoolctl import threadpool_limits

from experiments.foundations import command, linear_models_figure
from jaxvae import fit
from jaxvae.distributions import LOG_2PI, Normal, kl
from jaxvae.models import linear
from jaxvae.run import RunError
from jaxvae.types import Array, Key, Params

TRAIN = 1400  # of the 1,797 digits


@dataclass(frozen=True)
class Config:
    """Compare linear latent variable models on the digits of scikit-learn."""

    seed: int = 0
    latent: int = 8
    """q, of the linear VAE"""
    sizes: tuple[int, ...] = (1, 2, 4, 8, 16)
    """q, of the curves of probabilistic PCA and factor analysis"""
    epochs: int = 300
    batch_size: int = 200
    learning_rate: float = 0.02
    """of Adam; it falls to zero along a cosine"""
    folder: Path = Path("runs/foundations/linear_models")


def digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Train [1400, 64] and test [397, 64]: (level + u) / 17 with u ~ U(0, 1), so that the 17 levels have a density."""
    generator = np.random.default_rng(seed)
    levels = generator.permutation(load_digits().data)
    xs = (levels + generator.uniform(size=levels.shape)) / 17
    return xs[:TRAIN], xs[TRAIN:]


def probabilistic_pca_maximum(xs: np.ndarray, latent: int) -> float:
    """The mean log likelihood at its maximum, by the eigenvalues of the covariance alone.

    -½ [d ln 2π + Σ_{i≤q} ln λ_i + (d - q) ln σ² + d],    σ² = mean of λ_i over i > q

    Bishop 12.44 with 12.45 and 12.46.
    """
    eigenvalues = np.linalg.eigvalsh(np.cov(xs.T, bias=True))[::-1]
    kept, variance = eigenvalues[:latent], eigenvalues[latent:].mean()
    d = len(eigenvalues)
    return float(-0.5 * (d * LOG_2PI + np.log(kept).sum() + (d - latent) * np.log(variance) + d))


@jax.jit
def mean_log_likelihood(params: Params, xs: Array) -> Array:
    """The mean over examples of ln N(x; μ, W Wᵀ + σ² I), []."""
    return jnp.mean(jax.vmap(linear.log_marginal, (None, 0))(params, xs))


@jax.jit
def mean_elbo(params: Params, xs: Array) -> Array:
    """The mean ELBO of a linear VAE in closed form, [].

    E_q[ln p(x|z)] = ln N(x; W m + μ, σ² I) - tr(W D Wᵀ) / 2σ²,    q(z|x) = N(m, D)
    """
    model = linear.linear_vae(latent=params["encoder"]["V"].shape[0])

    def of_example(x: Array) -> Array:
        encoder, w = params["encoder"], params["decoder"]["W"]
        q = Normal(encoder["V"] @ (x - encoder["center"]), encoder["log_scale"])
        spread = jnp.sum(jnp.square(w * jnp.exp(q.log_scale - params["decoder"]["log_scale"])[None, :]))
        return model.likelihood(params, q.mean).log_prob(x) - 0.5 * spread - kl(q, model.prior(params), q.mean)

    return jnp.mean(jax.vmap(of_example)(xs))


def train(
    key: Key, xs: Array, *, latent: int, epochs: int, batch_size: int, learning_rate: float
) -> tuple[Params, np.ndarray]:
    """The linear VAE by Adam on the one-draw ELBO.

    Returns:
        The params, and the mean ELBO of every epoch's batches, [epochs].
    """
    schedule = optax.cosine_decay_schedule(learning_rate, epochs * (len(xs) // batch_size))
    model, adam = linear.linear_vae(latent=latent), optax.adam(schedule)
    params, history = fit(model, xs, key=key, epochs=epochs, batch_size=batch_size, optimizer=adam)
    return params, history.train


def scores(model: PCA | FactorAnalysis, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Mean log likelihoods of a model of scikit-learn; that of its PCA is probabilistic PCA's."""
    return {"train": float(model.score(train)), "test": float(model.score(test))}


def reconstruction_error(test: np.ndarray, means: np.ndarray) -> float:
    """The mean over examples of |x - x̂|²."""
    return float(np.mean(np.sum((test - means) ** 2, axis=1)))


def largest_angle(loadings: np.ndarray, others: np.ndarray) -> float:
    """The largest principal angle between two column spaces, in degrees."""
    return float(np.degrees(subspace_angles(loadings, others)).max())


def aligned(loadings: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Columns of W [d, q] from the longest to the shortest, with the sign of the axes [d, q]."""
    ordered = loadings[:, np.argsort(-np.linalg.norm(loadings, axis=0))]
    return ordered * np.where(np.sum(ordered * axes, axis=0) < 0, -1, 1)


def compare(config: Config) -> tuple[dict[str, Any], dict[str, np.ndarray], np.ndarray]:
    """Fit the four models.

    Returns:
        The numbers; the loadings of each model, [64, q]; the linear VAE's learning curve.
    """
    xs, held_out = digits(config.seed)
    analyses = {}
    # Threads cost more than they bring to matrices of this size.
    with threadpool_limits(1):
        for q in sorted({*config.sizes, config.latent}):
            factors = FactorAnalysis(q, svd_method="lapack", tol=1e-4, max_iter=2000)
            analyses[q] = PCA(q).fit(xs), factors.fit(xs)
    pca, factors = analyses[config.latent]
    options = {name: getattr(config, name) for name in ("latent", "epochs", "batch_size", "learning_rate")}
    params, curve = train(jax.random.key(config.seed), jnp.asarray(xs), **options)
    ppca = linear.probabilistic_pca(jnp.asarray(xs), latent=config.latent)

    def row(params: Params) -> dict[str, float]:
        encoder, decoder = params["encoder"], params["decoder"]
        codes = (held_out - np.asarray(encoder["center"])) @ np.asarray(encoder["V"]).T
        means = codes @ np.asarray(decoder["W"]).T + np.asarray(decoder["center"])
        angle = largest_angle(np.asarray(decoder["W"]), pca.components_.T)
        likelihoods = {
            "train": float(mean_log_likelihood(params, xs)),
            "test": float(mean_log_likelihood(params, held_out)),
        }
        return likelihoods | {"reconstruction_error": reconstruction_error(held_out, means), "angle_to_pca": angle}

    of_factors = factors.transform(held_out) @ factors.components_ + factors.mean_
    models: dict[str, dict[str, float]] = {
        "PCA": {"reconstruction_error": reconstruction_error(held_out, pca.inverse_transform(pca.transform(held_out)))},
        "probabilistic PCA": row(ppca),
        "linear VAE": row(params) | {"train_elbo": float(mean_elbo(params, xs))},
        "factor analysis": scores(factors, xs, held_out)
        | {
            "reconstruction_error": reconstruction_error(held_out, of_factors),
            "angle_to_pca": largest_angle(factors.components_.T, pca.components_.T),
        },
    }
    maximum = probabilistic_pca_maximum(xs, config.latent)
    numbers = {
        "models": models,
        "probabilistic_pca_maximum": maximum,
        "linear_vae_short_of_maximum": maximum - models["linear VAE"]["train"],
        "sizes": {
            str(q): {"probabilistic PCA": scores(pca, xs, held_out), "factor analysis": scores(factors, xs, held_out)}
            for q, (pca, factors) in analyses.items()
        },
    }
    axes = pca.components_.T
    loadings = {
        "PCA": axes,
        "linear VAE": aligned(np.asarray(params["decoder"]["W"]), axes),
        "factors": aligned(factors.components_.T, axes),
    }
    numbers["cosine_of_vae_columns_with_principal_axes"] = np.sum(
        loadings["linear VAE"] / np.linalg.norm(loadings["linear VAE"], axis=0) * axes, axis=0
    )
    return numbers, loadings, curve


def main(config: Config) -> None:
    """Fit, compare, draw, save."""
    command.require_at_least(0, config, "seed")
    command.require_at_least(1, config, "latent", "sizes", "epochs", "batch_size")
    command.require_at_least(1e-6, config, "learning_rate")
    if max(config.latent, *config.sizes) > 63 or config.batch_size > TRAIN:
        raise RunError(
            f"--latent and --sizes must be below the 64 pixels, and --batch-size at most the {TRAIN} examples; "
            f"they are {config.latent}, {config.sizes} and {config.batch_size}."
        )
    numbers, loadings, curve = compare(config)
    protocol = {
        "data": f"scikit-learn digits, (level + uniform) / 17, {TRAIN} train and 397 test examples, split at random",
        "linear VAE": f"Adam on the one-draw ELBO, {config.epochs} epochs of batches of {config.batch_size}, float64",
        "likelihood": "exact, mean over examples; reconstruction error: squared, summed over pixels, on test examples",
        "angle_to_pca": "largest principal angle between the column spaces, degrees",
        "units": "nats per example",
    }
    command.save_numbers(config.folder, config, protocol, numbers | {"learning_curve": curve})
    linear_models_figure.draw(config.folder / "linear_models.png", numbers, loadings, curve, config.latent)
    entries = ("train", "test", "reconstruction_error", "angle_to_pca")
    rows = [(name, *(values.get(entry, "") for entry in entries)) for name, values in numbers["models"].items()]
    command.print_table(("model", "ln p, train", "ln p, test", "error, test", "angle to PCA"), rows)
    short = numbers["linear_vae_short_of_maximum"]
    print(f"The linear VAE is {short:.4f} nats per example short of the maximum of the likelihood.")


if __name__ == "__main__":
    command.run(main, Config)
