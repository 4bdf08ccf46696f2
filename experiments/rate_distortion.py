"""The rate-distortion curve of a VAE: a grid of betas and seeds, trained together in one program.

`python -m experiments.rate_distortion --betas 0.1 0.3 1 3 10 --num-seeds 3`

    rate R = E[KL(q(z|x) || p(z))],    distortion D = E[-log p(x|z)],    -ELBO = R + D

Training descends D + β R, so that its optima lie on a curve of slope dD/dR = -β (Alemi et al., "Fixing a Broken ELBO",
2018; Higgins et al., "beta-VAE", 2017).
"""

import dataclasses
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.new_folder import new_folder
from experiments.rate_distortion_figure import draw
from jaxvae import bounds, losses, training
from jaxvae.model import VAE
from jaxvae.run import RunError, build, config, config_check, evaluate
from jaxvae.run.command import command
from jaxvae.run.data import Dataset
from jaxvae.run.folder import opening
from jaxvae.run.report import study
from jaxvae.run.train import Diverged, check_data, check_finite
from jaxvae.types import Array, Key, Params

SPLITS = ("train", "test")
QUANTITIES = {"rate": "rate", "distortion": "distortion", "negative_elbo": "−ELBO"}


@dataclass(frozen=True)
class Options:
    """Train a VAE for every beta and seed of a grid in one program, and draw the rate-distortion curve."""

    betas: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    """The weights of the rate in the loss."""
    num_seeds: int = 3
    """Train every beta with so many seeds (seed, seed + 1, ...); the error bars are standard errors over them."""
    seed: int = 0
    """The first seed; the same seeds serve every beta."""
    epochs: int = 40
    """Passes over the training set."""
    batch_size: int = 100
    """Examples in one step."""
    num_samples: int = 10
    """Posterior draws for each example in the reported distortion."""
    data: config.Data = field(default_factory=config.Data)
    model: config.Model = field(default_factory=config.Model)
    optimizer: config.Optimizer = field(default_factory=config.Optimizer)
    folder: Path = Path("runs/rate_distortion")
    """Where result.json, rate_distortion.png and report.html go; it must not exist."""


class Points(NamedTuple):
    """The mean rate and distortion of each trained model on one split, in nats per example."""

    rate: np.ndarray  # [betas, seeds]
    distortion: np.ndarray  # [betas, seeds]


