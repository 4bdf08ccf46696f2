"""DataFrames, of pandas, of polars or of any library whose frames have names and columns, without importing one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvae.run.data.columns import Table, called
from jaxvae.run.data.dataset import DataError
from jaxvae.run.data.schema import BLOCKS, Rows, Schema, columns_of

MISSING = (
    "NAType",
    "NaTType",
    "NoneType",
)  # what stands in a missing cell of objects, beside a float that is no number


def is_frame(data: Any) -> bool:
    """Whether it is a DataFrame: it has `columns`, and `frame[name].to_numpy()` is one of them."""
    return hasattr(data, "columns") and hasattr(data, "__getitem__") and hasattr(data, "to_numpy")


def table_of_frame(frame: Any) -> Table:
    """The columns of a DataFrame.

    Args:
        frame: of numbers, booleans, strings and categories, with cells missing or not.

    Returns:
        Columns of numbers, NaN where missing; booleans, strings and categories as objects, None where missing.

    Raises:
        DataError: a column holds something else, or numbers beside words.

    Example:
        >>> class Frame(dict):
        ...     columns = property(list)
        ...     to_numpy = None
        >>> class Series(list):
        ...     def to_numpy(self):
        ...         return np.array(self, object)
        >>> table_of_frame(Frame(a=Series([1, None]), b=Series(["red", "blue"]))).columns
        [array([ 1., nan]), array(['red', 'blue'], dtype=object)]
    """
    names = [str(name) for name in frame.columns]
    return Table(names, [_column(name, frame[key]) for name, key in zip(names, frame.columns, strict=True)])


def table_given(data: Any) -> Table:
    """The columns of a DataFrame, or of an array [N, D] of numbers, whose columns are called "0", "1", ..."""
    if is_frame(data):
        return table_of_frame(data)
    return Table([str(index) for index in range(data.shape[1])], list(np.ascontiguousarray(np.asarray(data).T)))


def handed_back(frame: Any, schema: Schema, columns: Sequence[np.ndarray]) -> Any:
    """Columns in the form that a table was given in.

    Args:
        frame: a DataFrame of that form, or None for an array.
        schema: of the table.
        columns: [N] each.

    Returns:
        A DataFrame, or an array [N, D].
    """
    if frame is None:
        return np.stack(columns, axis=1).astype(np.float64)
    return like(frame, dict(zip([column.name for column in schema.columns], columns, strict=True)))


def filled(data: Any, schema: Schema, rows: Rows, values: Mapping[str, np.ndarray]) -> Any:
    """A table with its missing cells filled in, and all others as they are.

    Args:
        data: a DataFrame, or an array.
        schema: of the table.
        rows: its cells as a model has them.
        values: what is filled in, block -> [N, n], of classes perhaps [N, n, K].

    Returns:
        The same form.
    """
    table = table_given(data)
    columns = dict(zip([column.name for column in schema.columns], columns_of(values, schema), strict=True))
    for kind, block in BLOCKS.items():
        for index, column in enumerate(schema.of(kind)):
            known = table.columns[table.names.index(column.name)]
            columns[column.name] = np.where(rows[1][block][:, index], known, columns[column.name])
    return handed_back(data if is_frame(data) else None, schema, list(columns.values()))


def like(frame: Any, columns: Mapping[str, np.ndarray]) -> Any:
    """A DataFrame of the same library, with the same dtypes where the values allow it, and the same index.

    Args:
        frame: as it was given.
        columns: name -> [N] what it shall hold.

    Returns:
        The new one, with the columns in this order.
    """
    keys = {str(key): key for key in frame.columns}
    dtypes = frame.schema if hasattr(frame, "schema") else frame.dtypes  # of polars; of pandas
    plain: dict[Any, Any] = {}
    for name, values in columns.items():
        whole = str(dtypes[keys[name]]).lower().startswith(("int", "uint"))
        plain[keys[name]] = values.tolist() if values.dtype == object else np.rint(values) if whole else values
    rows = len(next(iter(columns.values())))
    index = {"index": frame.index} if hasattr(frame, "index") and len(frame) == rows else {}
    made = type(frame)(plain, **index)
    wanted = {key: dtypes[key] for key in plain}
    return made.cast(wanted) if hasattr(made, "cast") else made.astype(wanted)


def _column(name: str, series: Any) -> np.ndarray:
    values = np.asarray(series.to_numpy())
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    if values.dtype.kind == "b":
        return values.astype(object)
    if values.dtype.kind not in "OUTS":
        raise DataError(
            f"{called(name)} holds {values.dtype}, neither numbers nor classes: make numbers of it, the days since a "
            "date for instance, or drop it."
        )
    cells = [None if _is_missing(cell) else cell for cell in values.tolist()]
    kinds = {_kind(name, cell) for cell in cells if cell is not None}
    if len(kinds) > 1:
        raise DataError(
            f"{called(name)} holds {' and '.join(sorted(kinds))}: give it one of them, strings where it holds classes."
        )
    if kinds == {"numbers"}:
        return np.array([np.nan if cell is None else float(cell) for cell in cells])
    column = np.full(len(cells), None, object)
    column[:] = cells
    return column


def _is_missing(cell: Any) -> bool:
    return type(cell).__name__ in MISSING or (isinstance(cell, float | np.floating) and np.isnan(cell))


def _kind(name: str, cell: Any) -> str:
    if isinstance(cell, bool | np.bool_):
        return "booleans"
    if isinstance(cell, str):
        return "strings"
    try:
        float(cell)
    except (TypeError, ValueError):
        raise DataError(
            f"{called(name)} holds {type(cell).__name__}, neither numbers nor classes: make numbers or strings of it, "
            "or drop it."
        ) from None
    return "numbers"
