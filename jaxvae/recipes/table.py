"""Tables of numbers, classes and counts with cells missing, and the missing cells filled in: MIWAE."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from jaxvae.likelihoods import Cells
from jaxvae.model import VAE
from jaxvae.run import table_rows
from jaxvae.run.choice import EVERYDAY, AtLeast, Between
from jaxvae.run.data import Dataset, Split
from jaxvae.run.data.columns import MISSING
from jaxvae.run.data.own_tables import OwnTable, dataset_of, own_table
from jaxvae.run.data.schema import NUMBER, Rows, Schema, from_facts
from jaxvae.run.figures import table_pictures
from jaxvae.run.held_out import prepared
from jaxvae.run.measures import of_terms
from jaxvae.run.options import bounds
from jaxvae.run.options.objective import PathObjective, ascending, objective_said
from jaxvae.run.options.parts import cast_to
from jaxvae.run.recipe import About, Asked, Kind, Measured, Recipe
from jaxvae.run.settings import Settings, Stored
from jaxvae.run.table_files import write_answers
from jaxvae.types import Key, Params


@dataclass(frozen=True)
class Table(Stored):
    """The table."""

    name: Annotated[str, tyro.conf.arg(aliases=["--data"]), EVERYDAY] = "wine"
    """The path of a .csv file, or wine, breast_cancer or iris, which scikit-learn brings along."""
    classes: Annotated[tuple[str, ...], EVERYDAY] = ()
    """Columns of numbers that are classes; words, and numbers of two values, are so anyway."""
    counts: Annotated[tuple[str, ...], EVERYDAY] = ()
    """Columns of counts 0, 1, 2, ...; without it they are numbers like others."""
    drop: Annotated[tuple[str, ...], EVERYDAY] = ()
    """Columns that are left out: identifiers, names, dates."""
    missing: tuple[str, ...] = MISSING
    """The words that stand for a missing cell, in any case; an empty cell is one anyway."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the first line names the columns. auto: where none of its cells is a number."""
    decimal: Literal["point", "comma"] = "point"
    """How decimals are parted."""


@dataclass(frozen=True)
class Model:
    """The model."""

    latent: Annotated[int, AtLeast(1), EVERYDAY] = 10
    """The number of latent dimensions."""
    hidden: Annotated[tuple[int, ...], EVERYDAY] = (128, 128)
    """The widths of the encoder's hidden layers; the decoder has them in reverse."""
    numbers: Annotated[Literal["gaussian", "student-t"], EVERYDAY] = "gaussian"
    """The density of numbers; Student's t has tails that outliers do not surprise."""
    mask: bool = False
    """Let the encoder read which cells are observed, beside the cells, which it reads as zeros where they are not."""


@dataclass(frozen=True)
class Imputation:
    """How missing cells are filled in, and how well that is done."""

    num_samples: Annotated[int, AtLeast(1)] = 1000
    """The draws whose importance weights make an expectation."""
    hidden: Annotated[float, Between(0, 1)] = 0.5
    """The share of the test rows' observed cells that is hidden, at random, to be filled in and compared; 0 leaves it
    out."""
    samples: Annotated[int, AtLeast(1)] = 1000
    """New rows that are drawn."""


@dataclass(frozen=True)
class Config(Settings):
    """Train a model of a table whose cells may be missing, fill them in, and write a report."""

    data: Table = field(default_factory=Table)
    model: Model = field(default_factory=Model)
    objective: PathObjective = field(default_factory=lambda: PathObjective(bound=bounds.Iwae(), num_samples=20))
    imputation: Imputation = field(default_factory=Imputation)
    epochs: Annotated[int, AtLeast(1), EVERYDAY] = 300
    """Passes over the training rows."""
    batch_size: Annotated[int, AtLeast(1), EVERYDAY] = 64
    """Rows in one step; fewer where the table is smaller."""


def table_of(data: Table, path: Path | None = None, schema: Schema | None = None) -> OwnTable:
    """The table of a configuration, or another one read in the same way.

    Args:
        data: of a configuration.
        path: of the other.
        schema: that it must have.

    Returns:
        The table.
    """
    return own_table(
        Path(data.name) if path is None else path,
        classes=data.classes,
        counts=data.counts,
        leave_out=data.drop,
        missing=data.missing,
        decimal=data.decimal,
        header=data.header,
        schema=schema,
    )


def load(config: Config) -> Dataset:
    """The rows of a configuration.

    Args:
        config: of a run.

    Returns:
        The data set; an example is (values, mask), and the fact "columns" says what they are.
    """
    return dataset_of(table_of(config.data))


def architecture_of(config: Config, schema: Schema) -> table_rows.Architecture:
    """What the model of a configuration is made of."""
    settings = config.model
    units = tuple(float(np.log(column.scale)) for column in schema.of(NUMBER))
    hidden = tuple(settings.hidden)
    return table_rows.architecture_of(
        schema, settings.latent, hidden, settings.numbers, reads_mask=settings.mask, log_units=units
    )


