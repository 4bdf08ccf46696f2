"""A table from a text file: its cells as they stand, and its columns as numbers or words, refused by row and column."""

import csv
import gzip
import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvae.run.data.dataset import DataError

DELIMITERS = "\t;,"  # the first that a line has: a comma beside them is a decimal comma
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # what float() takes and people mean alike
ALMOST = re.compile(r"[+-]?[\d.,_' ]*\d[\d.,_' ]*([eE][+-]?\d+)?")  # digits, parted in ways that differ by country
COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
NOT_FINITE = {"inf", "infinity"}
MISSING = ("na", "n/a", "nan", "null", "none", "?", "-", "--")  # and the empty cell
LARGEST = 1e100  # the squares of larger numbers have no sum

Option = Callable[[str, str], str]  # (name, value) -> how an option is given, for the end of a sentence


class Text(NamedTuple):
    """The cells of a text file."""

    path: Path
    names: list[str]  # of the columns
    rows: list[list[str]]
    lines: list[int]  # of the file, counted from one, that each row ends on
    delimiter: str
    headed: bool  # whether the file names its columns


class Table(NamedTuple):
    """Columns by their names."""

    names: list[str]
    columns: list[np.ndarray]  # each [N] float64, NaN where a cell is missing; or objects, words, None where missing

    @property
    def size(self) -> int:
        """How many rows there are, N."""
        return len(self.columns[0]) if self.columns else 0


def read_text(path: Path, *, header: str = "auto") -> Text:
    """Read the cells of a .csv file, or of one packed by gzip (.csv.gz).

    Cells are parted by tabs, by semicolons or by commas, whichever of them the first line has, in this order. Empty
    lines are left out.

    Args:
        path: of the file.
        header: "yes" where the first line names the columns, "no" where it is a row; "auto" takes it for names if none
            of its cells is a number. Without names they are called column 1, column 2, ...

    Returns:
        The cells.

    Raises:
        DataError: the file cannot be read, holds no rows, or rows of different lengths.
    """
    try:
        packed = path.suffix.lower() == ".gz"
        with (gzip.open if packed else open)(path, "rt", newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            bare = re.sub('"[^"]*"', "", first)
            delimiter = next((mark for mark in DELIMITERS if mark in bare), ",")
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
            rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table in a text file ({error}): save it as CSV in UTF-8.") from None
    if not rows:
        raise DataError(f"{path} is empty: give a table with one row for each example.")
    width = len(rows[0][1])
    names = [f"column {number}" for number in range(1, width + 1)]
    headed = header == "yes" or (header == "auto" and not any(map(_is_meant_as_number, rows[0][1])))
    if headed:
        names = [cell.strip() or names[index] for index, cell in enumerate(rows[0][1])]
        rows = rows[1:]
    if not rows:
        raise DataError(f"{path} has column names and no rows: give one row for each example.")
    for line, cells in rows:
        if len(cells) != width:
            raise DataError(f"{path}, line {line}: {len(cells)} cells where the first line has {width}; mend the row.")
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(f"{path} has two columns called {sorted(twice)[0]!r}: give each a name of its own.")
    return Text(path, names, [cells for _, cells in rows], [line for line, _ in rows], delimiter, headed)


def table_of(
    text: Text,
    *,
    missing: Collection[str] = MISSING,
    decimal: str = "point",
    words: Collection[str] = (),
    leave_out: Collection[str] = (),
) -> Table:
    """The columns of a text file: of numbers where every cell is one, of words where none is.

    A number is made of digits, a sign, a decimal point (or comma) and an exponent, and of nothing else.

    Args:
        text: of the file.
        missing: words that stand for a missing cell, in any case, beside the empty one.
        decimal: "point" or "comma".
        words: names of columns whose cells are words, whatever they look like.
        leave_out: names of columns that are not read.

    Returns:
        The columns that are read.

    Raises:
        DataError: a cell is no finite number, too large a one, or neither a word nor a number like the others.
    """
    none = {"", *(word.strip().lower() for word in missing)}
    kept = [(index, name) for index, name in enumerate(text.names) if name not in leave_out]
    columns = []
    for index, name in kept:
        cells = [row[index].strip() for row in text.rows]
        observed = [number for number, cell in enumerate(cells) if cell.lower() not in none]
        faults = {} if name in words else _faults(cells, observed, decimal)
        if name in words or list(faults.values()) == [None] * len(observed) != []:
            column = np.full(len(cells), None, object)
            column[observed] = [cells[number] for number in observed]
        elif faults:
            row, fault = next(((row, fault) for row, fault in faults.items() if fault), (next(iter(faults)), None))
            fault = fault or _mixed(text, name, cells, observed, faults)
            raise DataError(f"{text.path}, line {text.lines[row]}, {called(name)}: {fault}.")
        else:
            column = np.full(len(cells), np.nan)
            column[observed] = [_number(cells[number], decimal) for number in observed]
        columns.append(column)
    return Table([name for _, name in kept], columns)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], *, delimiter: str = ",") -> None:
    """Write a .csv file.

    Args:
        path: of the file.
        columns: their names; none for a file without.
        rows: as many cells each; floats keep every digit.
        delimiter: between cells.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", delimiter=delimiter)
        if columns:
            writer.writerow(columns)
        writer.writerows(rows)


def called(name: str) -> str:
    """A column in words."""
    return name if name.startswith("column ") else f"column {name!r}"


def _is_meant_as_number(cell: str) -> bool:
    text = cell.strip()
    return bool(ALMOST.fullmatch(text)) or text.lower().lstrip("+-") in NOT_FINITE | {"nan"}


def _number(text: str, decimal: str) -> float:
    return float(text.replace(",", ".") if decimal == "comma" else text)


def _faults(cells: list[str], observed: list[int], decimal: str) -> dict[int, str | None]:
    """Of each observed cell that is no number what is wrong, and what to do; None of a word."""
    found: dict[int, str | None] = {}
    for number in observed:
        text = cells[number]
        plain = text.replace(",", ".") if decimal == "comma" and "." not in text else text
        if text.lower().lstrip("+-") in NOT_FINITE:
            found[number] = f"{text!r} is not finite; leave the cell empty, or drop the row"
        elif not NUMBER.fullmatch(plain) or (decimal == "comma" and "." in text):
            found[number] = None
            if ALMOST.fullmatch(text):
                other = " (or give --data.decimal comma)" if decimal == "point" and COMMA.fullmatch(text) else ""
                found[number] = (
                    f"{text!r} is no number; write a decimal {decimal}{other}, and nothing between thousands: 1234.5"
                )
        elif not math.isfinite(float(plain)) or abs(float(plain)) > LARGEST:
            found[number] = (
                f"{text!r} is above {LARGEST:g}, and its square has no place in a number; give the column in larger "
                "units"
            )
    return found


def _mixed(text: Text, name: str, cells: list[str], observed: list[int], faults: dict[int, str | None]) -> str:
    """A column of numbers and words: the words stand for something."""
    word, number = cells[next(iter(faults))], next(n for n in observed if n not in faults)
    return (
        f"{word!r} is no number, and line {text.lines[number]} has {cells[number]!r} there; where it stands for a "
        f"missing cell give --data.missing {word!r}, where the column holds classes --data.classes {name!r}, or mend it"
    )
