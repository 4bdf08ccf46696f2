"""Files that are written as a whole or not at all."""

import json
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
