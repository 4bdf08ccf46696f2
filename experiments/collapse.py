"""A decoder that can do without its code, and what keeps it from doing so: `python -m experiments.collapse`.

A PixelCNN decoder explains binary digits well by itself. Where the code tells all pixels the same, as in van den Oord
et al. (2016), the posterior of a plain VAE falls back to the prior within an epoch: posterior collapse. The same model
is trained again with each remedy, on the same data for the same time. With `--model.pixel-condition local` the code
tells each pixel something of its own, and nothing collapses.
"""

import dataclasses
import json
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import train
from experiments.collapse_figure import draw
from experiments.new_folder import new_folder
from jaxvae.evaluation import decomposition
from jaxvae.run import RunError, config, config_check, evaluate
from jaxvae.run.command import command
from jaxvae.run.folder import opening
from jaxvae.run.report import study


def settings_of(remedy: str, options: "Options") -> config.Config:
    """The configuration of a run with one of the remedies.

    Args:
        remedy: its name, one of `REMEDIES`.
        options: of the command line.

    Returns:
        The configuration.
    """
    half = max(1, options.epochs // 2)
    objective, model = config.Objective(), options.model
    objectives = {
        "warm-up": replace(objective, warmup_epochs=half),
        "cyclical": replace(objective, cycle_epochs=half),
        "free bits": replace(objective, free_bits=options.nats),
        "leading encoder": replace(objective, encoder_steps=options.encoder_steps, encoder_epochs=half),
    }
    return config.Config(
        data=options.data,
        model=replace(model, prior="correlated") if remedy == "delta-VAE" else model,
        objective=objectives.get(remedy, objective),
        optimizer=options.optimizer,
        evaluation=config.Evaluation(num_samples=100, examples=options.examples),
        epochs=options.epochs,
        seed=options.seed,
        num_seeds=options.num_seeds,
    )


PIXELCNN = config.Model(likelihood="pixelcnn", pixel_condition="global", pixel_radius=2, pixel_layers=1)
REMEDIES = ("none", "warm-up", "cyclical", "free bits", "delta-VAE", "leading encoder")


@dataclass(frozen=True)
class Options:
    """Train the same model without a remedy and with each, and measure what its code carries."""

    epochs: int = 4
    """Passes over the training set, of each run."""
    nats: float = 8.0
    """Of free bits."""
    encoder_steps: int = 20
    """Of the encoder alone before each step, in the first half of the training."""
    examples: int = 500
    """Test examples that are measured; the mutual information can be told up to the logarithm of their number."""
    seed: int = 0
    """The first seed; all randomness comes from it."""
    num_seeds: int = 3
    """How many are trained."""
    data: config.Data = field(default_factory=lambda: config.Data("binarized_mnist"))
    model: config.Model = field(default_factory=lambda: PIXELCNN)
    optimizer: config.Optimizer = field(default_factory=config.Optimizer)
    folder: Path = Path("runs/collapse")
    """Where the runs, result.json, collapse.png and report.html go; it must not exist."""


def main(options: Options) -> int | None:
    """Train all of them, measure, draw, report.

    Args:
        options: of the command line.

    Returns:
        The exit code of a run that stopped, else None.
    """
    for remedy in REMEDIES:
        config_check.check(settings_of(remedy, options))
    if options.examples < 2:
        raise RunError(f"--examples {options.examples} must be at least 2")
    place = new_folder(options.folder)
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    for remedy in REMEDIES:
        print(f"remedy: {remedy}", flush=True)
        settings = settings_of(remedy, options)
        run = train.Options(
            **{name: getattr(settings, name) for name in config.Config.__dataclass_fields__},
            runs=place,
            name=remedy.replace(" ", "-"),
        )
        code = train.main(run)
        if code:
            return code
        of_seeds = [measured(place / str(run.name), options.examples, seed) for seed in range(options.num_seeds)]
        rows.append({"remedy": remedy} | {name: [of_seed[name] for of_seed in of_seeds] for name in COLUMNS})
    stored = {"rows": rows, "protocol": _protocol(options, time.monotonic() - began)}
    opening.write_json(place / "result.json", stored)
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
        options={**dataclasses.asdict(options), "folder": str(options.folder)},
    )
    print(f"report: {page}")
    return None


COLUMNS = ("negative_elbo", "nll", "rate", "mutual_information", "active_units")


def measured(place: Path, examples: int, seed: int = 0) -> dict[str, float]:
    """What a run's bound is, and what its code carries.

    Args:
        place: the run's folder.
        examples: how many of the test set, from all over it.
        seed: which of the run's seeds, counted from zero.

    Returns:
        Nats, and the number of active units.
    """
    run = opening.open_run(place, seed=seed)
    dataset = opening.data_of(run.config)
    xs = evaluate.held_out(dataset.test, config.binarization(run.config))
    xs = xs[evaluate.even_rows(len(xs), examples)]
    posteriors = jax.jit(jax.vmap(partial(run.model.posterior, run.params)))(xs)
    information = jax.jit(decomposition.mutual_information)(jax.random.key(0), posteriors)
    result = json.loads((place / "result.json").read_text())

    def of_seed(name: str) -> float:
        return result.get(f"{name}_of_each_seed", [result.get(name, np.nan)])[seed]

    return {
        "negative_elbo": -of_seed("test_elbo"),
        "nll": of_seed("test_nll"),
        "rate": of_seed("test_kl"),
        "mutual_information": float(information),
        "active_units": float(np.sum(decomposition.active_units(posteriors))),
    }


def _cell(values: list[float]) -> Any:
    """The mean over seeds and its standard error, for the report."""
    mean = float(np.mean(values))
    return mean if len(values) < 2 else (mean, float(np.std(values, ddof=1) / np.sqrt(len(values))))


def _protocol(options: Options, seconds: float) -> dict:
    protocol = json.loads((options.folder / "none" / "result.json").read_text())["protocol"]
    return {
        "dataset": protocol["dataset"],
        "split": protocol["split"],
        "binarisation": protocol["binarisation"],
        "bound": "elbo",
        "nll_k": protocol["nll_k"],
        "nll_examples": options.examples,
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
