"""Which test images come from another data set, or from a class left out: `jaxvae anomaly runs/NAME --other DATASET`.

For a class: `jaxvae anomaly runs/NAME --held-out-class 3`.

The likelihood alone is known to fail: a model can give simple images of another kind a higher density than its own
(Nalisnick et al., "Do Deep Generative Models Know What They Don't Know?", 2019). So three scores stand side by side:

    -log p(x)                                 the likelihood
    -log p(x) - L(x)                          less the length L of the image as a PNG file (Serrà et al. 2020)
    |-log p(x) - E_train[-log p(x)]|          distance from the typical (Nalisnick et al., arXiv:1906.02994)

Higher is more anomalous for each. A held-out class needs a model that never saw it: one is trained beside the run, with
the run's own configuration, and serves again the next time.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from sklearn.metrics import roc_auc_score

from jaxvae.questions.parts.anomaly_figure import draw
from jaxvae.questions.parts.anomaly_scores import auroc_standard_error, png_nats
from jaxvae.questions.parts.examined import at_least, by, mean_and_error, open_examined, seen
from jaxvae.run import RunError, launch
from jaxvae.run.choice import differences
from jaxvae.run.data import Dataset, Split
from jaxvae.run.folder import config_file
from jaxvae.run.folder.opening import Run, data_of, open_run
from jaxvae.run.held_out import prepared, spread
from jaxvae.run.measures import log_likelihoods
from jaxvae.run.options.images import Binarize, Images, binarization, prepare_of
from jaxvae.run.report import section
from jaxvae.types import Array

SCORES = {
    "likelihood": "−log p(x)",
    "complexity": "−log p(x) − PNG length",
    "typicality": "|−log p(x) − training mean|",
}
KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Tell a run's own test images from those of another data set, or from those of a class that was left out."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    other: str | None = None
    """The data set whose test images are the anomalies: a name or a path, as in jaxvae train --data."""
    held_out_class: Annotated[int | None, tyro.conf.arg(aliases=["--held-out-digit"])] = None
    """The class whose images are the anomalies; a model without it is trained where there is none yet."""
    num_samples: int = 100
    """Draws for the estimate of log p of each image."""
    examples: int = 1000
    """At most so many images of each kind, from all over its test set."""
    seed: int = 0
    """Of all draws."""


def main(options: Options) -> int | None:
    """Score, compare, add a section to the run's report.

    Args:
        options: of the command line.

    Returns:
        The exit code of the training, where one was needed and did not end well; else None.
    """
    if (options.other is None) == (options.held_out_class is None):
        raise RunError("say what the anomalies are: --other DATASET, or --held-out-class CLASS, and not both")
    at_least(1, num_samples=options.num_samples)
    at_least(2, examples=options.examples)
    at_least(0, seed=options.seed)
    run, dataset = open_examined(options.run, KINDS)
    if options.held_out_class is None:
        images, config = other_images(run, str(options.other))
        xs = prepared(prepare_of(config), spread(images, options.examples).examples)
        name = Path(str(options.other)).stem.replace(":", "-")
        compare(options, run, dataset, xs, name=name, binarisation=binarization(config))
        return None
    without = run_without_class(run, options.held_out_class)
    if isinstance(without, int):
        return without
    chosen = Split(dataset.test.examples[dataset.test.labels == options.held_out_class])
    xs, _ = seen(run, chosen, options.examples)
    own = data_of(without)._replace(name=f"{dataset.name} without class {options.held_out_class}")
    name = f"class {options.held_out_class}"
    compare(options, without, own, xs, name=name, binarisation=binarization(run.config))
    return None


def other_images(run: Run, name: str) -> tuple[Split, Any]:
    """The test images of another data set, as the run's likelihood needs them.

    Args:
        run: the run.
        name: of the other data set.

    Returns:
        Its test images, and the run's configuration with them for its data, by which their pixels become what the
        likelihood is a density of.

    Raises:
        RunError: they have another size.
        DataError: they cannot be read.
    """
    binarize = binarization(run.config)
    if name == "binarized_mnist":
        binarize = "none"
    elif run.config.model.likelihood.pixels == "binary" and binarize == "none":
        binarize = "dynamic"  # the run's own pixels are zeros and ones already
    data = dataclasses.replace(run.config.data, name=name, split=None, binarize=binarize)
    config = dataclasses.replace(run.config, data=data)
    other = run.kind.data(config)
    theirs, own = other.test.examples.shape[1:], run.about.example.shape
    if theirs != own:
        raise RunError(f"{name} has images of {by(theirs)}, and the run of {by(own)}: give one of the run's size")
    return other.test, config


def run_without_class(run: Run, left_out: int) -> Run | int:
    """The run's twin that never saw one class: trained beside it the first time, opened from then on.

    Its data, without the class in any split, is an .npz file beside its folder.

    Args:
        run: the run.
        left_out: the class.

    Returns:
        The twin, or the exit code of a training that did not end well.

    Raises:
        RunError: the data has no labels or no such class, or the twin there is another model's.
    """
    grey = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, binarize="none"))
    dataset = run.kind.data(grey)
    labels = dataset.train.labels
    if labels is None or dataset.test.labels is None:
        raise RunError(f"{dataset.name} has no labels, so no class can be left out: give --other DATASET")
    if left_out not in labels or left_out not in dataset.test.labels:
        known = ", ".join(str(label) for label in np.unique(labels))
        raise RunError(f"--held-out-class {left_out} is no class of {dataset.name}, whose classes are {known}")
    name = f"{run.folder.resolve().name}-without-{left_out}"
    place = run.folder.resolve().parent / name
    data = place.with_name(f"{name}-data.npz")
    settings = dataclasses.replace(run.config, data=Images(name=str(data), binarize=binarization(run.config)))
    begun = (place / "config.json").is_file()
    if begun and (changed := differences(config_file.read(place / "config.json", run.kind)[1], settings)):
        raise RunError(f"{place} was trained with other values of {', '.join(changed)}: move it away, and run again")
    if (place / "result.json").is_file():
        return open_run(place)
    if not begun:
        np.savez_compressed(data, **_arrays_without(dataset, left_out))  # type: ignore[arg-type]
    print(f"training {place}, the same model without class {left_out}", flush=True)
    values = {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)}
    options = launch.options_of(run.kind)(**values, runs=place.parent, name=name, resume=begun)
    code = launch.run(run.kind, options, line=f"jaxvae anomaly {run.folder} --held-out-class {left_out}")
    return code or open_run(place)


def _arrays_without(dataset: Dataset, left_out: int) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for part in ("train", "valid", "test"):
        split = getattr(dataset, part)
        if split is not None:
            kept = split.labels != left_out
            arrays |= {part: split.examples[kept], f"{part}_labels": split.labels[kept]}
    return arrays


def compare(
    options: Options, run: Run, dataset: Dataset, anomalies: Array, *, name: str, binarisation: Binarize
) -> None:
    """Score both kinds of images, and add the numbers, the picture and a section to the run.

    Args:
        options: of the command line.
        run: whose model scores.
        dataset: the run's data.
        anomalies: [M, H, W, C] images of another kind, as the model sees them.
        name: of the anomalies.
        binarisation: of the anomalies.
    """
    xs = {
        "training": seen(run, dataset.train, options.examples)[0],
        "normal": seen(run, dataset.test, options.examples)[0],
        "anomalous": anomalies,
    }
    key_of = dict(zip(xs, jax.random.split(jax.random.key(options.seed), len(xs)), strict=True))
    nll = {
        kind: -log_likelihoods(
            run.model,
            key_of[kind],
            run.params,
            images,
            num_samples=options.num_samples,
            show=f"log p(x), {kind} images",
        ).astype(np.float64)
        for kind, images in xs.items()
    }
    typical = float(nll["training"].mean())
    kinds = ("normal", "anomalous")
    lengths = {kind: png_nats(np.asarray(xs[kind])) for kind in kinds}
    scores = {
        "likelihood": {kind: nll[kind] for kind in kinds},
        "complexity": {kind: nll[kind] - lengths[kind] for kind in kinds},
        "typicality": {kind: np.abs(nll[kind] - typical) for kind in kinds},
    }
    numbers: dict[str, dict[str, float]] = {}
    for score, of_kind in scores.items():
        truth = np.repeat([0, 1], [len(of_kind["normal"]), len(of_kind["anomalous"])])
        area = float(roc_auc_score(truth, np.concatenate([of_kind["normal"], of_kind["anomalous"]])))
        error = auroc_standard_error(area, positives=len(of_kind["anomalous"]), negatives=len(of_kind["normal"]))
        numbers[score] = {"auroc": area, "auroc_standard_error": error}
    means: dict[str, float | None] = {}
    for kind, values in nll.items():
        means |= mean_and_error(values).under(f"mean_negative_log_likelihood_{kind}")
    file = "anomaly-" + name.replace(" ", "-")
    (run.folder / "figures").mkdir(exist_ok=True)
    draw(
        run.folder / "figures" / f"{file}.png",
        {SCORES[score]: of_kind for score, of_kind in scores.items()},
        {SCORES[score]: (found["auroc"], found["auroc_standard_error"]) for score, found in numbers.items()},
        {kind: np.asarray(xs[kind]) for kind in kinds},
        normal=dataset.name,
        anomalous=name,
    )
    section.add(
        run,
        file,
        title=f"Anomalies: {name}",
        text=f"Can the model tell test images of {dataset.name} from those of {name}, which it never saw? AUROC is the "
        "probability that an anomalous image scores higher than a normal one: 1 is perfect, 0.5 is chance, and below "
        "0.5 the model prefers the anomalies. The likelihood alone can fail because simple images are likely under any "
        "model: the second score subtracts the length of the image as a PNG file, the third asks how far the "
        "likelihood is from that of training images.",
        numbers=numbers | means,
        protocol={
            "anomalies": name,
            "normal_examples": len(xs["normal"]),
            "anomalous_examples": len(xs["anomalous"]),
            "training_examples": len(xs["training"]),
            "binarisation_of_anomalies": binarisation,
            "estimator": "importance sampling from q(z|x)",
            "nll_k": options.num_samples,
            "complexity": "bits of a PNG file (one bit a pixel where pixels are 0 or 1) times ln 2",
            "standard_error": "of an AUROC, Hanley and McNeil (1982); of a mean, over images",
            "units": "nats",
            "draw_seed": options.seed,
        },
        columns=("score", "AUROC", "s.e."),
        rows=[(SCORES[s], f"{n['auroc']:.4f}", f"{n['auroc_standard_error']:.4f}") for s, n in numbers.items()],
        figures=[f"{file}.png"],
    )
    print(f"{dataset.name} against {name}, {len(xs['normal'])} and {len(xs['anomalous'])} test images, AUROC:")
    for score, found in numbers.items():
        print(f"  {SCORES[score]}: {found['auroc']:.4f} ± {found['auroc_standard_error']:.4f}")
    print(f"report: {run.folder / 'report.html'}")
