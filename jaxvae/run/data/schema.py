"""What the columns of a table hold, numbers, classes or counts, and rows as arrays that a model reads."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxvae.run.data.columns import LARGEST, Option, Table, called
from jaxvae.run.data.dataset import DataError

NUMBER, CLASS, COUNT = "number", "class", "count"
BLOCKS = {NUMBER: "numbers", CLASS: "classes", COUNT: "counts"}
SMALLEST_SPREAD = 1e-12  # of a column, in its largest value: below it is rounding
MOST_CLASSES = 20  # of a column in which most rows have a class of their own
Rows = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # values and mask, block -> [N, n]


class Column(NamedTuple):
    """What a column holds."""

    name: str
    kind: str  # NUMBER, CLASS or COUNT
    levels: tuple[Any, ...] = ()  # of a class, in order
    mean: float = 0.0  # of a number, and of ln(1 + count)
    scale: float = 1.0  # the standard deviation of either
    whole: bool = False  # whether all its numbers are whole


class Schema(NamedTuple):
    """The columns of a table, in order."""

    columns: tuple[Column, ...]

    def of(self, kind: str) -> list[Column]:
        """The columns of a kind, as they lie in its block."""
        return [column for column in self.columns if column.kind == kind]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of every column of classes, how many there are."""
        return tuple(len(column.levels) for column in self.of(CLASS))

    def said(self) -> str:
        """The columns in words: "12 numbers; classes sex (2); counts visits"."""
        numbers = len(self.of(NUMBER))
        parts = [f"{numbers} number{'s' if numbers > 1 else ''}"] if numbers else []
        if self.sizes:
            parts.append("classes " + ", ".join(f"{c.name} ({len(c.levels)})" for c in self.of(CLASS)))
        if self.of(COUNT):
            parts.append("counts " + ", ".join(column.name for column in self.of(COUNT)))
        return "; ".join(parts)


def from_facts(columns: Sequence[Mapping[str, Any]]) -> Schema:
    """The schema that stands in the facts of a data set, as JSON has them."""
    return Schema(tuple(Column(**{**column, "levels": tuple(column["levels"])}) for column in columns))


