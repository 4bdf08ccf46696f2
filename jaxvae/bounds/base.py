"""Bounds on log p(x), each a reduction of a model's terms over k draws.

A bound is per example and in nats; it is maximised. `jaxvae.bounds.batched` makes it a jitted function of a batch.
A new bound is a function of `Terms` with a leading axis of draws: `bound` draws them for it, and `scored` gives it the
gradient of draws that have no path. More of them lie beside this file.
"""

import math
from collections.abc import Callable
from functools import partial, wraps

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jaxvae.loops import vmap_in_cache
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Event, Key, Params

Reduction = Callable[[Terms], Array]  # terms with a leading axis of draws -> [] nats


def elbo(model: VAE, key: Key, params: Params, x: Array, *, num_samples: int = 1) -> Array:
    """The evidence lower bound, averaged over draws.

    L(x) = E_q[ln p(x|z)] - KL(q(z|x) || p(z))  ≤  ln p(x)

    Args:
        model: any model of this library, or your own.
        key: for the draws.
        params: the model's parameters.
        x: [*event] one example.
        num_samples: how many draws the expectation is averaged over; more lower the variance, not the bound.

    Returns:
        [] nats.

    Raises:
        ValueError: `num_samples` is less than one, or the model draws by an estimator that needs `iwae_bound`.

    Example:
        >>> from jaxvae.models import linear
        >>> model = linear.linear_vae(latent=2)
        >>> params = model.init(jax.random.key(0), jnp.zeros(3))
        >>> bound = elbo(model, jax.random.key(1), params, jnp.zeros(3), num_samples=1000)
        >>> bool(bound < linear.log_marginal(params, jnp.zeros(3)))
        True

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014), equation 3.
    """
    return average(draw_terms(model, key, params, x, num_samples=num_samples))


def iwae_bound(model: VAE, key: Key, params: Params, x: Array, *, num_samples: int) -> Array:
    """The importance-weighted bound, which rises to log p(x) with the number of draws.

    L_k(x) = E[ln 1/k Σ_i w_i],    w_i = p(x, z_i) / q(z_i|x),    z_i ~ q(z|x)

    Args:
        model: any model with a tractable `log_weight`.
        key: for the draws.
        params: the model's parameters.
        x: [*event] one example.
        num_samples: k, the number of importance samples.

    Returns:
        [] nats.

    Raises:
        ValueError: `num_samples` is less than one, or the model has no importance weights.

    Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders" (2016), equation 8.
    """
    return importance_weighted(draw_terms(model, key, params, x, num_samples=num_samples))


def bound(reduce: Reduction) -> Callable[..., Array]:
    """The bound of one example that a reduction of terms makes, in the form of `elbo` and `iwae_bound`.

    Args:
        reduce: a reduction, `jaxvae.bounds.renyi(alpha=0.5)` for instance.

    Returns:
        (model, key, params, x, *, num_samples) -> [] nats.

    Example:
        >>> from jaxvae.models import linear
        >>> from jaxvae.bounds import renyi
        >>> model = linear.linear_vae(latent=2)
        >>> params = model.init(jax.random.key(0), jnp.zeros(3))
        >>> of_half = bound(renyi(alpha=0.5))
        >>> of_half(model, jax.random.key(1), params, jnp.zeros(3), num_samples=10).shape
        ()
    """

    def of_example(model: VAE, key: Key, params: Params, x: Array, *, num_samples: int) -> Array:
        """The bound of one example, in nats."""
        return reduce(draw_terms(model, key, params, x, num_samples=num_samples))

    return of_example


def draw_terms(
    model: VAE, key: Key, params: Params, x: Array, *, num_samples: int, at_once: int | None = None
) -> Terms:
    """The terms of `num_samples` independent posterior draws: every field with a leading axis [k].

    The encoder depends on no draw, so it runs once. With `at_once` the draws come a few at a time, and a gradient
    computes each few again rather than keep what the decoder did: its memory does not grow with k.

    Args:
        model: any model.
        key: split into one key for each draw.
        params: the model's parameters.
        x: [*event] one example.
        num_samples: k.
        at_once: how many draws are held at once; None for all.

    Returns:
        Terms with fields [k], [k, L], [k].

    Raises:
        ValueError: `num_samples` or `at_once` is less than one, or the model's terms are not one number a draw.
    """
    if num_samples < 1:
        raise ValueError(f"a bound needs at least one draw, not num_samples={num_samples}")
    if at_once is not None and at_once < 1:
        raise ValueError(f"at_once={at_once} must be at least one draw, or None for all of them")
    keys = jax.random.split(key, num_samples)
    if num_samples == 1:
        # The same draw without a `vmap` of one, for which XLA transposes the gradients and loses a tenth of the speed.
        return _checked(jax.tree.map(lambda field: field[None], model.terms(keys[0], params, x)))
    if at_once is not None and at_once < num_samples:
        again = jax.checkpoint(lambda key: model.terms(key, params, x))
        return _checked(jax.lax.map(again, keys, batch_size=at_once))
    return _checked(jax.vmap(model.terms, (0, None, None))(keys, params, x))


