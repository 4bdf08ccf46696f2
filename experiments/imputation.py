"""Missing cells filled in, beside scikit-learn's imputers: `python -m experiments.imputation wine breast_cancer`.

The protocol of MIWAE's paper: half of a table's cells are removed completely at random, classes among them; models and
imputers are fitted to what is left of all rows, fill in what was removed, and are compared on it. Every seed removes
other cells and starts the networks anew. Nothing is chosen by the removed cells: every table has the same settings.
Source: Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets" (2019), the
experiments on UCI data; their tables are others.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from experiments.new_folder import new_folder
from jaxvae.questions.parts.table_baselines import IMPUTERS, imputed_by
from jaxvae.run import RunError, table_rows
from jaxvae.run.choice import AtLeast, to_dict
from jaxvae.run.command import command
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset, Split
from jaxvae.run.data.columns import Table, read_text, table_of
from jaxvae.run.data.embedded_tables import NAMES, embedded
from jaxvae.run.data.schema import Rows, Schema, in_single_precision, rows_of, schema_of
from jaxvae.run.folder.files import write_result
from jaxvae.run.train import train


@dataclass(frozen=True)
class Options:
    """Remove cells of tables, and fill them in by MIWAE and by scikit-learn's imputers."""

    tables: tyro.conf.Positional[tuple[str, ...]] = ("wine", "breast_cancer")
    """wine, breast_cancer, iris, or paths of .csv files."""
    rows: Annotated[int | None, AtLeast(10)] = None
    """At most so many rows of a table, drawn by seed 0."""
    share: float = 0.5
    """Of the cells that are removed."""
    num_seeds: Annotated[int, AtLeast(1)] = 5
    """Masks and starts, in turn."""
    numbers: str = "gaussian"
    """The density of numbers, gaussian or student-t."""
    latent: Annotated[int, AtLeast(1)] = 10
    """Dimensions of the code."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the encoder's hidden layers."""
    mask: bool = False
    """Let the encoder read the mask."""
    steps: Annotated[int, AtLeast(1)] = 2000
    """Of Adam, with a cosine."""
    batch_size: Annotated[int, AtLeast(1)] = 64
    """Rows in one step."""
    lr: float = 1e-3
    """The learning rate at the start."""
    train_samples: Annotated[int, AtLeast(1)] = 20
    """k of the bound that is ascended."""
    num_samples: Annotated[int, AtLeast(1)] = 1000
    """k of an imputation's importance weights."""
    folder: Path = Path("runs/imputation")
    """Where result.json goes; it must not exist."""


def main(options: Options) -> None:
    """Remove, fit, fill in, compare.

    Args:
        options: of the command line.
    """
    if not 0 < options.share < 1:
        raise RunError(f"--share {options.share} must lie between 0 and 1")
    place, began = new_folder(options.folder), time.monotonic()
    found: list[dict[str, Any]] = []
    for name in options.tables:
        table, schema = _whole(name, options.rows)
        print(f"{name}: {table.size} rows, {schema.said()}", flush=True)
        of_seeds = []
        for seed in range(options.num_seeds):
            of_seeds.append(_of_seed(table, schema, name, options, seed))
            print(f"  seed {seed}: {of_seeds[-1]['VAE']}", flush=True)
        for method in of_seeds[0]:
            row: dict[str, Any] = {"table": name, "rows": table.size, "method": method}
            for number in of_seeds[0][method]:
                values = [of_seed[method][number] for of_seed in of_seeds]
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                row |= {number: float(np.mean(values)), f"{number}_sd": spread, f"{number}_of_each_seed": values}
            found.append(row)
            said = "; ".join(
                f"{number} {row[number]:.3f}" + ("" if row[f"{number}_sd"] is None else f" ± {row[f'{number}_sd']:.3f}")
                for number in of_seeds[0][method]
            )
            print(f"  {method:<10} {said}", flush=True)
    protocol = {
        "options": to_dict(options),
        "rmse": "of removed numbers, in standard deviations of the whole column",
        "accuracy": "the share of removed classes that is right",
        "spread": "standard deviation over seeds",
        "chosen": "nothing by the removed cells",
    }
    write_result(place / "result.json", {"rows": found, "seconds": time.monotonic() - began, "protocol": protocol})


def _whole(name: str, most: int | None) -> tuple[Table, Schema]:
    """A table, its columns standardised as a whole: the units that errors are in."""
    table = table_of(embedded(name) if name in NAMES else read_text(Path(name)))
    if most is not None and most < table.size:
        kept = np.random.RandomState(0).permutation(table.size)[:most]
        table = Table(table.names, [column[kept] for column in table.columns])
    return table, schema_of(table, np.arange(table.size), name)


def _of_seed(table: Table, schema: Schema, name: str, options: Options, seed: int) -> dict[str, dict[str, float]]:
    """Method -> its errors on the removed cells of one seed."""
    random = np.random.default_rng(seed)
    removed = [random.random(table.size) < options.share for _ in table.columns]
    holes = Table(table.names, [_without(column, gone) for column, gone in zip(table.columns, removed, strict=True)])
    # what is known of the columns is what is left of them; the classes there are is no secret
    left = schema_of(holes, np.arange(table.size), name)
    levels = {column.name: column.levels for column in schema.columns}
    left = Schema(tuple(column._replace(levels=levels[column.name]) for column in left.columns))
    rows, truth = rows_of(holes, left, name), rows_of(table, left, name)
    gone = {block: truth[1][block] & ~rows[1][block] for block in rows[1]}
    scales = np.array([b.scale / a.scale for a, b in zip(schema.of("number"), left.of("number"), strict=True)])
    guesses = {"VAE": _by_vae(in_single_precision(rows), left, options, seed)}
    guesses |= {method: imputed_by(method, rows, rows, left, seed) for method in IMPUTERS}
    return {method: _errors(truth, gone, scales, guess) for method, guess in guesses.items()}


def _without(column: np.ndarray, gone: np.ndarray) -> np.ndarray:
    left = column.copy()
    left[gone] = None if column.dtype == object else np.nan
    return left


def _by_vae(rows: Rows, schema: Schema, options: Options, seed: int) -> dict[str, np.ndarray]:
    """MIWAE: trained on the rows by the importance-weighted bound, and asked about them."""
    architecture = table_rows.architecture_of(
        schema, options.latent, options.hidden, options.numbers, reads_mask=options.mask
    )
    recipe = table_rows.recipe_for(architecture, options.train_samples)  # one program for all seeds of a table
    count = len(next(iter(rows[0].values())))
    size = min(options.batch_size, count)
    epochs = max(1, options.steps // (count // size))
    course = Course(jax.random.key(seed), epochs, size, partial(table_rows.cosine, options.lr))
    trained = train(recipe, course, Dataset("rows", "given", Split(rows), None, Split(())), show=None)
    expected = partial(table_rows.expected, num_samples=options.num_samples)
    return table_rows.by_rows(expected, recipe.model, trained.params, rows, table_rows.seeds_of(rows))


def _errors(
    truth: Rows, gone: dict[str, np.ndarray], scales: np.ndarray, guess: dict[str, np.ndarray]
) -> dict[str, float]:
    found = {}
    if "numbers" in gone:
        away = (guess["numbers"] - truth[0]["numbers"]) * scales
        found["rmse"] = float(np.sqrt(np.mean(np.square(away[gone["numbers"]]))))
    if "classes" in gone:
        right = guess["classes"].argmax(axis=-1) == truth[0]["classes"]
        found["accuracy"] = float(np.mean(right[gone["classes"]]))
    return found


if __name__ == "__main__":
    command(main, Options)
