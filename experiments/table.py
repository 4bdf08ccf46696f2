"""A VAE of a table of numbers: `python -m experiments.table FILE.csv` writes codes, scores, new rows and a picture.

Every column is a number, every row an example; the model is `jaxvae.VAEEstimator`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from sklearn.mixture import GaussianMixture

from experiments.new_folder import new_folder
from experiments.table_figure import draw
from jaxvae.run import RunError
from jaxvae.run.choice import to_dict
from jaxvae.run.command import command
from jaxvae.run.data.columns import Table, read_table, write_table
from jaxvae.run.folder.files import write_result
from jaxvae.run.report import study
from jaxvae.run.scikit import VAEEstimator

FEWEST_ROWS = 10


@dataclass(frozen=True)
class Options:
    """Fit a VAE to a table of numbers, and write its codes, its scores and new rows as .csv files."""

    file: tyro.conf.Positional[Path]
    """A .csv file of numbers, with or without a line of column names."""
    folder: Path | None = None
    """Where the results go; it must not exist. By default runs/ and the file's name."""
    latent: int = 2
    """The number of latent dimensions."""
    hidden: tuple[int, ...] = (64,)
    """The widths of the encoder's hidden layers."""
    likelihood: Literal["gaussian", "bernoulli"] | None = None
    """The density of a value; by default Bernoulli where the table holds nothing but zeros and ones."""
    epochs: int = 100
    """Passes over the rows."""
    batch_size: int = 32
    """Rows in one step."""
    lr: float = 3e-3
    """The learning rate."""
    num_samples: int = 100
    """Draws for the estimate of log p of each row."""
    held_out: float = 0.2
    """The part of the rows that is kept from training, to judge the model by."""
    samples: int = 1000
    """How many new rows are drawn."""
    seed: int = 0
    """All randomness comes from it."""


def main(options: Options) -> None:
    """Read, fit, write.

    Args:
        options: of the command line.
    """
    if not 0 < options.held_out < 1:
        raise RunError(
            f"--held-out {options.held_out} must lie between 0 and 1: 0.2 keeps every fifth row from training"
        )
    if options.samples < 1:
        raise RunError(f"--samples {options.samples} must be at least 1")
    table = read_table(options.file)
    if len(table.values) < FEWEST_ROWS:
        raise RunError(f"{options.file} has {len(table.values)} rows, and a model of them needs at least {FEWEST_ROWS}")
    binary = bool(np.isin(table.values, (0, 1)).all())
    if options.likelihood == "bernoulli" and not binary:
        raise RunError(f"{options.file} has values other than 0 and 1: give --likelihood gaussian")
    estimator = VAEEstimator(
        latent=options.latent,
        hidden=options.hidden,
        likelihood=options.likelihood or ("bernoulli" if binary else "gaussian"),
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        num_samples=options.num_samples,
        random_state=options.seed,
        verbose=True,
    )
    held_out = _held_out(len(table.values), options)
    if estimator.likelihood == "gaussian":
        _check_spread(options, table, held_out)
    try:
        estimator.check_parameters()
    except ValueError as error:
        raise RunError(str(error)) from None
    place = new_folder(options.folder or Path("runs") / options.file.stem)
    try:
        estimator.fit(table.values[~held_out])
    except ValueError as error:
        place.rmdir()
        raise RunError(str(error)) from None

    codes, scores = estimator.transform(table.values), estimator.score_samples(table.values)
    new_rows = estimator.sample(options.samples)
    _write_tables(place, table, codes, scores, held_out, new_rows)
    reference = baseline(estimator, table.values[~held_out], table.values[held_out])
    numbers = {
        "held_out_log_density": _mean_and_error(scores[held_out]),
        "training_log_density": _mean_and_error(scores[~held_out]),
        "held_out_log_density_of_the_baseline": _mean_and_error(reference),
        "held_out_gain_over_the_baseline": _mean_and_error(scores[held_out] - reference),
    }
    protocol = {
        "file": str(options.file),
        "columns": table.columns,
        "likelihood": estimator.likelihood,
        "baseline": BASELINES[estimator.likelihood],
        "estimator": "importance sampling from q(z|x)",
        "k": options.num_samples,
        "units": "nats per row, in the units of the columns",
        "training_rows": int(np.sum(~held_out)),
        "held_out_rows": int(np.sum(held_out)),
        "latent": options.latent,
        "hidden": list(options.hidden),
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "lr": options.lr,
        "seed": options.seed,
        "standard_error": "over rows",
    }
    write_result(place / "result.json", numbers | {"protocol": protocol})
    draw(place / "table.png", table, codes, scores, held_out, new_rows, estimator.elbo_curve_)
    page = study.write(
        place,
        module="experiments.table",
        title=f"A VAE of {options.file.name}",
        text=f"{len(table.values)} rows of {len(table.columns)} numbers: how probable are rows that the model has not "
        "seen, beside those it was trained on and beside the simplest model of such values?",
        columns=("log p", "nats per row"),
        rows=[(name.replace("_", " "), measured) for name, measured in numbers.items()],
        picture="table.png",
        options=to_dict(options),
    )
    print(f"{options.file}: {len(table.values)} rows of {len(table.columns)} numbers")
    for name, (mean, standard_error) in numbers.items():
        print(f"  {name.replace('_', ' ')}: {mean:.3f} ± {standard_error:.3f} nats per row")
    print(f"codes.csv, scores.csv, samples.csv and table.png are in {place}")
    print(f"report: {page}")