def _checked(terms: Terms) -> Terms:
    """The terms of draws [k], of which each has one number; a likelihood that was not summed has one for each pixel."""
    for name, ndim in {"log_likelihood": 1, "kl": 2, "log_weight": 1}.items():
        field = getattr(terms, name)
        if field is not None and jnp.ndim(field) != ndim:
            raise ValueError(
                f"{name} of one draw has the shape {jnp.shape(field)[1:]}, and must have "
                f"{'one axis of latent groups' if ndim == 2 else 'none'}: sum a log density over the dimensions of its "
                "event"
            )
    return terms


def scored(reduce: Reduction) -> Reduction:
    """A reduction whose gradient is right for draws without a path too, discrete latents for instance.

    ∇_φ E_q[R] = E_q[∇_φ R + Σ_i (R - R₋ᵢ) ∇_φ ln q(z_i|x)],    R₋ᵢ the reduction of the other draws

    The draws hand over ln q(z_i|x) as `score`; those that have a path leave it out, and nothing is added. The value is
    that of the reduction. A single draw has no others, and no baseline.

    Args:
        reduce: of terms.

    Returns:
        The reduction, of the same value.

    Source: Mnih & Rezende, "Variational Inference for Monte Carlo Objectives" (2016), equations 5 to 9, with the
    arithmetic mean of the other weights, and for any reduction.
    """

    @wraps(reduce)
    def of_terms(terms: Terms) -> Array:
        value = reduce(terms._replace(score=None))
        if terms.score is None:
            return value
        signal = jax.lax.stop_gradient(value - without_each(reduce, terms))
        return value + jnp.sum(signal * (terms.score - jax.lax.stop_gradient(terms.score)))

    return of_terms


def without_each(reduce: Reduction, terms: Terms) -> Array:
    """The reduction of all draws but one, for each one left out.

    Args:
        reduce: of terms.
        terms: with a leading axis of draws, [k].

    Returns:
        [k] nats; a zero where there is one draw.
    """
    k = len(terms.log_likelihood)
    if k == 1:
        return jnp.zeros_like(terms.log_likelihood)
    others = (jnp.arange(k)[:, None] + jnp.arange(1, k)[None]) % k  # [k, k - 1]
    fields = terms._replace(score=None)
    return jax.vmap(lambda rows: reduce(jax.tree.map(lambda field: field[rows], fields)))(others)


@scored
def average(terms: Terms) -> Array:
    """The reduction of `elbo`: the mean over draws of log p(x|z) - Σ kl.

    Args:
        terms: with a leading axis of draws, [k].

    Returns:
        [] nats.

    Raises:
        ValueError: the draws are doubly reparameterised.
    """
    if terms.feedback is not None:
        raise ValueError(
            "the doubly reparameterised gradient belongs to iwae_bound; for elbo take draw=sticking_the_landing"
        )
    return jnp.mean(terms.log_likelihood - jnp.sum(terms.kl, axis=-1))


@scored
def importance_weighted(terms: Terms) -> Array:
    """The reduction of `iwae_bound`: logsumexp(log_weight) - ln k.

    Args:
        terms: with a leading axis of draws, [k].

    Returns:
        [] nats.

    Raises:
        ValueError: the model has no importance weights.
    """
    if terms.feedback is None:
        return log_mean_exp(log_weights(terms))
    return _log_mean_exp_with_feedback(terms.log_weight, terms.feedback)


