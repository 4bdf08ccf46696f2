"""What training descends: a bound with a minus sign, or another function of the terms of a batch.

A loss may weigh, cap or anneal the terms; the "bound" among its metrics never is.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from jaxvae.bounds import Reduction, average, draw_terms, temper
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Key, Network, Params

Metrics = dict[str, Array]
Cost = Callable[[Array, Array], Array]  # (kl [L] averaged over the batch, step []) -> the price of the latent part, []


class Loss(Protocol):
    """What the step differentiates: a mean over the batch, in nats."""

    def __call__(
        self, keys: Key, params: Params, extra: Any, xs: Array, step: Array
    ) -> tuple[Array, tuple[Any, Metrics]]:
        """Keys [B], one for each example -> (loss [], (extra, metrics)); no gradient touches the tree `extra`."""
        ...


def lifted(objective: Callable[[Key, Params, Array, Array], tuple[Array, Metrics]]) -> Loss:
    """What is ascended for one example, as a loss: one key for each example, the mean over the batch, a minus sign.

    Args:
        objective: (key, params, x, step) -> ([] nats, metrics of this example).

    Returns:
        The loss, with the means of the metrics.
    """

    def loss(keys: Key, params: Params, extra: Any, xs: Array, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        values, metrics = jax.vmap(objective, (0, None, 0, None))(keys, params, xs, step)
        return -jnp.mean(values), (extra, jax.tree.map(jnp.mean, metrics))

    return loss


def negative_bound(
    model: VAE,
    reduce: Reduction,
    *,
    num_samples: int = 1,
    beta: optax.Schedule | None = None,
    at_once: int | None = None,
) -> Loss:
    """A bound, lifted to a loss.

    Args:
        model: the model.
        reduce: a reduction of terms, `bounds.average` (the ELBO) or `bounds.importance_weighted` (IWAE).
        num_samples: k.
        beta: step -> the weight of the latent part in the loss, a warm-up for instance; None for the bound itself.
        at_once: how many draws are held at once (see `jaxvae.bounds.draw_terms`); None for all.

    Returns:
        The loss. Its metrics are the means over the batch of the untempered "bound", and of "log_likelihood" and "kl".
    """

    def of_example(key: Key, params: Params, x: Array, step: Array) -> tuple[Array, Metrics]:
        terms = draw_terms(model, key, params, x, num_samples=num_samples, at_once=at_once)
        bound = reduce(terms)
        return bound if beta is None else reduce(temper(terms, beta(step))), _metrics(bound, terms)

    return lifted(of_example)


def negative_elbo(
    model: VAE, cost: Cost, *, num_samples: int = 1, across: Callable[[Any], Any] = lambda tree: tree
) -> Loss:
    """The ELBO with another price for its divergence: free bits, or a capacity.

    -1/B Σ_b E[ln p(x_b|z)] + cost(1/B Σ_b kl_b)

    Args:
        model: the model.
        cost: of the mean divergence of each latent group, `free_bits(4.0)` for instance.
        num_samples: the draws that the expectation is averaged over.
        across: `jaxvae.parallel.average` where devices share the batch, for the mean over all of it.

    Returns:
        The loss, with the metrics of `negative_bound`. It raises a ValueError where the draws have no path.
    """

    def of_example(key: Key, params: Params, x: Array) -> tuple[Array, Array, Array]:
        terms = draw_terms(model, key, params, x, num_samples=num_samples)
        if terms.score is not None:
            raise ValueError("another price for the divergence needs draws with a path: give the model draw=pathwise")
        return average(terms), jnp.mean(terms.log_likelihood), jnp.mean(terms.kl, axis=0)

    def loss(keys: Key, params: Params, extra: Any, xs: Array, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        bound, log_likelihood, kl = jax.tree.map(
            lambda values: jnp.mean(values, axis=0), jax.vmap(of_example, (0, None, 0))(keys, params, xs)
        )
        # The price at the mean of the whole batch, and its slope there: no gradient has to cross the devices.
        price, slope = jax.value_and_grad(cost)(jax.lax.stop_gradient(across(kl)), step)
        value = price + jnp.sum(slope * (kl - jax.lax.stop_gradient(kl))) - log_likelihood
        metrics = {"bound": bound, "log_likelihood": log_likelihood, "kl": jnp.sum(kl)}
        return value, (extra, metrics)

    return loss


def free_bits(nats: float) -> Cost:
    """A price that asks nothing for the first nats of each latent group.

    Σ_l max(λ, kl_l)

    Args:
        nats: λ ≥ 0, of each group.

    Returns:
        The cost, for `negative_elbo`.

    Example:
        >>> float(free_bits(4.0)(jnp.array([1.0, 6.0]), jnp.array(0)))
        10.0

    Source: Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow" (2016), appendix C.8.
    """
    return lambda kl, step: jnp.sum(jnp.maximum(kl, nats))


def capacity(target: optax.Schedule, *, gamma: float) -> Cost:
    """A price for being off a capacity that grows with the steps.

    γ |Σ_l kl_l - C(step)|

    Args:
        target: step -> C in nats.
        gamma: γ.

    Returns:
        The cost, for `negative_elbo`.

    Source: Burgess et al., "Understanding Disentangling in β-VAE" (2018), equation 8.
    """
    return lambda kl, step: gamma * jnp.abs(jnp.sum(kl) - target(step))


def cyclical(*, period: int, rising: float = 0.5, top: float = 1.0) -> optax.Schedule:
    """A weight that rises from zero to its top and stays there, again and again.

    Args:
        period: steps in one cycle.
        rising: the share of a cycle in which it rises, between 0 and 1.
        top: the weight it reaches.

    Returns:
        step -> the weight, for `negative_bound(beta=...)`.

    Raises:
        ValueError: the period is less than one step, or the share not in (0, 1].

    Example:
        >>> [float(cyclical(period=4)(jnp.array(step))) for step in range(6)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]

    Source: Fu et al., "Cyclical Annealing Schedule" (2019), equation 6.
    """
    if period < 1 or not 0 < rising <= 1:
        raise ValueError(f"period={period} must be at least one step, and rising={rising} in (0, 1]")
    return lambda step: top * jnp.minimum(1.0, jnp.mod(step, period) / (rising * period))


def parted(model: VAE, *, for_decoder: Reduction, for_encoder: Reduction, num_samples: int) -> Loss:
    """One bound for the decoder and the prior, another one for the encoder, of the same draws.

    With the importance-weighted bound of all draws for the decoder and that of groups for the encoder
    (`jaxvae.multisample.grouped`) it is PIWAE.

    Args:
        model: whose params have the encoder under "encoder".
        for_decoder: ascended by all but the encoder; it is the "bound" that is reported.
        for_encoder: ascended by the encoder.
        num_samples: k.

    Returns:
        The loss.

    Source: Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better" (2018), section 5 (PIWAE).
    """

    def of_example(key: Key, params: Params, x: Array, step: Array) -> tuple[Array, Metrics]:
        fixed = jax.lax.stop_gradient(params)
        # The same draws twice: the compiler evaluates them once, and goes back through them twice.
        of_decoder = draw_terms(model, key, params | {"encoder": fixed["encoder"]}, x, num_samples=num_samples)
        of_encoder = draw_terms(model, key, fixed | {"encoder": params["encoder"]}, x, num_samples=num_samples)
        bound, tighter = for_decoder(of_decoder), for_encoder(of_encoder)
        return bound + tighter - jax.lax.stop_gradient(tighter), _metrics(bound, of_decoder)

    return lifted(of_example)


def with_baseline(
    model: VAE,
    reduce: Reduction,
    baseline: Network,
    *,
    num_samples: int = 1,
    beta: optax.Schedule | None = None,
    at_once: int | None = None,
) -> Loss:
    """The score-function gradient with a learned baseline, in place of the other draws' mean.

    ∇_φ = E[∇_φ R + (R - b(x)) Σ_i ∇_φ ln q(z_i|x)],    b descends (R - b(x))²

    Args:
        model: that draws by `jaxvae.draws.score_function`.
        reduce: a reduction of terms.
        baseline: x -> {"baseline": []}; its params are the entry "baseline" beside the model's own, where
            `beside_baseline` puts them.
        num_samples: k.
        beta: step -> the weight of the latent part, as for `negative_bound`; the baseline follows the weighted R.
        at_once: how many draws are held at once; None for all.

    Returns:
        The loss. It raises a ValueError where the draws have a path and need no baseline.

    Source: Mnih & Gregor, "Neural Variational Inference and Learning in Belief Networks" (2014), section 2.3.
    """

    def of_example(key: Key, params: Params, x: Array, step: Array) -> tuple[Array, Metrics]:
        terms = draw_terms(model, key, params, x, num_samples=num_samples, at_once=at_once)
        if terms.score is None:
            raise ValueError("a baseline is for draws without a path: give the model draw=score_function")
        path, terms = jnp.sum(terms.score - jax.lax.stop_gradient(terms.score)), terms._replace(score=None)
        bound = reduce(terms)
        weighed = bound if beta is None else reduce(temper(terms, beta(step)))
        expected = baseline.apply(params["baseline"], x)["baseline"]
        surprise = jax.lax.stop_gradient(weighed) - expected
        metrics = _metrics(bound, terms) | {"squared_surprise": jnp.square(surprise)}
        return weighed + jax.lax.stop_gradient(surprise) * path - jnp.square(surprise), metrics

    return lifted(of_example)


def beside_baseline(model: VAE, baseline: Network) -> VAE:
    """The model whose params begin with those of a baseline beside its own; no other function of it looks at them.

    Args:
        model: any.
        baseline: of `with_baseline`.

    Returns:
        The model with another `init`, which adds the entry "baseline".

    Raises:
        ValueError: when params are made, and the model has such an entry already.
    """

    def init(key: Key, x: Any) -> Params:
        key_model, key_baseline = jax.random.split(key)
        params = model.init(key_model, x)
        if "baseline" in params:
            raise ValueError('the params of this model have an entry "baseline" of their own; give it another name')
        return params | {"baseline": baseline.init(key_baseline, x)}

    return model._replace(init=init)


def _metrics(bound: Array, terms: Terms) -> Metrics:
    """What every loss reports of an example: the bound itself, and its two parts."""
    return {
        "bound": bound,
        "log_likelihood": jnp.mean(terms.log_likelihood),
        "kl": jnp.mean(jnp.sum(terms.kl, axis=-1)),
    }
