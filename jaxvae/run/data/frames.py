"""DataFrames, of pandas, of polars or of any library whose frames have names and columns, without importing one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxvae.run.data.columns import Table, called
from jaxvae.run.data.dataset import DataError

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


def like(frame: Any, columns: Mapping[str, np.ndarray]) -> Any:
    """A DataFrame of the same library, with the same dtypes where the values allow it, and the same index.

    Args:
        frame: as it was given.
        columns: name -> [N] what it shall hold.

    Returns:
        The new one, with the columns in this order.
    """
    keys = {str(key): key for key in frame.columns}
    plain = {keys[name]: values.tolist() if values.dtype == object else values for name, values in columns.items()}
    rows = len(next(iter(columns.values())))
    index = {"index": frame.index} if hasattr(frame, "index") and len(frame) == rows else {}
    made = type(frame)(plain, **index)
    if hasattr(frame, "schema"):  # polars
        return made.cast({key: frame.schema[key] for key in plain})
    return made.astype({key: frame.dtypes[key] for key in plain}) if hasattr(frame, "dtypes") else made


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