def log_weights(terms: Terms) -> Array:
    """The importance weights, for a reduction that needs them.

    Args:
        terms: with a leading axis of draws, [k].

    Returns:
        [k] nats.

    Raises:
        ValueError: the model has none, or the draws are doubly reparameterised.
    """
    if terms.log_weight is None:
        raise ValueError(
            "this model has no importance weights (its Terms.log_weight is None), so it has no iwae_bound; take elbo"
        )
    if terms.feedback is not None:
        raise ValueError(
            "the doubly reparameterised gradient belongs to iwae_bound; for another bound take draw=pathwise"
        )
    return terms.log_weight


def temper(terms: Terms, beta: Array) -> Terms:
    """The terms with the latent part scaled by β, for a *loss*: never for a reported bound.

    kl ← β kl,    ln w ← ln p(x|z) + β [ln p(z) - ln q(z|x)]

    Args:
        terms: with or without a leading axis of draws.
        beta: [] β ≥ 0; one leaves the terms as they are.

    Returns:
        The tempered terms.

    Raises:
        ValueError: the draws are doubly reparameterised, a gradient that is derived for β = 1 and biased elsewhere.

    Source: Higgins et al., "beta-VAE" (2017), equation 4; Bowman et al. (2016) for the warm-up from zero to one.
    """
    if terms.feedback is not None:
        raise ValueError(
            "the doubly reparameterised gradient is unbiased for beta = 1 alone; to temper, take draw=pathwise"
        )
    log_weight = terms.log_weight
    if log_weight is not None:
        log_weight = terms.log_likelihood + beta * (log_weight - terms.log_likelihood)
    return terms._replace(kl=beta * terms.kl, log_weight=log_weight)


def batched(bound: Callable[..., Array], *, draws_at_once: int | None = None) -> Callable[..., Array]:
    """A bound of one example as a jitted function of a batch; it compiles once for each shape.

    On a CPU a large batch is taken in parts that the cache holds (`jaxvae.loops.vmap_in_cache`), on an accelerator as a
    whole: draws a second do not fall with the batch, and the numbers are the same.

    Args:
        bound: (model, key, params, x, *, num_samples) -> [].
        draws_at_once: how many draws of an example the bound holds at once, the `chunk` of
            `jaxvae.evaluation.log_likelihood` for instance; None for all of them.

    Returns:
        (model, key, params, xs, *, num_samples) -> [B]: one key for each example, split from `key`.

    Example:
        >>> from jaxvae import elbo
        >>> from jaxvae.models import linear
        >>> model = linear.linear_vae(latent=2)
        >>> params = model.init(jax.random.key(0), jnp.zeros(3))
        >>> batched(elbo)(model, jax.random.key(1), params, jnp.zeros((5, 3)), num_samples=2).shape
        (5,)
    """

    @partial(jax.jit, static_argnames=("model", "num_samples"))
    def bound_of_batch(model: VAE, key: Key, params: Params, xs: Event, *, num_samples: int = 1) -> Array:
        """The bound of every example of xs [B, *event], or of a tree: [B], in nats, a key for each split from `key`."""
        keys = jax.random.split(key, len(jax.tree.leaves(xs)[0]))

        def of_example(pair: tuple[Key, Event]) -> Array:
            return bound(model, pair[0], params, pair[1], num_samples=num_samples)

        numbers = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(xs))
        return vmap_in_cache(of_example, (keys, xs), size=numbers * min(num_samples, draws_at_once or num_samples))

    return bound_of_batch


batched_elbo = batched(elbo)
batched_iwae_bound = batched(iwae_bound)


def log_mean_exp(log_weight: Array) -> Array:
    """ln 1/k Σ_i exp(log_weight_i) over the first axis of [k]: []."""
    return logsumexp(log_weight) - jnp.log(jnp.asarray(log_weight.shape[0], log_weight.dtype))


@jax.custom_vjp
def _log_mean_exp_with_feedback(log_weight: Array, feedback: Array) -> Array:
    """The same value; in the backward pass each draw's feedback receives its normalised weight."""
    return log_mean_exp(log_weight)


def _feedback_forward(log_weight: Array, feedback: Array) -> tuple[Array, tuple[Array, Array]]:
    return log_mean_exp(log_weight), (jax.nn.softmax(log_weight), feedback)


def _feedback_backward(kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    normalised_weight, feedback = kept
    # z may be of another precision than what is summed over all of x
    return cotangent * normalised_weight, normalised_weight.astype(feedback.dtype)


_log_mean_exp_with_feedback.defvjp(_feedback_forward, _feedback_backward)
