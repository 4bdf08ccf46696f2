"""The score-function gradient with a baseline that is learned.

Source: Mnih & Gregor, "Neural Variational Inference and Learning in Belief Networks" (2014).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvae.bounds import Reduction, draw_terms, temper
from jaxvae.losses.base import Loss, Metrics, lifted, metrics_of
from jaxvae.model import VAE
from jaxvae.types import Array, Key, Network, Params


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
        metrics = metrics_of(bound, terms) | {"squared_surprise": jnp.square(surprise)}
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
