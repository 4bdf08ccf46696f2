"""A table of numbers from a text file, refused by row and column where it is none."""

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvae.run.data import DataError

DELIMITERS = "\t;,"  # the first that a line has: a comma beside them is a decimal comma
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # what float() takes and people mean alike
ALMOST = re.compile(r"[+-]?[\d.,_' ]*\d[\d.,_' ]*([eE][+-]?\d+)?")  # digits, parted in ways that differ by country
NOT_FINITE = {"nan", "inf", "infinity"}
MISSING = {"", "na", "n/a", "null", "none", "?", "-", "--"}
LARGEST = 1e100  # the squares of larger numbers have no sum


class Table(NamedTuple):
    """Numbers in named columns."""

    columns: list[str]
    values: np.ndarray  # [rows, columns] float64
    lines: np.ndarray  # [rows] the line of the file that each row ends on, counted from one


def read_table(path: Path) -> Table:
    """Read a .csv file, with or without a line of column names.

    The first line names the columns if none of its cells is a number; else they are called column 1, column 2, ...
    Cells are parted by tabs, by semicolons or by commas, whichever of them the first line has, in this order. Empty
    lines are left out.
    A number is made of digits, a sign, a decimal point and an exponent, and of nothing else.

    Args:
        path: of the file.

    Returns:
        The table.

    Raises:
        DataError: the file cannot be read, holds no rows, or a cell is missing, no finite number, or too large a one.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            bare = re.sub('"[^"]*"', "", first)
            delimiter = next((mark for mark in DELIMITERS if mark in bare), ",")
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
            rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table in a text file ({error}): save it as CSV in UTF-8.") from None
    if not rows:
        raise DataError(f"{path} is empty: give a table with one row of numbers for each example.")
    width = len(rows[0][1])
    columns = [f"column {number}" for number in range(1, width + 1)]
    if not any(_is_meant_as_number(cell) for cell in rows[0][1]):
        columns = [cell.strip() or columns[index] for index, cell in enumerate(rows[0][1])]
        rows = rows[1:]
    if not rows:
        raise DataError(f"{path} has column names and no rows: give one row of numbers for each example.")
    values = [_numbers(path, line, cells, columns) for line, cells in rows]
    return Table(columns, np.array(values, np.float64), np.array([line for line, _ in rows]))


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a .csv file.

    Args:
        path: of the file.
        columns: their names.
        rows: as many cells each; floats keep every digit.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _is_meant_as_number(cell: str) -> bool:
    return bool(ALMOST.fullmatch(cell.strip())) or _word(cell) in NOT_FINITE


def _word(cell: str) -> str:
    return cell.strip().lower().lstrip("+-") if cell.strip().lower() not in MISSING else cell.strip().lower()


def _numbers(path: Path, line: int, cells: list[str], columns: list[str]) -> list[float]:
    if len(cells) != len(columns):
        raise DataError(
            f"{path}, line {line}: {len(cells)} cells where the first line has {len(columns)}; mend the row."
        )
    for name, cell in zip(columns, cells, strict=True):
        fault = _fault(cell)
        if fault is not None:
            raise DataError(f"{path}, line {line}, {_called(name)}: {fault}.")
    return [float(cell) for cell in cells]


def _fault(cell: str) -> str | None:
    """What is wrong with a cell, and what to do; None where it is a number."""
    text = cell.strip()
    if _word(cell) in MISSING:
        return f"the value is missing{f' ({text!r})' if text else ''}; fill it in or drop the row"
    if _word(cell) in NOT_FINITE:
        return f"{text!r} is not finite; fill it in or drop the row"
    if not NUMBER.fullmatch(text):
        if ALMOST.fullmatch(text):
            return f"{text!r} is no number; write a decimal point, and nothing between thousands: 1234.5"
        return f"{text!r} is no number; give classes numbers, or drop the column"
    if not math.isfinite(float(text)) or abs(float(text)) > LARGEST:
        return (
            f"{text!r} is above {LARGEST:g}, and its square has no place in a number; give the column in larger units"
        )
    return None


def _called(name: str) -> str:
    return name if name.startswith("column ") else f"column {name!r}"
