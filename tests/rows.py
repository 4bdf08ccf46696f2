"""Tables of which the suite takes the first rows, and the slow proofs all."""

import pytest


def first(count, rows):
    """The rows as parameters, of which all but the first `count` are slow."""
    as_tuples = [row if isinstance(row, tuple) else (row,) for row in rows]
    return [pytest.param(*row, marks=() if index < count else pytest.mark.slow) for index, row in enumerate(as_tuples)]
