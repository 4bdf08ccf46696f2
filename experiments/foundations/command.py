"""What the foundations' command lines share: wrong values become a sentence, numbers are saved with their protocol."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxvae.run import RunError
from jaxvae.run.command import command
from jaxvae.run.figures.page import write_atomically


def run(main: Callable[[Any], None], config: type) -> None:
    """Read the command line into `config`, run `main` in double precision, and end the process.

    Args:
        main: takes an instance of `config`; a RunError ends the process with 2 and its sentence on stderr.
        config: a frozen dataclass with a `folder`.
    """

    def in_double_precision(values: Any) -> None:
        try:
            with jax.enable_x64(True):
                main(values)
        except OSError as error:
            raise RunError(f"{values.folder} cannot be written: {error.strerror}; choose another --folder.") from error

    command(in_double_precision, config)


def require_at_least(least: float, config: Any, *names: str) -> None:
    """Refuse fields below a value, or not finite.

    Raises:
        RunError: names the first such field, its value, and what it must be.
    """
    for name in names:
        values = getattr(config, name)
        for value in values if isinstance(values, tuple) else (values,):
            if not (math.isfinite(value) and value >= least):
                flag = name.replace("_", "-")
                raise RunError(f"--{flag} must be {least} or more, not {value}.")


def save_numbers(folder: Path, config: Any, protocol: Mapping[str, Any], numbers: Mapping[str, Any]) -> None:
    """Write `result.json`: the numbers, with the protocol and the configuration they belong to.

    Args:
        folder: of the run; made where it is missing.
        config: a dataclass.
        protocol: data, method, units.
        numbers: numbers, arrays, and dicts of them.

    Raises:
        ValueError: a number is not finite.
    """
    result = {"protocol": dict(protocol), "config": asdict(config), **numbers}
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    write_atomically(folder / "result.json", (text + "\n").encode())


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else np.asarray(value).tolist()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their columns, numbers to the right, floats to five digits.

    Args:
        columns: the headings.
        rows: as many cells each as there are columns.
    """
    cells = [[f"{cell:.5g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]))
