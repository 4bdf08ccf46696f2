"""What data a run was begun on, so that other data under the same name is known for other data."""

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxvae.run import RunError
from jaxvae.run.data import Dataset, Split
from jaxvae.run.folder import about as about_file
from jaxvae.run.held_out import even_rows
from jaxvae.run.recipe import about

SAMPLE = 2**26  # bytes of an array that are read: a tenth of a second; of a larger one, rows at even distances
CHUNK = 2**22
LONGEST = 200  # letters of a fact that is told, then and now
WORDS = {"train": "training", "valid": "validation", "test": "test"}
TOLERANCE = 1e-3  # of the sum of floats: codes that a network computes differ in their last digits between machines


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """What is remembered of the data of a run, as JSON.

    Args:
        dataset: of the run.

    Returns:
        For each split its number of examples, and of every array, the labels among them, the shape of an example, the
        type, and a sum over the bytes of a sample: of whole numbers the CRC-32, of floats the mean, a weighted mean and
        the root of the mean square.
    """
    splits = {name: getattr(dataset, name) for name in WORDS}
    return {name: _of_split(split) for name, split in splits.items() if split is not None}


def check(place: Path, dataset: Dataset) -> None:
    """Refuse data other than a run was begun on. Nothing is written.

    Args:
        place: the run's folder.
        dataset: what is found now where the run's data was.

    Raises:
        RunError: it differs, and in what; or the folder cannot be read.
    """
    begun, now = about_file.read(place / "about.json"), about(dataset)
    stored = about_file.data(place / "about.json")
    found = list(_differences(stored, fingerprint(dataset))) if stored is not None else []
    if not found and begun.example != now.example:  # a folder without a fingerprint
        found.append(f"examples of {_shapes(begun.example)} then and of {_shapes(now.example)} now")
    facts = json.loads(json.dumps(dict(now.facts)))
    for name in sorted((begun.facts.keys() | facts.keys()) - {"dataset"}):
        if begun.facts.get(name) != facts.get(name):
            then, since = (str(known.get(name)) for known in (begun.facts, facts))
            both = f"{name} {then} then and {since} now"
            found.append(both if len(both) <= LONGEST else f"what is known of its {name} is another")
    if found:
        raise RunError(
            f"{place} was begun on other data than {dataset.name} is now: {'; '.join(found)}. Give back the data that "
            "it was begun on, or begin a new run"
        )


def _of_split(split: Split) -> dict[str, Any]:
    return {
        "count": split.size,
        "examples": [_of_array(leaf) for leaf in jax.tree.leaves(split.examples)],
        "labels": None if split.labels is None else _of_array(split.labels),
    }


def _of_array(array: Any) -> dict[str, Any]:
    of_row = max(1, array.nbytes // max(1, len(array)))
    rows = even_rows(len(array), max(1, SAMPLE // of_row))
    parts = np.array_split(rows, max(1, len(rows) * of_row // CHUNK))
    return {
        "shape": list(array.shape[1:]),
        "dtype": str(array.dtype),
        "sum": (_sum_of_floats if np.issubdtype(array.dtype, np.floating) else _sum_of_bytes)(array, parts),
    }


def _sum_of_bytes(array: Any, parts: list[np.ndarray]) -> int:
    total = 0
    for rows in parts:
        total = zlib.crc32(np.ascontiguousarray(array[rows]).tobytes(), total)
    return total


def _sum_of_floats(array: Any, parts: list[np.ndarray]) -> list[float]:
    """The mean; Σ x_i cos i / √n, which another order changes by about the root mean square; and that."""
    total, weighted, squares, count = 0.0, 0.0, 0.0, 0
    for rows in parts:
        values = np.nan_to_num(np.asarray(array[rows], np.float64).ravel())
        total += float(values.sum())
        weighted += float(values @ np.cos(np.arange(count, count + len(values))))
        squares += float(values @ values)
        count += len(values)
    count = max(1, count)
    return [total / count, weighted / math.sqrt(count), math.sqrt(squares / count)]


def _differences(begun: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs, a phrase for each split."""
    for name, word in WORDS.items():
        then, found = begun.get(name), now.get(name)
        if then is None or found is None:
            if then is not found:
                yield f"no {word} examples then" if then is None else f"no {word} examples now"
        elif _looks(then) != _looks(found):
            yield f"{word} examples of {_looks(then)} then and of {_looks(found)} now"
        elif then["count"] != found["count"]:
            yield f"{then['count']:,} {word} examples then and {found['count']:,} now"
        elif not all(map(_same, then["examples"], found["examples"])):
            yield f"the {word} examples are others"
        elif (then["labels"] is None) != (found["labels"] is None):
            yield f"{word} examples {'without' if then['labels'] is None else 'with'} labels then, not so now"
        elif then["labels"] is not None and not _same(then["labels"], found["labels"]):
            yield f"the labels of the {word} examples are others"


def _same(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if isinstance(now["sum"], list) and isinstance(then["sum"], list):
        return bool(np.allclose(then["sum"], now["sum"], rtol=0, atol=TOLERANCE * max(then["sum"][-1], 1e-30)))
    return bool(then["sum"] == now["sum"])


def _looks(split: Mapping[str, Any]) -> str:
    return " and ".join(_words(leaf["shape"], leaf["dtype"]) for leaf in split["examples"])


def _shapes(example: Any) -> str:
    return " and ".join(_words(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(example))


def _words(shape: Any, dtype: Any) -> str:
    return f"{' x '.join(map(str, shape))} ({dtype})" if len(shape) else str(dtype)
