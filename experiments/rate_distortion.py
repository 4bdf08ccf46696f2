"""The rate-distortion curve of a VAE: a grid of betas and seeds, of which one compiled step trains every model.

`python -m experiments.rate_distortion --betas 0.1 0.3 1 3 10 --num-seeds 3`

    rate R = E[KL(q(z|x) || p(z))],    distortion D = E[-log p(x|z)],    -ELBO = R + D

Training descends D + β R, so that its optima lie on a curve of slope dD/dR = -β (Alemi et al., "Fixing a Broken ELBO",
2018; Higgins et al., "beta-VAE", 2017).
"""

import math
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.new_folder import new_folder
from experiments.rate_distortion_figure import draw
from jaxvae import bounds, losses
from jaxvae.losses import Loss, Metrics
from jaxvae.model import VAE
from jaxvae.recipes import plain
from jaxvae.run import RunError, refusals
from jaxvae.run.choice import EVERYDAY, AtLeast, check_ranges, to_dict
from jaxvae.run.command import command
from jaxvae.run.data import Dataset, Split
from jaxvae.run.evaluate import device_name
from jaxvae.run.folder.files import write_result
from jaxvae.run.held_out import as_seen
from jaxvae.run.options.images import Images
from jaxvae.run.recipe import Recipe, about
from jaxvae.run.report import study
from jaxvae.run.settings import Optimizer
from jaxvae.run.train import Diverged, train
from jaxvae.training import make_step
from jaxvae.types import Array, Key, Params

SPLITS = ("train", "test")
QUANTITIES = {"rate": "rate", "distortion": "distortion", "negative_elbo": "−ELBO"}


@dataclass(frozen=True)
class Options:
    """Train a VAE for every beta and seed of a grid, and draw the rate-distortion curve."""

    betas: Annotated[tuple[float, ...], EVERYDAY] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    """The weights of the rate in the loss."""
    num_seeds: Annotated[int, EVERYDAY] = 3
    """Train every beta with so many seeds (seed, seed + 1, ...); the error bars are standard errors over them."""
    seed: Annotated[int, EVERYDAY] = 0
    """The first seed; the same seeds serve every beta."""
    epochs: Annotated[int, EVERYDAY] = 40
    """Passes over the training set."""
    batch_size: int = 100
    """Examples in one step."""
    num_samples: Annotated[int, AtLeast(1)] = 10
    """Posterior draws for each example in the reported distortion."""
    data: Images = field(default_factory=Images)
    model: plain.Model = field(default_factory=plain.Model)
    optimizer: Optimizer = field(default_factory=Optimizer)
    folder: Annotated[Path, EVERYDAY] = Path("runs/rate_distortion")
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
    refusals.check(settings)
    dataset = plain.KIND.data(settings)
    recipe = plain.KIND.recipe(settings, about(dataset))
    refusals.check_data(recipe, settings.course(), dataset)
    place = new_folder(options.folder)
    betas = sorted(options.betas)

    began = time.monotonic()
    try:
        params = train_grid(settings, recipe, dataset, betas)
    except Diverged as error:
        place.rmdir()
        print(f"error: {error}; try a lower --optimizer.lr, or --optimizer.clip 1", file=sys.stderr)
        return 1
    seconds = time.monotonic() - began

    seen = {name: as_seen(recipe, getattr(dataset, name)) for name in SPLITS}
    points = {name: measure(recipe.model, params, xs, options.num_samples) for name, xs in seen.items()}
    protocol = {
        "dataset": dataset.name,
        "split": dataset.split,
        **{name: said for name, said in recipe.protocol.items() if name != "price"},
        "latent": options.model.latent,
        "draws": options.num_samples,
        "seeds": settings.seeds,
        "standard_error": "over seeds",
        "examples": {name: len(xs) for name, xs in seen.items()},
        "units": "nats per example",
        "models": len(betas) * options.num_seeds,
        "training_seconds": seconds,
        "device": device_name(),
        "jax": jax.__version__,
    }
    rows = [row(index, beta, points) for index, beta in enumerate(betas)]
    chosen = to_dict(options)
    write_result(place / "result.json", {"points": rows, "protocol": protocol, "configuration": chosen})
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
        options=chosen,
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
        raise RunError("a curve needs two --betas or more; for one, jaxvae train has --objective.price.beta")
    check_ranges(options)


def settings_of(options: Options) -> plain.Config:
    """The configuration that every model of the grid shares, its beta left at one.

    Args:
        options: of the command line.

    Returns:
        The configuration of a run.
    """
    shared = ("data", "model", "optimizer", "epochs", "batch_size", "seed", "num_seeds")
    return plain.Config(**{name: getattr(options, name) for name in shared})


def train_grid(settings: plain.Config, recipe: Recipe, dataset: Dataset, betas: list[float]) -> Params:
    """Train every beta with every seed: betas one after another, by a step that is compiled once for all of them.

    A seed's numbers are those of `jaxvae train --objective.price.beta BETA --seed SEED`, up to rounding.

    Args:
        settings: made by `settings_of`.
        recipe: of these settings.
        dataset: the data.
        betas: the weights of the rate.

    Returns:
        The evaluated params, every leaf with the leading axes [betas, seeds].

    Raises:
        Diverged: a term is not finite.
    """
    course, unwatched = settings.course(), dataset._replace(valid=None, test=Split(()))
    num_steps = course.epochs * (dataset.train.size // course.batch_size)
    step = make_step(weighted(recipe.model), course.optimizer(num_steps), decay=course.average)

    def trained(beta: float) -> Params:
        of_beta = recipe._replace(
            init=lambda key: (recipe.init(key)[0], jnp.float32(beta)), step=lambda *of_a_run: step
        )
        params = train(of_beta, course, unwatched, show=f"beta {beta:g}").params
        return params if course.num_seeds > 1 else jax.tree.map(lambda leaf: leaf[None], params)

    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(trained, betas))


def weighted(model: VAE) -> Loss:
    """D + β R of a batch, with the β that training carries beside the params: no constant of the program.

    Args:
        model: any.

    Returns:
        The loss, whose `extra` is β, [].
    """

    def loss(keys: Key, params: Params, extra: Any, xs: Array, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        of_beta = losses.negative_bound(model, bounds.average, beta=lambda step: extra)
        value, (_, metrics) = of_beta(keys, params, (), xs, step)
        return value, (extra, metrics)

    return loss


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
