"""A decoder that can do without its code, and what keeps it from doing so: `python -m experiments.collapse`.

A PixelCNN decoder explains binary digits well by itself, and the posterior of a plain VAE with it falls toward the
prior, all the way where that decoder is strong: posterior collapse. The same model is trained again with each remedy,
on the same data for the same time.
"""

import dataclasses
import json
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments import train
from experiments.collapse_figure import draw
from experiments.new_folder import new_folder
from jaxvae import decomposition
from jaxvae.run import RunError, config, config_check, evaluate, experiment_report, folder
from jaxvae.run.command import command


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
    )


REMEDIES = ("none", "warm-up", "cyclical", "free bits", "delta-VAE", "leading encoder")


@dataclass(frozen=True)
class Options:
    """Train the same model without a remedy and with each, and measure what its code carries."""

    epochs: int = 2
    """Passes over the training set, of each run."""
    nats: float = 8.0
    """Of free bits."""
    encoder_steps: int = 5
    """Of the encoder alone before each step, in the first half of the training."""
    examples: int = 500
    """Test examples that are measured; the mutual information can be told up to the logarithm of their number."""
    seed: int = 0
    """All randomness comes from it."""
    data: config.Data = field(default_factory=lambda: config.Data("binarized_mnist"))
    model: config.Model = field(default_factory=lambda: config.Model(likelihood="pixelcnn", pixel_layers=2))
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
    rows, began = [], time.monotonic()
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
        rows.append({"remedy": remedy} | measured(place / str(run.name), options.examples))
    stored = {"rows": rows, "protocol": _protocol(options, time.monotonic() - began)}
    folder.write_json(place / "result.json", stored)
    draw(place / "collapse.png", rows)
    page = experiment_report.write(
        place,
        module="experiments.collapse",
        title="Posterior collapse, and what prevents it",
        text="A decoder that draws pixel by pixel can do without a code, and a posterior that has fallen to the prior "
        "has no active unit and tells nothing about the image. Each remedy was given the same model, data and number "
        "of passes. More information in the code is no better bound by itself: compare −ELBO.",
        columns=("remedy", "−ELBO", "−log p(x)", "rate", "mutual information", "active units"),
        rows=[tuple(row[name] for name in ("remedy", *COLUMNS)) for row in _readable(rows)],
        picture="collapse.png",
        options={**dataclasses.asdict(options), "folder": str(options.folder)},
    )
    print(f"report: {page}")
    return None


COLUMNS = ("negative_elbo", "nll", "rate", "mutual_information", "active_units")


def measured(place: Path, examples: int) -> dict[str, float]:
    """What a run's bound is, and what its code carries.

    Args:
        place: the run's folder.
        examples: how many of the test set.

    Returns:
        Nats, and the number of active units.
    """
    run = folder.open_run(place)
    dataset = folder.data_of(run.config)
    xs = evaluate.held_out(dataset.test, config.binarization(run.config))[:examples]
    posteriors = jax.jit(jax.vmap(partial(run.model.posterior, run.params)))(xs)
    information = jax.jit(decomposition.mutual_information)(jax.random.key(0), posteriors)
    result = json.loads((place / "result.json").read_text())
    return {
        "negative_elbo": -result["test_elbo"],
        "nll": result["test_nll"],
        "rate": result["test_kl"],
        "mutual_information": float(information),
        "active_units": int(np.sum(decomposition.active_units(posteriors))),
    }


def _readable(rows: list[dict]) -> list[dict]:
    return [
        {name: f"{value:.2f}" if isinstance(value, float) else str(value) for name, value in row.items()}
        for row in rows
    ]


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
        "seeds": [options.seed],
        "active_threshold": 0.01,
        "mutual_information": f"within {options.examples} posteriors, one draw each: {np.log(options.examples):.2f} at "
        "the most",
        "training_seconds": seconds,
        "device": protocol["device"],
    }


if __name__ == "__main__":
    command(main, Options)
