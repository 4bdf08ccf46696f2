"""What experiments on a run share: options checked, the run and its data opened, a function of each example mapped."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxvae.run import RunError
from jaxvae.run.config import DISCRETE, WITHOUT_DENSITY, binarization
from jaxvae.run.data import Dataset, Split
from jaxvae.run.evaluate import held_out
from jaxvae.run.figures.images import spread
from jaxvae.run.folder.opening import Run, data_of, open_run
from jaxvae.training import parallel
from jaxvae.types import Array, Key

WHY = {  # a posterior cannot be examined
    **dict.fromkeys(DISCRETE, "whose latents are discrete, and this experiment is about real numbers"),
    **dict.fromkeys(WITHOUT_DENSITY, "whose density cannot be evaluated, and this experiment needs it"),
}


def at_least(smallest: float, **options: float) -> None:
    """Refuse options that are too small.

    Args:
        smallest: what each must reach.
        options: name in the dataclass -> value.

    Raises:
        RunError: the first that does not.
    """
    for name, value in options.items():
        if not value >= smallest:
            raise RunError(f"--{name.replace('_', '-')} {value} must be at least {smallest:g}")


def open_examined(
    folder: Path, structures: Sequence[str] = ("plain",), *, without: Sequence[str] = ()
) -> tuple[Run, Dataset]:
    """A run, with the data that it was trained on.

    Args:
        folder: of the run.
        structures: those that the experiment can examine.
        without: the posteriors, keys of `WHY`, that it cannot.

    Returns:
        The run and its data.

    Raises:
        RunError: the folder is no run, or one of another structure or of such a posterior, or the data has images of
            another shape than those that it was trained on.
        DataError: the data cannot be read.
    """
    run = open_run(folder)
    if run.config.model.structure not in structures:
        raise RunError(
            f"{folder} was trained with --model.structure {run.config.model.structure}, and this experiment is about "
            f"{' or '.join(structures)}: give another run"
        )
    posterior = run.config.model.posterior
    if posterior in without:
        raise RunError(f"{folder} was trained with --model.posterior {posterior}, {WHY[posterior]}: give another run")
    dataset = data_of(run.config)
    shape = dataset.train.examples.shape[1:]
    if shape != run.image_shape:
        raise RunError(
            f"{folder} was trained on images of shape {_by(run.image_shape)}, and {dataset.name} now holds "
            f"{_by(shape)}: give back the data that it was trained on"
        )
    return run, dataset


def seen(run: Run, split: Split, count: int) -> tuple[Array, np.ndarray | None]:
    """Examples from all over a split, as the model sees them.

    Args:
        run: the run.
        split: of its data.
        count: how many at most.

    Returns:
        [n, H, W, C] in [0, 1], binarised where the run is, by a fixed key; and their labels [n], where there are any.
    """
    chosen = spread(split, count)
    return held_out(chosen, binarization(run.config)), chosen.labels


def one_of_each(labels: np.ndarray, classes: Iterable[int]) -> np.ndarray:
    """The first example of each class.

    Args:
        labels: [N].
        classes: some of them.

    Returns:
        Rows, one for each class.
    """
    return np.array([np.flatnonzero(labels == kind)[0] for kind in classes])


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """The mean over examples, and its standard error.

    Args:
        values: [N], two or more.

    Returns:
        Both.
    """
    values = np.asarray(values, np.float64)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def each_of(function: Callable[[Key, Array], Any], key: Key, xs: Array, label: str, *, batch_size: int = 5) -> Any:
    """A function of one example over all, a few at a time on every device of this machine, with a progress bar.

    Args:
        function: (key, x) -> a tree of arrays.
        key: split into one for each example.
        xs: [N, *event].
        label: of the bar.
        batch_size: how many examples a device holds at once.

    Returns:
        The tree, with a leading axis [N].
    """
    devices = jax.local_devices()
    batch: Callable[[Key, Array], Any] = jax.jit(jax.vmap(function))
    if len(devices) > 1:
        shared = parallel.over_examples(lambda key, _, x: function(key, x), devices)
        batch, batch_size = (lambda keys, xs: shared(keys, (), xs)), batch_size * len(devices)
    keys = jax.random.split(key, len(xs))
    found = []
    for start in tqdm(range(0, len(xs), batch_size), desc=label, unit=" batches"):
        rows = np.arange(start, start + batch_size) % len(xs)  # the last batch is filled up, and the surplus dropped
        found.append(jax.device_get(batch(keys[rows], xs[rows])))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(xs)], *found)
