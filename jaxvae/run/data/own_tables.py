"""Users' own tables, from text files: which rows train, and what their cells hold."""

import sys
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvae.run.data.columns import MISSING, Table, Text, called, read_text, table_of, write_table
from jaxvae.run.data.dataset import DataError, Dataset, Split
from jaxvae.run.data.embedded_tables import NAMES, embedded
from jaxvae.run.data.own_splits import NAME, shuffled
from jaxvae.run.data.schema import (
    BLOCKS,
    CLASS,
    Rows,
    Schema,
    columns_of,
    in_single_precision,
    no_such,
    rows_of,
    schema_of,
)

FEWEST = 10  # rows
DIGITS = 7  # of a number that was filled in: single precision has no more


class OwnTable(NamedTuple):
    """A table as its file has it, and as a model reads it."""

    text: Text
    schema: Schema
    rows: Rows  # values and mask of all rows
    decimal: str

    @property
    def missing(self) -> float:
        """The share of cells that are missing."""
        return 1 - float(np.mean(np.concatenate(list(self.rows[1].values()), axis=1)))


def own_table(
    path: Path,
    *,
    classes: Collection[str] = (),
    counts: Collection[str] = (),
    leave_out: Collection[str] = (),
    missing: Collection[str] = MISSING,
    decimal: str = "point",
    header: str = "auto",
    schema: Schema | None = None,
) -> OwnTable:
    """Read a table.

    Args:
        path: of a .csv file, or the name of an embedded table (`embedded_tables.NAMES`).
        classes: names of columns of numbers that are classes.
        counts: names of columns of counts.
        leave_out: names of columns that are not read.
        missing: words that stand for a missing cell.
        decimal: "point" or "comma".
        header: "yes", "no" or "auto".
        schema: of the table that a model was trained on, for another table; by default the table's own.

    Returns:
        The table.

    Raises:
        DataError: it cannot be read, or not as it is asked for.
    """
    text = embedded(path.name) if str(path) in NAMES and not path.exists() else read_text(path, header=header)
    if unknown := [name for name in leave_out if name not in text.names]:
        raise DataError(f"{option('drop', unknown[0])}: {no_such(unknown[0], text.names, str(path))}")
    known = {column.name: column for column in schema.columns} if schema else {}
    words = {name for name, column in known.items() if column.kind == CLASS and isinstance(column.levels[0], str)}
    others = [name for name in text.names if name not in known] if schema else leave_out
    table = table_of(text, missing=missing, decimal=decimal, words=words, leave_out=others)
    if schema is None:
        train = _parts(path, table)[0]
        schema = schema_of(table, train, str(path), classes=classes, counts=counts, option=option)
        _tell_unseen(path, table, schema, train)
    return OwnTable(text, schema, in_single_precision(rows_of(table, schema, str(path), text.lines)), decimal)


def dataset_of(table: OwnTable) -> Dataset:
    """A table as a data set: 80/10/10 by the permutation of `RandomState(0)` (`own_splits.shuffled`).

    Args:
        table: that was read.

    Returns:
        The data set; an example is (values, mask), each block -> [n]; its schema is the fact "columns".
    """
    size = len(table.text.rows)
    train, valid, test = (
        Split(tuple({block: cells[rows] for block, cells in part.items()} for part in table.rows))
        for rows in shuffled(size, str(table.text.path))
    )
    facts = {"columns": [column._asdict() | {"levels": list(column.levels)} for column in table.schema.columns]}
    return Dataset(table.text.path.name, NAME, train, valid, test, facts)


def write_completed(path: Path, table: OwnTable, values: dict[str, np.ndarray]) -> int:
    """Write the table again, its missing cells filled in: every other cell stands as it stood.

    Args:
        path: of the .csv file.
        table: that was read.
        values: block -> [N, n], of classes perhaps [N, n, K], as a model gives them.

    Returns:
        How many cells were filled in.
    """
    rows, filled = [list(row) for row in table.text.rows], 0
    columns = dict(zip([c.name for c in table.schema.columns], columns_of(values, table.schema), strict=True))
    for kind, block in BLOCKS.items():
        for index, column in enumerate(table.schema.of(kind)):
            place = table.text.names.index(column.name)
            for row in np.flatnonzero(~table.rows[1][block][:, index]):
                rows[row][place] = said(columns[column.name][row], table.decimal)
                filled += 1
    write_table(path, table.text.names if table.text.headed else (), rows, delimiter=table.text.delimiter)
    return filled


def write_rows(path: Path, table: OwnTable, values: dict[str, np.ndarray]) -> None:
    """Write new rows, of the columns that are modelled, in the form of the table.

    Args:
        path: of the .csv file.
        table: that was read.
        values: block -> [N, n].
    """
    columns = columns_of(values, table.schema)
    rows = [[said(cell, table.decimal) for cell in row] for row in zip(*columns, strict=True)]
    names = [column.name for column in table.schema.columns]
    write_table(path, names if table.text.headed else (), rows, delimiter=table.text.delimiter)


def said(value: object, decimal: str) -> str:
    """A cell as a text file has it.

    >>> said(3.0, "point"), said(0.1234567891, "comma"), said("red", "point")
    ('3', '0,1234568', 'red')
    """
    if isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]
    text = str(int(number)) if number == int(number) and abs(number) < 1e15 else f"{number:.{DIGITS}g}"
    return text.replace(".", ",") if decimal == "comma" else text


def option(name: str, value: str) -> str:
    """How an option of a table is given."""
    return f"--data.{name} {value!r}" if " " in value else f"--data.{name} {value}"


def _parts(path: Path, table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if table.size < FEWEST:
        raise DataError(f"{path} has {table.size} rows, and a model of them needs at least {FEWEST}.")
    return shuffled(table.size, str(path))


def _tell_unseen(path: Path, table: Table, schema: Schema, train: np.ndarray) -> None:
    """A class that no training row has is told: a model has learned nothing of it."""
    for column in schema.of(CLASS):
        cells = table.columns[table.names.index(column.name)]
        if unseen := [level for level in column.levels if level not in set(cells[train].tolist())]:
            print(f"note: {path}, {called(column.name)}: no training row has {unseen[0]!r}", file=sys.stderr)
