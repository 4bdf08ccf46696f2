"""Files that are written as a whole or not at all."""

import json
import math
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file as a whole or not at all.

    Args:
        path: the file.
        values: what JSON can hold.

    Raises:
        ValueError: a number is not finite, for which JSON has no word.
    """
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")
    os.replace(beside, path)


def write_result(path: Path, values: Any) -> None:
    """Write what was measured as JSON: null for what is not finite.

    Args:
        path: the file.
        values: what JSON can hold.
    """
    write_json(path, finite(values))


def finite(values: Any) -> Any:
    """Numbers as JSON has them: None in the place of one that is not finite, for which it has no word.

    Args:
        values: nested dictionaries and lists of what JSON can hold.

    Returns:
        The same, without NaN and infinity.

    Example:
        >>> finite({"mean": 1.5, "of_each": [float("nan"), 2]})
        {'mean': 1.5, 'of_each': [None, 2]}
    """
    if isinstance(values, dict):
        return {name: finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