def recipe(config: Config, about: About) -> Recipe:
    """The recipe of a model of a table.

    Args:
        config: of a run.
        about: the rows.

    Returns:
        The recipe; its densities are those of the columns in their own units.
    """
    schema = from_facts(about.facts["columns"])
    architecture = architecture_of(config, schema)
    model = table_rows.built(architecture, cast_to(config.precision))
    return Recipe(
        model=model,
        init=lambda key: (model.init(key, table_rows.blank_of(architecture)), ()),
        prepare=prepare,
        measure=partial(measure, config, schema, model),
        draw=partial(draw, config, schema, model),
        protocol={
            "kind": "table",
            "columns": schema.said(),
            "units": "log densities of the observed cells, in the columns' own units",
            "standardised_by": "observed cells of the training rows",
            "numbers": config.model.numbers,
            "encoder": f"ReLU, {', '.join(map(str, config.model.hidden))}; zeros for missing cells"
            + (" and the mask" if config.model.mask else ""),
            "latent": config.model.latent,
            **objective_said(config.objective),
        },
        **ascending(config, model),
    )


def prepare(key: Key, stored: Any) -> Cells:
    """A stored row as the model reads it."""
    return Cells(*stored)


def measure(
    config: Config, schema: Schema, model: VAE, params: Params, test: Split, asked: Asked
) -> dict[str, Measured]:
    """The bounds, and how well hidden cells of test rows are filled in, beside the training rows' means and modes."""
    found = of_terms(model, lambda split: prepared(prepare, split.examples))(params, test, asked)
    asked_of = config.imputation
    if not asked_of.hidden:
        return found
    rows = rows_of(test)
    seen, hidden = hidden_of(rows, asked_of.hidden)
    guess = table_rows.by_rows(
        partial(table_rows.expected, num_samples=asked_of.num_samples), model, params, seen, table_rows.seeds_of(seen)
    )
    how = {"hidden": f"{asked_of.hidden:g} of the observed test cells, at random", "imputation_k": asked_of.num_samples}
    return found | {name: one._replace(said=how) for name, one in errors_of(rows, hidden, guess).items()}


def rows_of(split: Split) -> Rows:
    """The values and the mask of a split's rows, block -> [N, n]."""
    values, mask = ({block: np.asarray(cells) for block, cells in part.items()} for part in split.examples)
    return values, mask


def hidden_of(rows: Rows, share: float, seed: int = 0) -> tuple[Rows, dict[str, np.ndarray]]:
    """Rows of whose observed cells a share is hidden, completely at random; and which these are, block -> [N, n]."""
    random = np.random.default_rng(seed)
    values, mask = rows
    hidden = {block: mask[block] & (random.random(mask[block].shape) < share) for block in sorted(mask)}
    return (values, {block: mask[block] & ~hidden[block] for block in mask}), hidden


def errors_of(rows: Rows, hidden: dict[str, np.ndarray], guess: dict[str, np.ndarray]) -> dict[str, Measured]:
    """How far guesses of hidden cells are off.

    Args:
        rows: values and mask.
        hidden: block -> [N, n] the cells that are compared.
        guess: block -> [N, n], of classes the probabilities [N, n, K].

    Returns:
        Of numbers the mean squared error in variances of their columns, one of a guess that is always the mean; of
        classes the share that is right.
    """
    found = {}
    if "numbers" in hidden and hidden["numbers"].any():
        count, truth = hidden["numbers"].sum(axis=1), rows[0]["numbers"].astype(np.float64)
        for name, one in (("", guess["numbers"]), ("_of_means", np.zeros_like(truth))):
            squares = np.sum(np.where(hidden["numbers"], np.square(truth - one), 0), axis=1)
            found[f"test_imputation_error{name}"] = Measured(squares, "of the columns' variances", count)
    if "classes" in hidden and hidden["classes"].any():
        count, truth = hidden["classes"].sum(axis=1), rows[0]["classes"]
        right = np.sum(hidden["classes"] & (truth == guess["classes"].argmax(axis=-1)), axis=1)
        found["test_imputation_accuracy"] = Measured(right, "of the classes", count)
    return found


def draw(config: Config, schema: Schema, model: VAE, place: Path, params: Params, dataset: Dataset) -> None:
    """The pictures; and beside their folder, in `tables`, the completed table, codes, densities and new rows."""
    table = table_of(config.data)
    settings = config.imputation
    answers = write_answers(
        place.parent / "tables", table, model, params, num_samples=settings.num_samples, samples=settings.samples
    )
    table_pictures.columns(place / "columns.png", table, answers.samples)
    table_pictures.codes(place / "codes.png", answers.codes, answers.log_densities)
    rows = rows_of(dataset.test)
    seen, hidden = hidden_of(rows, settings.hidden or 0.5)
    guess = table_rows.by_rows(
        partial(table_rows.expected, num_samples=settings.num_samples), model, params, seen, table_rows.seeds_of(seen)
    )
    table_pictures.imputed(place / "imputed.png", schema, rows[0], hidden, guess)


KIND = Kind("table", Config, load, recipe)
