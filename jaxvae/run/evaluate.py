"""The numbers of a run on held-out data, with their protocol."""

import math
import os
import platform
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxvae import evaluation, training
from jaxvae.model import VAE
from jaxvae.run import build, hosts, structures
from jaxvae.run import config as configuration
from jaxvae.run.data import Dataset, Split
from jaxvae.training import parallel
from jaxvae.types import Array, Key, Params

BINARISATION = {"binarized_mnist": "static (Larochelle's)"}
OF_BOUND = {  # the settings without which the name of a bound says too little
    "renyi": ("alpha",),
    "ciwae": ("elbo_share",),
    "miwae": ("groups",),
    "piwae": ("groups",),
    "tvo": ("intervals",),
}
OF_ESTIMATOR = {"straight-through": ("temperature",)}
OF_POSTERIOR = {
    "hamiltonian": ("inference_steps",),
    "semi-amortised": ("inference_steps",),
    "one-hot": ("classes",),
}
DRAWS_AT_ONCE = 5000  # measured: with ten times as many a CPU, out of cache, draws at less than half the speed
HELD_OUT_KEY = 20140416  # held-out pixels are drawn once, and are the same for every run


def held_out(split: Split, binarize: str) -> Array:
    """Held-out examples as the model sees them; dynamic binarisation draws them once, by a fixed key.

    Args:
        split: of the data set.
        binarize: the run's word.

    Returns:
        [N, H, W, C] in [0, 1].
    """
    return _prepared(training.dynamic_binarization if binarize == "dynamic" else training.grey, split.images)


def as_seen(config: configuration.Config, split: Split) -> Any:
    """Held-out examples as the model of a run takes them: `held_out` images, with their labels where it is told them.

    Args:
        config: of the run.
        split: of its data.

    Returns:
        [N, H, W, C] in [0, 1], or those and labels [N].
    """
    return _prepared(build.prepare_of(config), structures.stored(config, split))


def _prepared(prepare: training.Prepare, stored: training.Data) -> Any:
    keys = jax.random.split(jax.random.key(HELD_OUT_KEY), training.num_examples(stored))
    return jax.jit(jax.vmap(prepare))(keys, jax.tree.map(jnp.asarray, stored))


def even_rows(total: int, count: int) -> np.ndarray:
    """Rows from all over a split: some data sets are sorted by class, others, MNIST's test set say, by their writers.

    Args:
        total: how many examples there are.
        count: how many are wanted.

    Returns:
        At most so many rows, at even distances.
    """
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))


