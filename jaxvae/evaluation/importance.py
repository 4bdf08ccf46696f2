"""How far an estimate of log p(x) by importance sampling may be trusted, in numbers and in a sentence.

An average of weights is as good as its largest ones: when q(z|x) misses a part of the posterior, most runs never draw
the weights that make up p(x), the estimate is too low, and its standard error, made of the weights that were drawn,
does not notice. The shape of the weights' tail does.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from jaxvae.evaluation.likelihood import log_weight_of
from jaxvae.model import VAE
from jaxvae.types import Array, Key, Params


class ImportanceEstimate(NamedTuple):
    """An estimate of log p(x) and what tells its worth."""

    log_likelihood: Array  # []  nats
    standard_error: Array  # []  nats, by the delta method
    effective_sample_size: Array  # []  Kish's, between 1 and k
    pareto_shape: Array  # []  k̂ of the weights' tail; 1/k̂ is how many of their moments are finite
    num_samples: Array  # []  k


def importance_estimate(
    model: VAE, key: Key, params: Params, x: Array, *, num_samples: int, chunk: int = 100
) -> ImportanceEstimate:
    """log p(x) by importance sampling, with the diagnostics of its weights. `trust_sentence` puts them into words.

    It keeps the k log weights, one number each, and decodes one chunk of draws at a time. `vmap` it over examples.

    Args:
        model: any model with a tractable `log_weight`.
        key: for the draws.
        params: the model's parameters.
        x: [*event] one example.
        num_samples: k, at least two.
        chunk: how many draws are decoded at once; the numbers do not depend on it.

    Returns:
        The estimate.

    Raises:
        ValueError: `num_samples` is less than two or `chunk` less than one, or the model has no importance weights.

    Example:
        >>> from jaxvae.models import linear
        >>> model = linear.linear_vae(latent=2)
        >>> params = linear.parameters(jnp.eye(3, 2), jnp.zeros(3), jnp.ones(()))  # its posterior is exact
        >>> estimate = importance_estimate(model, jax.random.key(0), params, jnp.ones(3), num_samples=1000)
        >>> round(float(estimate.effective_sample_size))
        1000

    Source: Burda, Grosse & Salakhutdinov (2016), section 5, for the estimate; `diagnose` names the others.
    """
    if num_samples < 2 or chunk < 1:
        raise ValueError(
            f"num_samples={num_samples} must be at least two, to tell a spread, and chunk={chunk} at least one"
        )
    keys = jax.random.split(key, num_samples)
    return diagnose(jax.lax.map(log_weight_of(model, params, x), keys, batch_size=min(chunk, num_samples)))


def diagnose(log_weights: Array) -> ImportanceEstimate:
    """The estimate that k log weights make, from wherever they come: importance sampling, annealing, particles.

    ln p̂ = ln 1/k Σ_i w_i,    s.e. = √(Var(w) / k) / w̄,    ESS = (Σ w_i)² / Σ w_i²

    Args:
        log_weights: [k] ln w of independent draws, k at least two.

    Returns:
        The estimate.

    Source: Kish, "Survey Sampling" (1965), for the effective sample size; the standard error is the delta method's;
    the tail's shape is `pareto_shape`.
    """
    num_samples = jnp.asarray(log_weights.size, log_weights.dtype)
    total = logsumexp(log_weights)
    share = jnp.exp(log_weights - total)  # w_i / Σ w
    variance = jnp.sum(jnp.square(num_samples * share - 1)) / (num_samples - 1)  # of w / w̄
    return ImportanceEstimate(
        log_likelihood=total - jnp.log(num_samples),
        standard_error=jnp.sqrt(variance / num_samples),
        effective_sample_size=1 / jnp.sum(jnp.square(share)),
        pareto_shape=pareto_shape(log_weights),
        num_samples=jnp.asarray(log_weights.size),
    )


def pareto_shape(log_weights: Array) -> Array:
    """The shape k̂ of a generalised Pareto distribution fitted to the largest weights.

    p(y) ∝ (1 + k̂ y / σ)^(-1 - 1/k̂)    for the excess y of the min(k/5, 3 √k) largest weights over the next one

    Below ½ the weights' variance is finite and the central limit theorem holds; above 0.7 no number of draws that can
    be paid for makes their average reliable. The fit is the approximate posterior mean of Zhang & Stephens, pulled
    towards ½ with the weight of ten draws.

    Args:
        log_weights: [k] ln w of independent draws.

    Returns:
        [] k̂; infinity when fewer than five weights rise above the rest, so that nothing speaks for their tail, and
        minus infinity when the largest weights are equal.

    Source: Vehtari, Simpson, Gelman, Yao & Gabry, "Pareto Smoothed Importance Sampling" (JMLR 2024), section 3 and
    appendices; Zhang & Stephens, "A New and Efficient Estimation Method for the Generalized Pareto Distribution"
    (2009).
    """
    length = math.ceil(min(log_weights.size / 5, 3 * math.sqrt(log_weights.size)))
    largest = jnp.sort(log_weights)[-length - 1 :] - jnp.max(log_weights)
    cutoff = jnp.maximum(largest[0], -80.0)  # smaller weights count for nothing, and their ratios leave float32
    rising = largest[1:] > cutoff
    count = jnp.sum(rising)
    excess = jnp.where(rising, -jnp.exp(largest[1:]) * jnp.expm1(cutoff - largest[1:]), 0)
    shape = jnp.where(count < 5, jnp.inf, _generalised_pareto_shape(excess, count))
    # Weights of an exact posterior differ by the rounding of ln w, which is no tail.
    rounding = 8 * jnp.finfo(log_weights.dtype).eps * jnp.abs(jnp.max(log_weights))
    return jnp.where(-largest[0] <= rounding, -jnp.inf, shape)


def _generalised_pareto_shape(excess: Array, count: Array) -> Array:
    """Zhang & Stephens' estimate from excesses in rising order, of which the last `count` are positive."""
    num = count.astype(excess.dtype)
    positive = excess > 0
    grid_size = 30 + math.isqrt(excess.size)
    quartile = jnp.take(excess, excess.size - count + jnp.maximum((count + 2) // 4 - 1, 0), mode="clip")

    def shape_at(b: Array) -> Array:
        return jnp.sum(jnp.where(positive, jnp.log1p(-b * excess), 0)) / num

    ranks = jnp.arange(1, grid_size + 1).astype(excess.dtype) - 0.5
    grid = 1 / excess[-1] + (1 - jnp.sqrt(grid_size / ranks)) / (3 * quartile)
    shapes = jax.vmap(shape_at)(grid)
    profile = num * (jnp.log(-grid / shapes) - shapes - 1)
    shape = shape_at(jnp.sum(jax.nn.softmax(profile) * grid))
    return (num * shape + 10 * 0.5) / (num + 10)


def trust_sentence(estimate: ImportanceEstimate) -> str:
    """Says plainly what the estimate is worth, and what to do where it is worth little.

    It is not trusted when k̂ exceeds min(1 - 1/log₁₀ k, 0.7), and is called uncertain when its standard error exceeds
    0.1 nats, which is an effective sample size of about a hundred.

    Args:
        estimate: of one example, fields [], or of several, fields [B].

    Returns:
        One sentence, or two.

    Example:
        >>> log_weights = 0.5 * jax.random.normal(jax.random.key(0), (1000,)) - 90.0
        >>> print(trust_sentence(diagnose(log_weights)))
        log p(x) = -89.88 ± 0.02 nats can be trusted: 1,000 draws are worth 795 from the exact posterior ...

    Source: Vehtari et al. (2024), section 3.2.4 and equation 13, for the threshold.
    """
    fields = [np.atleast_1d(np.asarray(field, float)) for field in estimate]
    if fields[0].size == 1:
        return _sentence_of_one(*(float(field[0]) for field in fields))
    return _sentence_of_several(*fields)


def _threshold(num_samples: float) -> float:
    return min(1 - 1 / math.log10(num_samples), 0.7)


def _sentence_of_one(value: float, error: float, effective: float, shape: float, num_samples: float) -> str:
    number = f"log p(x) = {value:.2f} ± {error:.2f} nats"
    draws = f"{num_samples:,.0f} draws"
    threshold = _threshold(num_samples)
    if not math.isfinite(value):
        return f"log p(x) = {value} is no number to report: look for infinities in the model's terms for this example."
    if shape == math.inf:
        return (
            f"{number} cannot be trusted: of {draws}, fewer than five have weights that count, "
            f"so that nothing tells how large a weight was missed. Draw more, from a better posterior."
        )
    if not shape <= 0.7:
        return (
            f"{number} cannot be trusted: a few of the {draws} carry the weight (Pareto k̂ = {shape:.2f}, above 0.7), "
            f"so log p(x) is probably higher, its error is larger than stated, and more draws hardly help. "
            f"Take annealed importance sampling (jaxvae.evaluation), or a better posterior."
        )
    if not shape <= threshold:
        needed = 10 ** (1 / (1 - shape))
        return (
            f"{number} cannot be trusted yet: {draws} are too few for weights with so heavy a tail "
            f"(Pareto k̂ = {shape:.2f}, above {threshold:.2f}). Take more than {needed:,.0f}."
        )
    if not error <= 0.1:
        return (
            f"{number} is uncertain: {draws} are worth {effective:,.0f} from the exact posterior. "
            f"Take about {num_samples * (error / 0.1) ** 2:,.0f} for an error of 0.1 nats."
        )
    tail = "equal weights" if shape == -math.inf else f"Pareto k̂ = {shape:.2f}, below {threshold:.2f}"
    return f"{number} can be trusted: {draws} are worth {effective:,.0f} from the exact posterior ({tail})."


def _sentence_of_several(
    value: np.ndarray, error: np.ndarray, effective: np.ndarray, shape: np.ndarray, num_samples: np.ndarray
) -> str:
    heavy = ~(shape <= _threshold(num_samples[0]))
    uncertain = ~heavy & ~(error <= 0.1)
    trusted = value.size - heavy.sum() - uncertain.sum()
    number = f"log p(x) is {value.mean():.2f} nats on average over {value.size:,} examples"
    monte_carlo = f"± {math.sqrt(np.square(error).sum()) / value.size:.3f} for the draws"
    draws, worst = f"{num_samples[0]:,.0f} draws", shape.max()
    if trusted == value.size:
        return (
            f"{number} ({monte_carlo}), and every one can be trusted: {draws} are worth at least "
            f"{effective.min():,.0f} from the exact posterior "
            f"({'equal weights' if worst == -math.inf else f'Pareto k̂ up to {worst:.2f}'})."
        )
    return (
        f"{number}, of which {trusted:,} can be trusted, {uncertain.sum():,} are uncertain by more than 0.1 nats, and "
        f"{heavy.sum():,} cannot be trusted (weights with too heavy a tail for {draws}, Pareto k̂ up to {worst:.2f}). "
        f"Where they cannot be trusted, log p(x) is probably higher: take annealed importance sampling "
        f"(jaxvae.evaluation) there."
    )
