"""A table's missing cells filled in, codes, densities and new rows: `jaxvae complete runs/NAME --file OTHER.csv`.

Without a file it is the run's own table again. Hidden test cells tell how good that is beside scikit-learn's imputers.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tyro

from jaxvae.questions.parts.examined import Mean, at_least, mean_and_error, open_examined
from jaxvae.questions.parts.table_baselines import IMPUTERS, imputed_by, simple_density
from jaxvae.recipes.table import errors_of, hidden_of, rows_of, table_of
from jaxvae.run import RunError, table_rows
from jaxvae.run.data.schema import Rows, Schema, from_facts
from jaxvae.run.folder.opening import Run
from jaxvae.run.recipe import Measured
from jaxvae.run.report import section
from jaxvae.run.table_files import write_answers

LABELS = {
    "test_imputation_error": "error of numbers, in variances of their columns",
    "test_imputation_accuracy": "share of classes that are right",
}

KINDS = ("table",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Fill in the missing cells of a table, and compare with scikit-learn's imputers on cells that are hidden."""

    run: tyro.conf.Positional[Path]
    """The run folder, of the kind table."""
    file: Path | None = None
    """Another .csv file with the same columns; by default the run's own."""
    draws: int = 0
    """Completed tables of draws beside that of expectations: multiple imputation."""
    num_samples: int = 1000
    """k of the densities, and of an imputation's importance weights."""
    samples: int = 1000
    """New rows."""
    share: float = 0.5
    """Of the test rows' observed cells that are hidden and compared."""
    seed: int = 0
    """Of what is hidden and drawn."""


def main(options: Options) -> None:
    """Complete, compare, write, add a section to the report.

    Args:
        options: of the command line.
    """
    at_least(1, num_samples=options.num_samples, samples=options.samples)
    at_least(0, seed=options.seed, draws=options.draws)
    if not 0 < options.share < 1:
        raise RunError(f"--share {options.share} must lie between 0 and 1")
    run, dataset = open_examined(options.run, KINDS)
    schema = from_facts(run.about.facts["columns"])
    table = table_of(run.config.data, options.file, schema)
    place = run.folder / ("tables" if options.file is None else f"tables-{options.file.stem}")
    answers = write_answers(
        place,
        table,
        run.model,
        run.params,
        num_samples=options.num_samples,
        samples=options.samples,
        draws=options.draws,
        seed=options.seed,
    )
    print(f"{table.text.path}: {answers.filled:,} missing cells filled in; the tables are in {place}")

    train, test = rows_of(dataset.train), rows_of(dataset.test)
    numbers, rows = _compared(run, schema, train, test, options)
    density, density_rows, baseline = _densities(run, schema, train, test, options)
    page = section.add(
        run,
        "complete",
        title="Missing cells",
        text=_text(options, answers.filled),
        numbers=numbers | density,
        protocol={
            "file": str(table.text.path),
            "filled_in": answers.filled,
            "test_hidden": f"{options.share:g} of the observed test cells, completely at random",
            "imputers": "fitted to the training rows; classes as vectors of zeros and a one",
            "density_baseline": baseline,
            "draws_k": options.num_samples,
            "standard_error": "over test rows",
            "draw_seed": options.seed,
        },
        columns=["measured on test rows", "value"],
        rows=rows + density_rows,
    )
    for name, value in rows + density_rows:
        print(f"  {name}: {value}")
    print(f"report: {page}")


def _compared(
    run: Run, schema: Schema, train: Rows, test: Rows, options: Options
) -> tuple[dict[str, float | None], list[list[str]]]:
    """How far off the model and the imputers of scikit-learn are, on the same hidden cells."""
    seen, hidden = hidden_of(test, options.share, options.seed)
    expected = partial(table_rows.expected, num_samples=options.num_samples)
    guesses = {"the model": table_rows.by_rows(expected, run.model, run.params, seen, table_rows.seeds_of(seen))}
    guesses |= {name: imputed_by(name, train, seen, schema, options.seed) for name in IMPUTERS}
    numbers: dict[str, float | None] = {}
    rows = []
    for name, guess in guesses.items():
        for measured, one in errors_of(test, hidden, guess).items():
            if measured in LABELS:
                ratio = _ratio(one)
                word = f"{measured.removeprefix('test_')}_by_{name.lower().replace(' ', '_')}"
                numbers |= ratio.under(word)
                rows.append([f"{LABELS[measured]}: {name}", ratio.said(4)])
    return numbers, sorted(rows)


def _ratio(measured: Measured) -> Mean:
    """A ratio of sums over rows, and its standard error by linearisation."""
    values, over = np.asarray(measured.values, np.float64), np.asarray(measured.over, np.float64)
    ratio = float(values.sum() / over.sum())
    away = (values - ratio * over) / over.mean()
    return Mean(ratio, mean_and_error(away).standard_error)


def _densities(
    run: Run, schema: Schema, train: Rows, test: Rows, options: Options
) -> tuple[dict[str, float | None], list[list[str]], str | None]:
    """log p of the test rows, and what is gained over a simple density."""
    of_rows = partial(table_rows.log_likelihood, num_samples=options.num_samples)
    found = table_rows.by_rows(of_rows, run.model, run.params, test, table_rows.seeds_of(test))
    own = mean_and_error(found)
    numbers, rows = own.under("test_log_density"), [["log p of the observed cells", f"{own.said()} nats"]]
    simple = simple_density(train, test, schema)
    if simple is None:
        return numbers, rows, None
    gain = mean_and_error(found - simple[1])
    numbers |= gain.under("test_gain_over_the_baseline")
    rows.append(["gained over the baseline", f"{gain.said()} nats"])
    return numbers, rows, simple[0]


def _text(options: Options, filled: int) -> str:
    draws = f", and {options.draws} times by draws from their distribution" if options.draws else ""
    return (
        f"{filled:,} missing cells were filled in by their expectation given the observed cells of their row{draws}: "
        "codes are drawn for the observed cells, and weighted by how well they explain them.\n\n"
        "How good that is was measured on test rows, of whose observed cells some were hidden, beside imputers of "
        "scikit-learn on the same cells. An error of one is that of a guess that is always the column's mean."
    )
