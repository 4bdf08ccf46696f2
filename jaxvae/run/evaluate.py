"""The numbers of a run on its test set, with their protocol: what `result.json` holds."""

import math
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxvae.run.course import Course
from jaxvae.run.data import Dataset
from jaxvae.run.recipe import Asked, Measured, Recipe
from jaxvae.types import Params


def result(
    recipe: Recipe,
    course: Course,
    params: Params,
    dataset: Dataset,
    asked: Asked,
    *,
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    """The test numbers and their protocol: what `result.json` holds.

    Args:
        recipe: of the run.
        course: of the run.
        params: to be evaluated, with a leading axis of seeds where there are several.
        dataset: of the run.
        asked: how to measure.
        protocol: what is said beside the numbers besides the recipe's own: seeds, speed, precision.

    Returns:
        Means with standard errors, over seeds where there are several, else over examples; "units" of each; "protocol";
        "warnings", sentences, where there are any.
    """
    seeds = course.num_seeds
    of_seed = [jax.tree.map(lambda leaf, s=s: leaf[s], params) for s in range(seeds)] if seeds > 1 else [params]
    labels = [f", seed {index + 1} of {seeds}" if seeds > 1 else "" for index in range(seeds)]
    found = [
        recipe.measure(one, dataset.test, asked._replace(show=None if asked.show is None else label))
        for one, label in zip(of_seed, labels, strict=True)
    ]
    numbers: dict[str, Any] = {}
    said: dict[str, Any] = {}
    warnings = [measured.warning for of_one in found for measured in of_one.values() if measured.warning]
    for name, first in found[0].items():
        numbers |= _mean_and_error(name, [of_one[name] for of_one in found])
        said |= first.said
    if warnings:
        numbers["warnings"] = list(dict.fromkeys(warnings))
    return numbers | {
        "units": {name: first.unit for name, first in found[0].items()},
        "protocol": {"dataset": dataset.name, "split": dataset.split}
        | dict(recipe.protocol)
        | said
        | {
            "test_examples": dataset.test.size,
            "standard_error": "over seeds" if seeds > 1 else "over test examples",
            "epochs": course.epochs,
            "batch_size": course.batch_size,
        }
        | dict(protocol)
        | {"device": device_name(), "jax": jax.__version__},
    }


def _mean_and_error(name: str, of_seeds: list[Measured]) -> dict[str, Any]:
    """The mean, and its standard error over seeds, or over examples for one seed; None where there is none."""
    means = [_mean(one) for one in of_seeds]
    if len(means) > 1:
        error = float(np.std(means, ddof=1)) / math.sqrt(len(means))
        return {name: float(np.mean(means)), f"{name}_standard_error": error, f"{name}_of_each_seed": means}
    one = of_seeds[0]
    values = np.asarray(one.values, np.float64)
    if one.over is not None:  # of a ratio of sums, by its linearisation
        values = (values - means[0] * one.over) / np.mean(one.over)
    with np.errstate(invalid="ignore"):  # of values that are not finite there is none
        spread = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return {name: means[0], f"{name}_standard_error": spread}


def _mean(measured: Measured) -> float:
    values = np.asarray(measured.values, np.float64)
    return float(np.mean(values) if measured.over is None else np.sum(values) / np.sum(measured.over))


def device_name() -> str:
    """The accelerator by its own name; a CPU, which JAX calls just that, by its model and number of cores."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    names = re.findall(r"model name\s*: (.*)", _read(Path("/proc/cpuinfo")))
    return f"{os.cpu_count()} CPU cores, {names[0] if names else platform.processor() or platform.machine()}"


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