def schema_of(
    table: Table,
    train: np.ndarray,
    place: str,
    *,
    classes: Collection[str] = (),
    counts: Collection[str] = (),
    two_values: bool = True,
    keep_constant: bool = False,
    option: Option = lambda name, value: "",
) -> Schema:
    """What each column holds, and what its numbers are standardised by, from the observed cells of the training rows.

    Words are classes, and so are numbers of two values; other numbers are numbers, and counts where they are declared.

    Args:
        table: all rows.
        train: the numbers of those that train.
        place: where it is from, for messages.
        classes: names of columns of numbers that are classes.
        counts: names of columns of counts.
        two_values: False leaves numbers of two values numbers.
        keep_constant: take columns of one value; a density of such numbers is one of the smallest noise there is.
        option: how messages name an option.

    Returns:
        The schema.

    Raises:
        DataError: a column is constant, empty, of names, or no count; or none is called so.
    """
    for name, asked in (("classes", classes), ("counts", counts)):
        if unknown := [word for word in asked if word not in table.names]:
            raise DataError(f"{option(name, unknown[0]) or unknown[0]}: {no_such(unknown[0], table.names, place)}")
    made = []
    for name, column in zip(table.names, table.columns, strict=True):
        here, drop = (
            f"{place}, {called(name)}",
            f"leave it out ({option('drop', name)})" if option("drop", name) else "",
        )
        drop = drop or "leave it out"
        observed = _observed(column)
        if not observed[train].any():
            raise DataError(f"{here} has no cell in the {len(train)} training rows: {drop}.")
        values = column[observed]
        levels = sorted(set(values.tolist()), key=lambda level: (str(type(level)), level))
        is_words = column.dtype == object
        constant = len(set(column[train][observed[train]].tolist())) == 1
        if constant and not keep_constant:
            raise DataError(
                f"{here} has one value, {levels[0]!r}, in all training rows, of which there is no density: {drop}."
            )
        if name in counts:
            made.append(_count(here, name, column, train, option))
        elif is_words or name in classes or (two_values and len(levels) == 2):
            if len(levels) > max(MOST_CLASSES, len(values) // 2):
                raise DataError(
                    f"{here} has {len(levels)} classes in {len(values)} rows, and so is a name rather than a class: "
                    f"{drop}."
                )
            made.append(Column(name, CLASS, tuple(levels), whole=not is_words and _whole(values)))
        else:
            made.append(_numbers(here, name, column, train))
    if not made:
        raise DataError(f"{place} has no columns left: keep one.")
    return Schema(tuple(made))


def rows_of(table: Table, schema: Schema, place: str, lines: Sequence[int] | None = None) -> Rows:
    """Rows as a model reads them: standardised numbers, classes as numbers from 0 on, counts; zeros where missing.

    Args:
        table: with the columns of the schema, in any order; others are passed over.
        schema: of the table that the model was made of.
        place: where it is from, for messages.
        lines: of the rows, for messages.

    Returns:
        Values and mask: block -> [N, n] float64, classes int32, and booleans.

    Raises:
        DataError: a column is missing, or a cell holds what the schema has no place for.
    """
    values: dict[str, list[np.ndarray]] = {}
    masks: dict[str, list[np.ndarray]] = {}
    for kind, block in BLOCKS.items():
        for expected in schema.of(kind):
            if expected.name not in table.names:
                raise DataError(f"{no_such(expected.name, table.names, place)} The model has it.")
            column = table.columns[table.names.index(expected.name)]
            observed = _observed(column)
            encoded = _encoded(expected, column, observed, place, lines)
            values.setdefault(block, []).append(encoded)
            masks.setdefault(block, []).append(observed)
    return (
        {block: np.stack(columns, axis=1) for block, columns in values.items()},
        {block: np.stack(columns, axis=1) for block, columns in masks.items()},
    )


def in_single_precision(rows: Rows) -> Rows:
    """The same rows, float64 as float32."""
    values, mask = rows
    return {
        block: cells.astype(np.float32) if cells.dtype == np.float64 else cells for block, cells in values.items()
    }, mask


def columns_of(values: Mapping[str, np.ndarray], schema: Schema) -> list[np.ndarray]:
    """The columns that rows of a model stand for, in their own units; of whole numbers the nearest whole ones.

    Args:
        values: block -> [N, n]; of classes their numbers [N, n], or their probabilities [N, n, K]: the most probable.
        schema: of the table.

    Returns:
        In the order of the schema, each [N] float64, or objects of classes.
    """
    found: dict[str, np.ndarray] = {}
    for kind, block in BLOCKS.items():
        for index, column in enumerate(schema.of(kind)):
            cells = np.asarray(values[block])[:, index]
            if kind == CLASS:
                numbers = cells if cells.ndim == 1 else cells[:, : len(column.levels)].argmax(axis=1)
                decoded = np.empty(len(cells), object)
                decoded[:] = [column.levels[int(number)] for number in numbers]
            else:
                decoded = np.asarray(cells, np.float64) * (column.scale if kind == NUMBER else 1.0)
                decoded = decoded + (column.mean if kind == NUMBER else 0.0)
                decoded = np.rint(decoded) if column.whole else decoded
            found[column.name] = decoded
    return [found[column.name] for column in schema.columns]


def no_such(name: str, names: Sequence[str], place: str) -> str:
    """That there is no such column, and which is meant."""
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(map(repr, names))}."
    return f"{place} has no column {name!r}: {meant}"


def _observed(column: np.ndarray) -> np.ndarray:
    if column.dtype == object:
        return np.array([value is not None for value in column], bool)
    return ~np.isnan(column)


