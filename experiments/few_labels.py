"""Classes from few labels, over seeds and numbers of labels: `python -m experiments.few_labels --data.name mnist`.

M1 is a plain VAE, trained once on all images and no label; then M2 is trained on its codes, and both together. Without
M1 (`--first-epochs 0`) it is M2 of pixels. For every seed another subset of labels is drawn, as many of every class;
the accuracy is that of q(y|x) on all test images, and nothing is chosen by it.
Source: Kingma, Rezende, Mohamed & Welling, "Semi-supervised Learning with Deep Generative Models" (2014), table 1.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from experiments.new_folder import new_folder
from jaxvae.recipes import few_labels, plain
from jaxvae.run import launch, refusals
from jaxvae.run.choice import AtLeast, to_dict
from jaxvae.run.command import command
from jaxvae.run.folder.files import write_result
from jaxvae.run.options import networks
from jaxvae.run.options.images import Images
from jaxvae.run.recipe import Kind
from jaxvae.run.settings import Evaluation, Optimizer

FIRST = plain.Model(networks.Small(width=500, depth=2), latent=50, mean_bias=True)
SECOND = few_labels.Model(width=100, latent=5, alpha=0.5, together=True)
FIRST_RATE = Optimizer(lr=1e-3, schedule="cosine", warmup_steps=500)
# Adam's mean of M1's squared gradients is zero until M1 is let go: with a short memory the first steps stay short.
RATE = Optimizer(lr=2e-3, schedule="cosine", warmup_steps=300, clip=200.0, beta2=0.99)


@dataclass(frozen=True)
class Options:
    """Train M1, and M1+M2 for every number of labels and every seed, each a run of its own; print the table."""

    labels: tuple[int, ...] = (100,)
    """How many labels there are, in turn."""
    num_seeds: Annotated[int, AtLeast(1)] = 5
    """Subsets of labels (and starts of M2), in turn."""
    first_epochs: Annotated[int, AtLeast(0)] = 16
    """Of M1; 0 leaves it out."""
    epochs: Annotated[int, AtLeast(1)] = 15
    """Of every M2, those in which M1 is held among them."""
    data: Images = field(default_factory=Images)
    first: plain.Model = field(default_factory=lambda: FIRST)
    second: few_labels.Model = field(default_factory=lambda: SECOND)
    first_optimizer: Optimizer = field(default_factory=lambda: FIRST_RATE)
    optimizer: Optimizer = field(default_factory=lambda: RATE)
    folder: Path = Path("runs/few_labels")
    """Where the runs and result.json go; it must not exist."""


def main(options: Options) -> int | None:
    """Train all of them, and tell the accuracies.

    Args:
        options: of the command line.

    Returns:
        The exit code of a run that stopped, else None.
    """
    first = plain.Config(
        data=options.data,
        model=options.first,
        optimizer=options.first_optimizer,
        evaluation=Evaluation(num_samples=0),
        epochs=options.first_epochs,
        batch_size=200,
    )
    if options.first_epochs:
        refusals.check(first)
    place, began, busy = new_folder(options.folder), time.monotonic(), time.process_time()
    features, kind = (place / "m1", "m1+m2") if options.first_epochs else (None, "m2")
    if features and (code := _run(plain.KIND, first, place, "m1")):
        return code
    rows: list[dict[str, Any]] = []
    for count in options.labels:
        accuracies = []
        for seed in range(options.num_seeds):
            name, config = f"{kind}-{count}-{seed}", _second(options, features, count, seed)
            if code := _run(few_labels.KIND, config, place, name):
                return code
            result = json.loads((place / name / "result.json").read_text())
            accuracies.append(result["test_accuracy"])
        rows.append({"labels": count, "accuracies": accuracies, "mean": float(np.mean(accuracies))})
        spread = float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None
        rows[-1]["standard_deviation"] = spread
        print(
            f"{count} labels: {rows[-1]['mean']:.4f} of the test images right, standard deviation {spread} over seeds"
        )
    protocol = {
        "options": to_dict(options),
        "classified": "mean codes of grey test images" if features else "grey test images",
        "chosen": "nothing by the test set",
    }
    seconds = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - busy}
    write_result(place / "result.json", {"rows": rows} | seconds | {"protocol": protocol})
    return None


def _second(options: Options, features: Path | None, count: int, seed: int) -> few_labels.Config:
    fields = {name: getattr(options.second, name) for name in vars(options.second)}
    fields["together"] = options.second.together and features is not None
    return few_labels.Config(
        data=options.data,
        model=few_labels.Model(**(fields | {"labels": count, "features": features})),
        optimizer=options.optimizer,
        evaluation=Evaluation(num_samples=0),
        epochs=options.epochs,
        batch_size=200,
        seed=seed,
    )


def _run(kind: Kind, config: Any, place: Path, name: str) -> int:
    settings = {name: getattr(config, name) for name in vars(config)}
    return launch.run(kind, launch.options_of(kind)(**settings, runs=place, name=name))


if __name__ == "__main__":
    command(main, Options)