class Monitor:
    """The training's own bound on the validation set (on the test set where there is none), after each epoch."""

    def __init__(self, config: configuration.Config, model: VAE, dataset: Dataset):
        """Prepare the examples.

        Args:
            config: of the run.
            model: of the run.
            dataset: of the run.
        """
        self.name = "test" if dataset.valid is None else "valid"
        self._xs = as_seen(config, dataset.valid or dataset.test)
        at_once = max(1, DRAWS_AT_ONCE // config.objective.num_samples)
        self._bound = _over_seeds(config, partial(mean_bound, build.bound_of(config), model, at_once=at_once))

    def __call__(self, params: Params) -> dict[str, Any]:
        """The mean bound, in nats.

        Args:
            params: with a leading axis of seeds where there are several.

        Returns:
            {"valid_bound": a number, or one for each seed}.
        """
        return {f"{self.name}_bound": np.asarray(self._bound(jax.random.key(1), params, self._xs)).tolist()}


@partial(jax.jit, static_argnums=(0, 1), static_argnames="at_once")
def mean_bound(
    bound: Callable[..., Array], model: VAE, key: Key, params: Params, xs: training.Data, *, at_once: int = 1000
) -> Array:
    """The mean of a per-example bound over a data set, some examples at a time.

    Args:
        bound: (model, key, params, x) -> [].
        model: of the run.
        key: split into one for each example.
        params: of the model.
        xs: [N, *event], or a tree of such arrays.
        at_once: how many examples; the number is the same.

    Returns:
        [] nats.
    """
    count = training.num_examples(xs)
    keys = jax.random.split(key, count)
    return jnp.mean(
        jax.lax.map(lambda pair: bound(model, pair[0], params, pair[1]), (keys, xs), batch_size=min(at_once, count))
    )


def _over_seeds(config: configuration.Config, function: Callable) -> Callable:
    return function if config.num_seeds == 1 else jax.vmap(function, (None, 0, None))


def log_likelihoods(
    model: VAE,
    key: Key,
    params: Params,
    xs: training.Data,
    *,
    num_samples: int,
    batch_size: int = 20,
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
        batch_size: examples in one call, on each device.
        show: the progress bar's label; None shows none.
        devices: that share the examples; JAX's default device alone if there are not several. The numbers are the same.

    Returns:
        [N] nats.
    """
    count = training.num_examples(xs)
    batch_size = min(batch_size * max(1, len(devices)), count)
    if len(devices) > 1:
        batch_size = math.ceil(batch_size / len(devices)) * len(devices)
        estimate = partial(_log_likelihood, model, num_samples)
        of_batch, params = parallel.over_examples(estimate, devices), parallel.copied(params, devices)
    else:
        of_batch = partial(_log_likelihoods_alone, model, num_samples)
    keys = jax.random.split(key, count)
    estimates = []
    for start in tqdm(range(0, count, batch_size), desc=show, disable=show is None, unit=" batches"):
        # The last batch is filled up with examples that are then dropped, so that one program serves all.
        rows = np.arange(start, start + batch_size) % count
        chosen = jax.tree.map(lambda leaf, rows=rows: leaf[rows], xs)
        estimates.append(np.asarray(of_batch(keys[rows], params, chosen)))
    return np.concatenate(estimates)[:count]


def _log_likelihood(model: VAE, num_samples: int, key: Key, params: Params, x: Array) -> Array:
    return evaluation.log_likelihood(model, key, params, x, num_samples=num_samples)


@partial(jax.jit, static_argnums=(0, 1))
def _log_likelihoods_alone(model: VAE, num_samples: int, keys: Key, params: Params, xs: Array) -> Array:
    return jax.vmap(partial(_log_likelihood, model, num_samples), (0, None, 0))(keys, params, xs)


def result(
    config: configuration.Config,
    model: VAE,
    params: Params,
    dataset: Dataset,
    speed: dict[str, float],
    *,
    devices: Sequence[jax.Device] = (),
) -> dict:
    """The test numbers and their protocol: what `result.json` holds.

    Args:
        config: of the run.
        model: of the run.
        params: with a leading axis of seeds where there are several.
        dataset: of the run.
        speed: "wall_seconds" and "images_per_second" of the training.
        devices: that share the examples, of all processes.

    Returns:
        `test_elbo` and `test_nll` in nats, with standard errors over seeds where there are several, else over examples.
    """
    binarize = configuration.binarization(config)
    xs = as_seen(config, dataset.test)
    count = training.num_examples(xs)
    seeds = config.num_seeds
    of_seed = [jax.tree.map(lambda leaf, s=s: leaf[s], params) for s in range(seeds)] if seeds > 1 else [params]
    evaluated: dict[str, list[np.ndarray]] = {"test_elbo": [], "test_kl": [], "test_log_likelihood": []}
    chosen = even_rows(count, config.evaluation.examples or count)
    nll_k = config.evaluation.num_samples if _has_weights(model, of_seed[0], xs) else 0
    if nll_k:
        evaluated["test_nll"] = []
    for index, seed_params in enumerate(of_seed):
        log_likelihood, kl = _mean_terms(model, jax.random.key(2), seed_params, xs)
        evaluated["test_elbo"].append(np.asarray(log_likelihood - kl))
        evaluated["test_kl"].append(np.asarray(kl))
        evaluated["test_log_likelihood"].append(np.asarray(log_likelihood))
        if nll_k:
            label = f"log p(x), seed {config.seed + index}" if seeds > 1 else "log p(x)"
            estimates = log_likelihoods(
                model,
                jax.random.key(3),
                seed_params,
                jax.tree.map(lambda leaf: leaf[chosen], xs),
                num_samples=nll_k,
                show=label if hosts.is_first() else None,
                devices=devices,
            )
            evaluated["test_nll"].append(-estimates)
    numbers: dict[str, Any] = {}
    for name, per_seed in evaluated.items():
        numbers |= _mean_and_error(name, np.stack(per_seed))
    return numbers | {"protocol": _protocol(config, dataset, binarize, nll_k, len(chosen)) | speed}


def _has_weights(model: VAE, params: Params, xs: training.Data) -> bool:
    """Whether log p(x) can be estimated by importance sampling."""
    first = jax.tree.map(lambda leaf: leaf[0], xs)
    return jax.eval_shape(model.terms, jax.random.key(0), params, first).log_weight is not None


@partial(jax.jit, static_argnums=0)
def _mean_terms(model: VAE, key: Key, params: Params, xs: training.Data) -> tuple[Array, Array]:
    """log p(x|z) and the KL of each example, [N] each, by one draw."""

    def of_example(pair: tuple[Key, Array]) -> tuple[Array, Array]:
        terms = model.terms(pair[0], params, pair[1])
        return terms.log_likelihood, jnp.sum(terms.kl)

    return jax.lax.map(of_example, (jax.random.split(key, training.num_examples(xs)), xs), batch_size=1000)


def _mean_and_error(name: str, values: np.ndarray) -> dict[str, Any]:
    """The mean of [S, N] values, and its standard error over seeds, or over examples for one seed."""
    means = values.mean(axis=1)
    spread = means if len(means) > 1 else values[0]
    error = spread.std(ddof=1) / math.sqrt(len(spread)) if len(spread) > 1 else float("nan")
    row: dict[str, Any] = {name: float(means.mean()), f"{name}_standard_error": float(error)}
    return row | {f"{name}_of_each_seed": means.tolist()} if len(means) > 1 else row


def _protocol(
    config: configuration.Config, dataset: Dataset, binarize: str, nll_k: int, examples: int
) -> dict[str, Any]:
    return structures.protocol(config.model) | {
        "dataset": dataset.name,
        "split": dataset.split,
        "binarisation": BINARISATION.get(dataset.name, binarize),
        "bound": config.objective.bound,
        **{name: getattr(config.objective, name) for name in OF_BOUND.get(config.objective.bound, ())},
        "k": config.objective.num_samples,
        "estimator": config.objective.estimator,
        **{name: getattr(config.objective, name) for name in OF_ESTIMATOR.get(config.objective.estimator, ())},
        "posterior": config.model.posterior,
        **{name: getattr(config.model, name) for name in OF_POSTERIOR.get(config.model.posterior, ())},
        "prior": config.model.prior,
        "elbo_draws": 1,
        "nll_k": nll_k,
        "nll_examples": examples if nll_k else 0,
        "test_examples": len(dataset.test.images),
        "seeds": [config.seed + s for s in range(config.num_seeds)],
        "standard_error": "over seeds" if config.num_seeds > 1 else "over test examples",
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "precision": config.precision,
        "device": _device(),
        "jax": jax.__version__,
    }


def _device() -> str:
    """The accelerator by its own name; a CPU, which JAX calls just that, by its model and number of cores."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    names = re.findall(r"model name\s*: (.*)", _read(Path("/proc/cpuinfo")))
    return f"{os.cpu_count()} CPU cores, {names[0] if names else platform.processor() or platform.machine()}"


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
