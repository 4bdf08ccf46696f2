"""Files that are written as a whole or not at all."""

import json
import math
import os
from pathlib import Path
from typing import Any


def finite(values: Any) -> Any:
    """What JSON can hold of numbers: None in place of those that are not finite.

    Args:
        values: dictionaries, lists and tuples of anything.

    Returns:
        The same, of lists.
    """
    if isinstance(values, dict):
        return {name: finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


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