def main(options: Options) -> int | None:
    """Train the grid, measure it, write the numbers and the picture.

    Args:
        options: of the command line.

    Returns:
        1 where a model diverged, else None.
    """
    check(options)
    settings = settings_of(options)
    config_check.check(settings)
    dataset = opening.data_of(settings)
    check_data(settings, dataset)
    model = build.model_of(settings, dataset.train.examples.shape[1:])
    place = new_folder(options.folder)
    betas = sorted(options.betas)

    began = time.monotonic()
    try:
        params = train_grid(settings, model, dataset, betas)
    except Diverged as error:
        place.rmdir()
        print(f"error: {error}; try a lower --optimizer.lr, or --optimizer.clip 1", file=sys.stderr)
        return 1
    seconds = time.monotonic() - began

    binarize = config.binarization(settings)
    points = {
        name: measure(model, params, evaluate.held_out(getattr(dataset, name), binarize), options.num_samples)
        for name in SPLITS
    }
    protocol = {
        "dataset": dataset.name,
        "split": dataset.split,
        "binarisation": evaluate.BINARISATION.get(dataset.name, binarize),
        "bound": "elbo",
        "k": 1,
        "draws": options.num_samples,
        "seeds": [options.seed + s for s in range(options.num_seeds)],
        "standard_error": "over seeds",
        "examples": {name: len(getattr(dataset, name).examples) for name in SPLITS},
        "units": "nats per example",
        "models_in_one_program": len(betas) * options.num_seeds,
        "training_seconds": seconds,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    rows = [row(index, beta, points) for index, beta in enumerate(betas)]
    stored = {"points": rows, "protocol": protocol, "configuration": dataclasses.asdict(options)}
    opening.write_json(place / "result.json", _plain(stored))
    draw(place / "rate_distortion.png", np.array(betas), points, dataset.name)
    _print(rows, protocol)
    page = study.write(
        place,
        module="experiments.rate_distortion",
        title=f"Rate and distortion, {dataset.name}",
        text="How many nats a code may cost, and how well it then describes an image: VAEs trained alike but for beta, "
        "the weight of the rate. At beta = 1 the loss is the ELBO.",
        columns=("beta", *(f"{name}, test" for name in QUANTITIES.values())),
        rows=[
            (of_beta["beta"], *((of_beta[f"test_{q}"], of_beta[f"test_{q}_standard_error"]) for q in QUANTITIES))
            for of_beta in rows
        ],
        picture="rate_distortion.png",
        options=_plain(dataclasses.asdict(options)),
    )
    print(f"report: {page}")
    return None


def check(options: Options) -> None:
    """Refuse what cannot be.

    Args:
        options: of the command line.

    Raises:
        RunError: the first impossible value, and what to do.
    """
    for beta in options.betas:
        if not (math.isfinite(beta) and beta >= 0):
            raise RunError(
                f"--betas {beta:g} must be zero or a positive number: a negative weight rewards rate forever"
            )
    repeated = [beta for beta, count in Counter(options.betas).items() if count > 1]
    if repeated:
        raise RunError(f"--betas has {repeated[0]:g} twice: give each once, and --num-seeds for repetitions")
    if len(options.betas) < 2:
        raise RunError("a curve needs two --betas or more; for one, experiments.train has --objective.beta")
    if options.num_samples < 1:
        raise RunError(f"--num-samples {options.num_samples} must be at least 1")


def settings_of(options: Options) -> config.Config:
    """The configuration that every model of the grid shares, its beta left at one.

    Args:
        options: of the command line.

    Returns:
        The configuration of a run.
    """
    return config.Config(
        data=options.data,
        model=options.model,
        optimizer=options.optimizer,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        num_seeds=options.num_seeds,
    )


def train_grid(settings: config.Config, model: VAE, dataset: Dataset, betas: list[float]) -> Params:
    """Train every beta with every seed: one jitted epoch, `vmap`ped over betas and seeds.

    A seed's numbers are those of `experiments.train --objective.beta BETA --seed SEED`, up to rounding.

    Args:
        settings: made by `settings_of`.
        model: made by `build.model_of`.
        dataset: the data.
        betas: the weights of the rate.

    Returns:
        The evaluated params, every leaf with the leading axes [betas, seeds].

    Raises:
        Diverged: a term is not finite.
    """
    images = dataset.train.examples
    per_epoch = len(images) // settings.batch_size
    states, keys = _start(settings, model, images, num_steps=settings.epochs * per_epoch)
    states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(betas), *leaf.shape)), states)
    epoch = epoch_of_grid(settings, model, num_steps=settings.epochs * per_epoch)
    data, weights = jnp.asarray(images), jnp.asarray(betas, jnp.float32)
    with tqdm(total=settings.epochs, desc=f"training {len(betas) * len(keys)} models", unit=" epochs") as bar:
        for done in range(settings.epochs):
            states, metrics = epoch(states, keys, weights, data)
            metrics = {name: values.reshape(-1, per_epoch) for name, values in jax.device_get(metrics).items()}
            check_finite(metrics, first_step=done * per_epoch)
            bar.update()
    return opening.evaluated_params(states)


def epoch_of_grid(settings: config.Config, model: VAE, *, num_steps: int) -> Callable[..., Any]:
    """One epoch of the whole grid as one program.

    Args:
        settings: made by `settings_of`.
        model: made by `build.model_of`.
        num_steps: of the whole training, for the learning rate's schedule.

    Returns:
        (states [betas, seeds], keys [seeds], betas [betas], data [N, *event]) -> (states, metrics).
    """
    optimizer = build.optimizer_of(settings, num_steps)

    def epoch(state: training.State, key: Key, beta: Array, data: Array) -> tuple[training.State, losses.Metrics]:
        loss = losses.negative_bound(model, bounds.average, beta=lambda step: beta)
        return training.steps(
            state,
            key,
            data,
            step=training.make_step(loss, optimizer, decay=settings.optimizer.average),
            prepare=build.prepare_of(settings),
            batch_size=settings.batch_size,
        )

    over_seeds = jax.vmap(epoch, (0, 0, None, None))
    return jax.jit(jax.vmap(over_seeds, (0, None, 0, None)), donate_argnums=0)


