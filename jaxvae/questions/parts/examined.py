"""What the questions share: options checked, a run opened with its data, a function of each example mapped, means."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxvae.run import RunError
from jaxvae.run.choice.fields import flag_of, named, parts
from jaxvae.run.data import Dataset, Split
from jaxvae.run.folder import about as about_file
from jaxvae.run.folder.opening import Run, data_of, open_run
from jaxvae.run.held_out import as_seen, spread
from jaxvae.run.options import posteriors, priors
from jaxvae.run.options.words import PHRASES
from jaxvae.training import parallel
from jaxvae.types import Array, Key

REALS = {"model.posterior": {"reals"}}
TAKEN_APART = {
    "posterior": (posteriors.Normal, posteriors.SemiAmortised),
    "prior": (priors.Standard, priors.Learned),
}


class Mean(NamedTuple):
    """A mean over examples."""

    mean: float
    standard_error: float | None  # None of a single example

    def under(self, name: str) -> dict[str, float | None]:
        """Both as numbers of a section, under a name and that name with `_standard_error`."""
        return {name: self.mean, f"{name}_standard_error": self.standard_error}

    def said(self, digits: int = 2) -> str:
        """Both as text, with the true minus sign.

        >>> Mean(-1.234, 0.05).said(), Mean(0.5, None).said(3)
        ('−1.23 ± 0.05', '0.500')
        """
        error = "" if self.standard_error is None else f" ± {self.standard_error:.{digits}f}"
        return f"{self.mean:.{digits}f}{error}".replace("-", "−")


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
    folder: Path, kinds: Sequence[str] = ("plain",), *, needs: Mapping[str, Collection[str]] | None = None
) -> tuple[Run, Dataset]:
    """A run, with the data that it was trained on.

    Args:
        folder: of the run.
        kinds: of runs that the question is about, by their names.
        needs: path of an option -> the words that it must have, `REALS` for instance; an option that the run's kind has
            not is asked for nothing.

    Returns:
        The run and its data.

    Raises:
        RunError: the folder is no run, or one of another kind, or its options lack what is needed, or the data is other
            data than it was begun on.
        DataError: the data cannot be read.
    """
    print(f"opening {folder}", flush=True)  # a word before what takes seconds
    run = open_run(folder)
    if run.kind.name not in kinds:
        raise RunError(
            f"{folder} is a run of the kind {run.kind.name}, and this question is about {' and '.join(kinds)} runs: "
            "give another run"
        )
    chosen = {path: option for path, option, _ in parts(run.config)}
    for path, words in (needs or {}).items():
        for word in sorted(words):
            if path in chosen and word not in getattr(chosen[path], "has", ()):
                raise RunError(
                    f"{folder} was trained with {flag_of(path)} {named(type(chosen[path]))}, and this question needs "
                    f"{PHRASES[word]}: give another run"
                )
    return run, data_of(run)


def check_gaussians(run: Run) -> None:
    """Refuse a plain run whose divergence is not a sum over dimensions in closed form.

    Args:
        run: of the kind plain.

    Raises:
        RunError: its posterior or its prior is none of the Gaussians that can be taken apart.
    """
    for name, kinds in TAKEN_APART.items():
        option = getattr(run.config.model, name)
        if not isinstance(option, kinds):
            raise RunError(
                f"{run.folder} was trained with --model.{name} {named(type(option))}, and this question takes "
                f"Gaussians apart, dimension by dimension: give a run with {' or '.join(map(named, kinds))}"
            )


def on_the_same_data(one: Run, other: Run) -> bool:
    """Whether two runs on images were trained on the same, binarised alike."""
    a, b = one.config.data, other.config.data
    alike = one.recipe.protocol.get("binarisation") == other.recipe.protocol.get("binarisation")
    begun = [about_file.data(run.folder / "about.json") for run in (one, other)]
    return alike and (a.name, a.split) == (b.name, b.split) and (None in begun or begun[0] == begun[1])


def by(shape: Sequence[int]) -> str:
    """A shape in words.

    >>> by((28, 28, 1))
    '28 x 28 x 1'
    """
    return " x ".join(map(str, shape))


def seen(run: Run, split: Split, count: int) -> tuple[Any, np.ndarray | None]:
    """Examples from all over a split, as the model takes them.

    Args:
        run: the run.
        split: of its data.
        count: how many at most.

    Returns:
        The xs, images [n, H, W, C] in [0, 1] for a plain run, binarised where the run is, by a fixed key; and their
        labels [n], where there are any.
    """
    chosen = spread(split, count)
    return as_seen(run.recipe, chosen), chosen.labels


def one_of_each(labels: np.ndarray, classes: Iterable[int]) -> np.ndarray:
    """The first example of each class.

    Args:
        labels: [N].
        classes: some of them.

    Returns:
        Rows, one for each class.
    """
    return np.array([np.flatnonzero(labels == kind)[0] for kind in classes])


def mean_and_error(values: np.ndarray) -> Mean:
    """The mean over examples, and its standard error.

    Args:
        values: [N].

    Returns:
        Both.
    """
    values = np.asarray(values, np.float64)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return Mean(float(values.mean()), error)


def progress(calls: int, count: int, *, batch_size: int = 5) -> tqdm:
    """One bar for several calls of `each_of`.

    Args:
        calls: how many.
        count: of examples in each.
        batch_size: of each.

    Returns:
        The bar; close it, or use it in a `with`.
    """
    batches = -(-count // (batch_size * len(jax.local_devices())))
    return tqdm(total=calls * batches, unit=" batches", desc="compiling")


def each_of(
    function: Callable[[Key, Array], Any],
    key: Key,
    xs: Array,
    label: str,
    *,
    batch_size: int = 5,
    bar: tqdm | None = None,
) -> Any:
    """A function of one example over all, a few at a time on every device of this machine, with a progress bar.

    Args:
        function: (key, x) -> a tree of arrays.
        key: split into one for each example.
        xs: [N, *event].
        label: of the bar.
        batch_size: how many examples a device holds at once.
        bar: that goes on, made by `progress`; by default this call has one of its own.

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
    own = bar is None
    shown = tqdm(total=-(-len(xs) // batch_size), unit=" batches") if bar is None else bar
    shown.set_description(f"{label}, compiling")  # until the first batch is back
    for start in range(0, len(xs), batch_size):
        rows = np.arange(start, start + batch_size) % len(xs)  # the last batch is filled up, and the surplus dropped
        found.append(jax.device_get(batch(keys[rows], xs[rows])))
        shown.set_description(label, refresh=False)
        shown.update()
    if own:
        shown.close()
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(xs)], *found)