def _levels(values: np.ndarray) -> list[Any]:
    """The different values of a column, in order; of words that are no strings, booleans say, by their type too."""
    if values.dtype != object:
        return np.unique(values).tolist()
    return sorted(set(values.tolist()), key=lambda level: (str(type(level)), level))


def _whole(values: np.ndarray) -> bool:
    return bool(np.all(values == np.rint(values)))


def _numbers(here: str, name: str, column: np.ndarray, train: np.ndarray) -> Column:
    values = column[train][_observed(column)[train]]
    everything = column[_observed(column)]
    if np.abs(everything).max() > LARGEST:
        raise DataError(
            f"{here} holds {everything[np.abs(everything).argmax()]:g}, whose square has no place in a number: give "
            "the column in larger units."
        )
    spread = float(values.std())
    scale = spread if spread > SMALLEST_SPREAD * np.abs(values).max() else 1.0
    return Column(name, NUMBER, mean=float(values.mean()), scale=scale, whole=_whole(everything))


def _count(here: str, name: str, column: np.ndarray, train: np.ndarray, option: Option) -> Column:
    how = option("counts", name) or "the declaration"
    everything = column[_observed(column)]
    if column.dtype == object or not _whole(everything) or everything.min() < 0:
        wrong = (
            everything[0]
            if column.dtype == object
            else everything[(everything != np.rint(everything)) | (everything < 0)][0]
        )
        raise DataError(f"{here} holds {wrong!r}, and a count is 0, 1, 2, ...: leave out {how}.")
    logs = np.log1p(column[train][_observed(column)[train]])
    return Column(name, COUNT, mean=float(logs.mean()), scale=float(logs.std()) or 1.0, whole=True)


def _encoded(
    expected: Column, column: np.ndarray, observed: np.ndarray, place: str, lines: Sequence[int] | None
) -> np.ndarray:
    """[N] one column, zero where it is missing."""
    if expected.kind == CLASS:
        number = {level: index for index, level in enumerate(expected.levels)}
        encoded = np.zeros(len(column), np.int32)
        for row in np.flatnonzero(observed).tolist():
            level = column[row] if column.dtype == object else float(column[row])
            if level not in number:
                known = ", ".join(map(repr, expected.levels[:8])) + (", ..." if len(expected.levels) > 8 else "")
                raise DataError(
                    f"{_at(place, row, lines)}, {called(expected.name)}: {level!r} is none of its classes {known}; "
                    "leave the cell empty, or train on a table that has it."
                )
            encoded[row] = number[level]
        return encoded
    if column.dtype == object and observed.any():
        row = int(np.flatnonzero(observed)[0])
        raise DataError(
            f"{_at(place, row, lines)}, {called(expected.name)}: {column[row]!r} is no number, and the model was "
            "trained on numbers there; mend it, or leave the cell empty."
        )
    cells = np.where(observed, np.nan_to_num(np.where(observed, column, 0).astype(np.float64)), 0.0)
    if np.any(wrong := observed & (np.abs(cells) > LARGEST)):
        raise DataError(
            f"{_at(place, int(np.flatnonzero(wrong)[0]), lines)}, {called(expected.name)}: {cells[wrong][0]:g} has a "
            "square with no place in a number: give the column in larger units."
        )
    if expected.kind == COUNT:
        if np.any(wrong := (cells < 0) | (cells != np.rint(cells))):
            raise DataError(
                f"{_at(place, int(np.flatnonzero(wrong)[0]), lines)}, {called(expected.name)}: {cells[wrong][0]:g} is "
                "no count 0, 1, 2, ...; mend it."
            )
        return cells
    return np.where(observed, (cells - expected.mean) / expected.scale, 0.0)


def _at(place: str, row: int, lines: Sequence[int] | None) -> str:
    return f"{place}, row {row + 1}" if lines is None else f"{place}, line {lines[row]}"