def _start(settings: config.Config, model: VAE, images: np.ndarray, *, num_steps: int) -> tuple[training.State, Key]:
    """The initial states and the keys of training, [seeds] each: those of `experiments.train` for each seed."""
    alone = [
        dataclasses.replace(settings, seed=settings.seed + index, num_seeds=1) for index in range(settings.num_seeds)
    ]
    states = [
        opening.initial_state(of_seed, model, images.shape[1:], num_steps=num_steps, images=images) for of_seed in alone
    ]
    keys = jnp.stack([jax.random.fold_in(opening.seed_keys(of_seed), 1) for of_seed in alone])
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), keys


def measure(model: VAE, params: Params, xs: Array, num_samples: int) -> Points:
    """The mean rate and distortion of every model of the grid, with the same draws for all.

    Args:
        model: the model.
        params: with the leading axes [betas, seeds].
        xs: [N, *event] examples.
        num_samples: posterior draws for each example.

    Returns:
        The points of the curve.
    """
    rate, distortion = _measure(model, num_samples, params, xs)
    return Points(np.asarray(rate, np.float64), np.asarray(distortion, np.float64))


@partial(jax.jit, static_argnums=(0, 1))
def _measure(model: VAE, num_samples: int, params: Params, xs: Array) -> tuple[Array, Array]:
    keys = jax.random.split(jax.random.key(2), len(xs))

    def of_model(params: Params) -> tuple[Array, Array]:
        def of_example(pair: tuple[Key, Array]) -> tuple[Array, Array]:
            terms = bounds.draw_terms(model, pair[0], params, pair[1], num_samples=num_samples)
            return jnp.mean(jnp.sum(terms.kl, axis=-1)), -jnp.mean(terms.log_likelihood)

        rates, distortions = jax.lax.map(of_example, (keys, xs), batch_size=200)
        return jnp.mean(rates), jnp.mean(distortions)

    grid = jax.tree.leaves(params)[0].shape[:2]
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), params)
    rate, distortion = jax.lax.map(of_model, flat)
    return rate.reshape(grid), distortion.reshape(grid)


def row(index: int, beta: float, points: dict[str, Points]) -> dict[str, Any]:
    """The numbers of one beta: means over seeds, their standard errors, and each seed's value.

    Args:
        index: of the beta in the grid.
        beta: the weight.
        points: split -> its points.

    Returns:
        {"beta": ..., "train_rate": ..., "train_rate_standard_error": ..., ...}; no error where there is one seed.
    """
    numbers: dict[str, Any] = {"beta": beta}
    for split, (rates, distortions) in points.items():
        quantities = {"rate": rates, "distortion": distortions, "negative_elbo": rates + distortions}
        for name, values in quantities.items():
            of_seeds = values[index]
            error = of_seeds.std(ddof=1) / math.sqrt(len(of_seeds)) if len(of_seeds) > 1 else None
            numbers[f"{split}_{name}"] = float(of_seeds.mean())
            numbers[f"{split}_{name}_standard_error"] = error if error is None else float(error)
            numbers[f"{split}_{name}_of_each_seed"] = of_seeds.tolist()
    return numbers


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _print(rows: list[dict[str, Any]], protocol: dict[str, Any]) -> None:
    print(f"{protocol['dataset']}, test set, mean over {len(protocol['seeds'])} seeds, nats per example:")
    print(f"{'beta':>8}  {'rate':>8}  {'distortion':>10}  {'-ELBO':>8}")
    for numbers in rows:
        print(
            f"{numbers['beta']:8g}  {numbers['test_rate']:8.2f}  {numbers['test_distortion']:10.2f}  "
            f"{numbers['test_negative_elbo']:8.2f}"
        )


if __name__ == "__main__":
    command(main, Options)
