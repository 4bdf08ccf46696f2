"""A decoder that can do without its code, and what keeps it from doing so: `python -m experiments.collapse`.

A PixelCNN decoder explains binary digits well by itself. Where the code tells all pixels the same, as in van den Oord
et al. (2016), the posterior of a plain VAE falls back to the prior within an epoch: posterior collapse. The same model
is trained again with each remedy, on the same data for the same time. With `--model.likelihood.condition local` the
code tells each pixel something of its own, and nothing collapses.
"""

import json
import time
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

from experiments.collapse_figure import draw
from experiments.new_folder import new_folder
from jaxvae.evaluation import decomposition
from jaxvae.recipes import plain
from jaxvae.run import RunError, launch, refusals
from jaxvae.run.choice import EVERYDAY, to_dict
from jaxvae.run.command import command
from jaxvae.run.folder import opening
from jaxvae.run.folder.files import write_result
from jaxvae.run.held_out import as_seen, spread
from jaxvae.run.options import likelihoods, prices, priors
from jaxvae.run.options.images import Images
from jaxvae.run.options.objective import Objective
from jaxvae.run.report import study
from jaxvae.run.settings import Evaluation, Optimizer


def settings_of(remedy: str, options: "Options") -> plain.Config:
    """The configuration of a run with one of the remedies.

    Args:
        remedy: its name, one of `REMEDIES`.
        options: of the command line.

    Returns:
        The configuration.
    """
    half = max(1, options.epochs // 2)
    objectives = {
        "warm-up": Objective(price=prices.Weight(warmup_epochs=half)),
        "cyclical": Objective(price=prices.Cyclical(epochs=half)),
        "free bits": Objective(price=prices.FreeBits(nats=options.nats)),
        "leading encoder": Objective(encoder_steps=options.encoder_steps, encoder_epochs=half),
    }
    return plain.Config(
        data=options.data,
        model=replace(options.model, prior=priors.Correlated()) if remedy == "delta-VAE" else options.model,
        objective=objectives.get(remedy, Objective()),
        optimizer=options.optimizer,
        evaluation=Evaluation(num_samples=100, examples=options.examples),
        epochs=options.epochs,
        seed=options.seed,
        num_seeds=options.num_seeds,
    )


PIXELCNN = plain.Model(likelihood=likelihoods.Pixelcnn(condition="global", radius=2, layers=1))
REMEDIES = ("none", "warm-up", "cyclical", "free bits", "delta-VAE", "leading encoder")


@dataclass(frozen=True)
class Options:
    """Train the same model without a remedy and with each, and measure what its code carries."""

    epochs: Annotated[int, EVERYDAY] = 4
    """Passes over the training set, of each run."""
    nats: Annotated[float, EVERYDAY] = 8.0
    """Of free bits."""
    encoder_steps: int = 20
    """Of the encoder alone before each step, in the first half of the training."""
    examples: int = 500
    """Test examples that are measured; the mutual information can be told up to the logarithm of their number."""
    seed: int = 0
    """The first seed; all randomness comes from it."""
    num_seeds: Annotated[int, EVERYDAY] = 3
    """How many are trained."""
    data: Images = field(default_factory=partial(Images, "binarized_mnist"))
    model: plain.Model = field(default_factory=lambda: PIXELCNN)
    optimizer: Optimizer = field(default_factory=Optimizer)
    folder: Annotated[Path, EVERYDAY] = Path("runs/collapse")
    """Where the runs, result.json, collapse.png and report.html go; it must not exist."""


def main(options: Options) -> int | None:
    """Train all of them, measure, draw, report.

    Args:
        options: of the command line.

    Returns:
        The exit code of a run that stopped, else None.
    """
    for remedy in REMEDIES:
        refusals.check(settings_of(remedy, options))
    if options.examples < 2:
        raise RunError(f"--examples {options.examples} must be at least 2")
    place = new_folder(options.folder)
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    for remedy in REMEDIES:
        print(f"remedy: {remedy}", flush=True)
        settings = settings_of(remedy, options)
        name = remedy.replace(" ", "-")
        code = launch.run(plain.KIND, run_options(settings, runs=place, name=name))
        if code:
            return code
        of_seeds = [measured(place / name, options.examples, seed) for seed in range(options.num_seeds)]
        rows.append({"remedy": remedy} | {column: [of_seed[column] for of_seed in of_seeds] for column in COLUMNS})
    stored = {"rows": rows, "protocol": _protocol(options, time.monotonic() - began)}
    write_result(place / "result.json", stored)
    draw(place / "collapse.png", rows)
    page = study.write(
        place,
        module="experiments.collapse",
        title="Posterior collapse, and what prevents it",
        text="A decoder that draws pixel by pixel can do without a code, and a posterior that has fallen to the prior "
        "has no active unit and tells nothing about the image. Each remedy was given the same model, data and number "
        "of passes. More information in the code is no better bound by itself: compare −ELBO.",
        columns=("remedy", "−ELBO", "−log p(x)", "rate", "mutual information", "active units"),
        rows=[(row["remedy"], *(_cell(row[name]) for name in COLUMNS)) for row in rows],
        picture="collapse.png",
        options=to_dict(options),
    )
    print(f"report: {page}")
    return None


COLUMNS = ("negative_elbo", "nll", "rate", "mutual_information", "active_units")


def run_options(settings: plain.Config, **place: Any) -> Any:
    """The command line of one run.

    Args:
        settings: of the run.
        place: "runs" and "name".

    Returns:
        What `launch.run` takes.
    """
    return launch.options_of(plain.KIND)(
        **{item.name: getattr(settings, item.name) for item in fields(settings)}, **place
    )


def measured(place: Path, examples: int, seed: int = 0) -> dict[str, float | None]:
    """What a run's bound is, and what its code carries.

    Args:
        place: the run's folder.
        examples: how many of the test set, from all over it.
        seed: which of the run's seeds, counted from zero.

    Returns:
        Nats, and the number of active units; None for what the run did not measure.
    """
    run = opening.open_run(place, seed=seed)
    xs = as_seen(run.recipe, spread(opening.data_of(run).test, examples))
    posteriors = jax.jit(jax.vmap(partial(run.model.posterior, run.params)))(xs)
    information = jax.jit(decomposition.mutual_information)(jax.random.key(0), posteriors)
    result = json.loads((place / "result.json").read_text())

    def of_seed(name: str) -> float | None:
        return result.get(f"{name}_of_each_seed", [result.get(name)] * (seed + 1))[seed]

    elbo = of_seed("test_elbo")
    return {
        "negative_elbo": None if elbo is None else -elbo,
        "nll": of_seed("test_nll"),
        "rate": of_seed("test_kl"),
        "mutual_information": float(information),
        "active_units": float(np.sum(decomposition.active_units(posteriors))),
    }


def _cell(values: list[float | None]) -> Any:
    """The mean over seeds and its standard error, for the report; nothing where it was not measured."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return known[0] if known else ""
    return float(np.mean(known)), float(np.std(known, ddof=1) / np.sqrt(len(known)))


def _protocol(options: Options, seconds: float) -> dict:
    protocol = json.loads((options.folder / "none" / "result.json").read_text())["protocol"]
    return {
        "dataset": protocol["dataset"],
        "split": protocol["split"],
        **{name: protocol[name] for name in ("binarisation", "bound", "k", "posterior", "likelihood", "network")},
        "latent": options.model.latent,
        **{name: protocol[name] for name in ("nll_k", "nll_examples") if name in protocol},
        "epochs": options.epochs,
        "seeds": [options.seed + index for index in range(options.num_seeds)],
        "standard_error": "over seeds",
        "active_threshold": 0.01,
        "mutual_information": f"within {options.examples} posteriors, one draw each: {np.log(options.examples):.2f} at "
        "the most",
        "training_seconds": seconds,
        "device": protocol["device"],
    }


if __name__ == "__main__":
    command(main, Options)