BASELINES = {
    "gaussian": "one Gaussian with a full covariance, fitted to the training rows",
    "bernoulli": "independent columns with their frequencies among the training rows, one of each value added",
}


def baseline(estimator: VAEEstimator, training: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """log p of rows under the simplest model of the same kind of values.

    Args:
        estimator: fitted; its standardisation serves the baseline too.
        training: [N, D] the rows it was fitted to.
        rows: [M, D].

    Returns:
        [M] nats, in the units of the rows.
    """
    if estimator.likelihood == "bernoulli":
        ones = (training.sum(axis=0) + 1) / (len(training) + 2)
        return np.sum(rows * np.log(ones) + (1 - rows) * np.log1p(-ones), axis=1)
    mean, scale = estimator.mean_, estimator.scale_
    gaussian = GaussianMixture(random_state=0).fit((training - mean) / scale)
    return gaussian.score_samples((rows - mean) / scale) - np.sum(np.log(scale))


def _check_spread(options: Options, table: Table, held_out: np.ndarray) -> None:
    """Refuse a column of one value: there is no density of it, and what a model gives it drowns all other columns."""
    low, high = (function(table.values[~held_out], axis=0) for function in (np.min, np.max))
    constant = [name for name, one in zip(table.columns, low == high, strict=True) if one]
    if constant:
        has = "has" if len(constant) == 1 else "have"
        raise RunError(
            f"{options.file}: {', '.join(constant)} {has} one value in all training rows, of which there is no "
            "density: drop what is constant"
        )


def _held_out(rows: int, options: Options) -> np.ndarray:
    """[rows] whether each row is kept from training."""
    count = min(max(2, round(options.held_out * rows)), rows - 2)
    chosen = np.zeros(rows, bool)
    chosen[np.random.default_rng(options.seed).permutation(rows)[:count]] = True
    return chosen


def _write_tables(
    place: Path, table: Table, codes: np.ndarray, scores: np.ndarray, held_out: np.ndarray, new_rows: np.ndarray
) -> None:
    lines = table.lines.tolist()
    latents = [f"z{number}" for number in range(1, codes.shape[1] + 1)]
    write_table(
        place / "codes.csv", ["line", *latents], [[n, *code] for n, code in zip(lines, codes.tolist(), strict=True)]
    )
    write_table(
        place / "scores.csv",
        ["line", "log_density", "held_out"],
        list(zip(lines, scores.tolist(), held_out.astype(int).tolist(), strict=True)),
    )
    write_table(place / "samples.csv", table.columns, new_rows.tolist())


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


if __name__ == "__main__":
    command(main, Options)
