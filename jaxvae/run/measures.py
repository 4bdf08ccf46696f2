"""How the test set is measured: what serves most kinds as the `measure` of their recipe."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxvae import evaluation, training
from jaxvae.loops import HELD
from jaxvae.model import VAE
from jaxvae.run import keys
from jaxvae.run.data import Split
from jaxvae.run.held_out import even_rows
from jaxvae.run.recipe import Asked, Measured
from jaxvae.training import parallel
from jaxvae.types import Array, Key, Params

AT_ONCE = 1000  # examples in one call
CHUNK = 100  # draws of log p(x) that are held at once for each example


def of_terms(
    model: VAE,
    as_x: Callable[[Split], Any],
    *,
    over: Callable[[Any], Array] | None = None,
    unit: str = "nats",
    bits: bool = False,
) -> Callable[[Params, Split, Asked], dict[str, Measured]]:
    """How most models are measured: the ELBO and its parts by one draw, and log p(x) where there are weights.

    Args:
        model: of the run.
        as_x: a split -> the xs, `partial(as_seen, recipe)` for instance.
        over: xs -> [N] what the sums are divided by, the steps of sequences say; None for means.
        unit: of the numbers.
        bits: whether they are of levels, whose probabilities are told in bits per dimension too.

    Returns:
        The `measure` of a recipe: "test_elbo", "test_kl", "test_log_likelihood" and "test_nll"; with `bits` also
        "test_negative_elbo_in_bits" and "test_nll_in_bits", what the two cost for each dimension of x.
    """

    def measure(params: Params, test: Split, asked: Asked) -> dict[str, Measured]:
        xs = as_x(test)
        count = training.num_examples(xs)
        shares = None if over is None else np.asarray(over(xs))

        def measured(values: Any, rows: Any = slice(None), **said: Any) -> Measured:
            return Measured(np.asarray(values), unit, None if shares is None else shares[rows], said)

        log_likelihood, kl = mean_terms(model, keys.of_terms(), params, xs)
        found = {
            "test_elbo": measured(log_likelihood - kl, elbo_draws=1),
            "test_kl": measured(kl),
            "test_log_likelihood": measured(log_likelihood),
        }
        if asked.num_samples and has_weights(model, params, xs):
            rows = even_rows(count, asked.examples or count)
            estimates = log_likelihoods(
                model,
                keys.of_likelihood(),
                params,
                jax.tree.map(lambda leaf: leaf[rows], xs),
                num_samples=asked.num_samples,
                show=None if asked.show is None else f"log p(x){asked.show}",
                devices=asked.devices,
            )
            found["test_nll"] = measured(-estimates, rows, nll_k=asked.num_samples, nll_examples=len(rows))
        if bits:
            found |= _in_bits(found, dimensions(model, params, xs))
        return found

    return measure


def _in_bits(found: dict[str, Measured], size: int) -> dict[str, Measured]:
    """What bounds of levels cost for each of so many dimensions."""
    per_nat, said = 1 / (size * math.log(2)), {"dimensions": size}
    names = {"test_negative_elbo_in_bits": ("test_elbo", -per_nat), "test_nll_in_bits": ("test_nll", per_nat)}
    return {
        name: Measured(factor * found[nats].values, "bits per dimension", None, said)
        for name, (nats, factor) in names.items()
        if nats in found
    }


def dimensions(model: VAE, params: Params, xs: training.Data) -> int:
    """How many numbers the likelihood is one of: the pixels of an image with their channels, or the hidden ones.

    Args:
        model: of a run.
        params: of the model.
        xs: a tree of arrays [N, ...].

    Returns:
        D.
    """

    def drawn(key: Key, x: Any) -> Any:
        return model.likelihood(params, model.posterior(params, x).sample(key)).sample(key)

    first = jax.tree.map(lambda leaf: leaf[0], xs)
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(drawn, jax.random.key(0), first)))


def log_likelihoods(
    model: VAE,
    key: Key,
    params: Params,
    xs: training.Data,
    *,
    num_samples: int,
    batch_size: int | None = None,
    show: str | None = None,
    devices: Sequence[jax.Device] = (),
) -> np.ndarray:
    """The importance-sampling estimate of log p(x) for every example, with a progress bar.

    Args:
        model: of the run.
        key: split into one for each example.
        params: of the model.
        xs: [N, *event], or a tree of such arrays.
        num_samples: k.
        batch_size: examples in one call, on each device; None for as many as serve a CPU's caches best, 20 elsewhere.
        show: the progress bar's label; None shows none.
        devices: that share the examples; JAX's default device alone if there are not several. The numbers are the same.

    Returns:
        [N] nats.
    """
    count = training.num_examples(xs)
    batch_size = min((batch_size or _examples_at_once(xs)) * max(1, len(devices)), count)
    if len(devices) > 1:
        batch_size = math.ceil(batch_size / len(devices)) * len(devices)
        estimate = partial(_log_likelihood, model, num_samples)
        of_batch, params = parallel.over_examples(estimate, devices), parallel.copied(params, devices)
    else:
        of_batch = partial(_log_likelihoods_alone, model, num_samples)
    of_each = jax.random.split(key, count)
    estimates = []
    bar = tqdm(range(0, count, batch_size), desc=show, disable=show is None, unit=" batches", postfix="compiling")
    for start in bar:
        # The last batch is filled up with examples that are then dropped, so that one program serves all.
        rows = np.arange(start, start + batch_size) % count
        chosen = jax.tree.map(lambda leaf, rows=rows: leaf[rows], xs)
        estimates.append(np.asarray(of_batch(of_each[rows], params, chosen)))
        bar.set_postfix_str("", refresh=False)
    return np.concatenate(estimates)[:count]


def _examples_at_once(xs: training.Data) -> int:
    """So many that a chunk of draws for each stays in the cache; small ones, of 64 pixels say, are more at once."""
    if jax.default_backend() != "cpu":
        return 20
    size = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(xs))
    return min(max(1, HELD // (CHUNK * size)), 200)


def _log_likelihood(model: VAE, num_samples: int, key: Key, params: Params, x: Array) -> Array:
    return evaluation.log_likelihood(model, key, params, x, num_samples=num_samples, chunk=CHUNK)


@partial(jax.jit, static_argnums=(0, 1))
def _log_likelihoods_alone(model: VAE, num_samples: int, of_each: Key, params: Params, xs: Array) -> Array:
    return jax.vmap(partial(_log_likelihood, model, num_samples), (0, None, 0))(of_each, params, xs)


def has_weights(model: VAE, params: Params, xs: training.Data) -> bool:
    """Whether log p(x) can be estimated by importance sampling.

    Args:
        model: of a run.
        params: of the model.
        xs: a tree of arrays [N, ...].

    Returns:
        The answer.
    """
    first = jax.tree.map(lambda leaf: leaf[0], xs)
    return jax.eval_shape(model.terms, jax.random.key(0), params, first).log_weight is not None


@partial(jax.jit, static_argnums=0)
def mean_terms(model: VAE, key: Key, params: Params, xs: training.Data) -> tuple[Array, Array]:
    """log p(x|z) and the KL of each example by one draw.

    Args:
        model: of a run.
        key: split into one for each example.
        params: of the model.
        xs: a tree of arrays [N, ...].

    Returns:
        [N] each, nats.
    """

    def of_example(pair: tuple[Key, Any]) -> tuple[Array, Array]:
        terms = model.terms(pair[0], params, pair[1])
        return terms.log_likelihood, jnp.sum(terms.kl)

    count = training.num_examples(xs)
    return jax.lax.map(of_example, (jax.random.split(key, count), xs), batch_size=min(AT_ONCE, count))
