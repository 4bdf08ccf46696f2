"""Systems with an adversary beside those without, in one table: `python -m experiments.adversarial --data.name mnist`.

Each is trained on the same images for as many passes. Do its codes follow the prior, what is left of an image, do
neighbours in its codes have one class; and, where a number stands for log p(x), is it one: adversarial variational
Bayes makes an estimate that may lie on either side, and annealing is its judge.
"""

import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np

from experiments.adversarial_measures import COLUMNS, measured, shown
from experiments.new_folder import new_folder
from jaxvae.recipes import avb, plain
from jaxvae.run import RunError, launch, refusals
from jaxvae.run.choice import EVERYDAY, Above, AtLeast, to_dict
from jaxvae.run.command import command
from jaxvae.run.figures.rows import labelled_rows
from jaxvae.run.folder import opening
from jaxvae.run.folder.files import write_result
from jaxvae.run.options import likelihoods, networks, prices
from jaxvae.run.options.discriminators import Discriminator
from jaxvae.run.options.images import Images
from jaxvae.run.options.objective import Objective
from jaxvae.run.recipe import Kind
from jaxvae.run.report import study
from jaxvae.run.settings import Evaluation, Optimizer

WAE = likelihoods.Gaussian(scale=10**0.5)  # its cost is .05 |x - x̂|²
# Of grey images, whose black is black: a continuous Bernoulli's is 1 over its logit, and no discriminator takes it.
GREY = likelihoods.Gaussian(scale=0.3)
AVB: dict[str, Literal["prior", "adaptive"]] = {"AVB": "prior", "AVB, adaptive contrast": "adaptive"}
SYSTEMS = ("VAE", "WAE-MMD", "WAE-GAN", "AAE", *AVB, "BiGAN", "ALI", "VAE/GAN")
BOUNDED = ("VAE", *AVB)  # with a number that stands for log p(x)
OF_IMAGES = ("BiGAN", "ALI", "VAE/GAN")  # whose discriminator sees images that are to pass


@dataclass(frozen=True)
class Model:
    """What all of them have."""

    network: networks.AnyNetwork = field(default_factory=lambda: networks.Small(depth=2))
    """The encoder and the decoder."""
    latent: Annotated[int, AtLeast(1), EVERYDAY] = 8
    """The number of latent dimensions."""


@dataclass(frozen=True)
class Options:
    """Train a VAE and the systems with an adversary, and compare their codes, their images, and what they estimate."""

    epochs: Annotated[int, AtLeast(1), EVERYDAY] = 10
    """Passes over the training set, of each system."""
    batch_size: Annotated[int, AtLeast(1)] = 128
    """Examples in one step."""
    seed: Annotated[int, AtLeast(0)] = 0
    """All randomness comes from it."""
    codes: Annotated[int, AtLeast(20)] = 5000
    """Test images whose codes are told from the prior, by a classifier that is fitted to half of them."""
    test_epochs: Annotated[int, AtLeast(1)] = 20
    """Passes of that classifier."""
    neighbours: Annotated[int, AtLeast(0)] = 50000
    """Training images among whose codes the nearest neighbour is looked for; 0 leaves it out."""
    examples: Annotated[int, AtLeast(2)] = 20
    """Test images whose log p(x) is annealed; and as many simulated ones."""
    temperatures: Annotated[int, AtLeast(1)] = 300
    """Moves of an annealed chain."""
    chains: Annotated[int, AtLeast(1)] = 8
    """Annealed chains for each image."""
    systems: tuple[str, ...] = SYSTEMS
    """Which are trained, in turn."""
    data: Images = field(default_factory=Images)
    model: Model = field(default_factory=Model)
    discriminator: Discriminator = field(default_factory=Discriminator)
    """Of every system that has one."""
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(beta1=0.5))
    image_lr: Annotated[float, Above(0)] = 2e-4
    """The learning rate of all players where images are to pass for others: BiGAN, ALI, VAE/GAN."""
    folder: Annotated[Path, EVERYDAY] = Path("runs/adversarial")
    """Where the runs, result.json, systems.png and report.html go; it must not exist."""


def settings_of(system: str, options: Options) -> tuple[Kind, Any]:
    """The run of a system.

    Args:
        system: one of `SYSTEMS`.
        options: of the command line.

    Returns:
        Its kind and its configuration.
    """
    shared: dict[str, Any] = {
        "data": options.data,
        "optimizer": options.optimizer,
        "evaluation": Evaluation(num_samples=0),
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
    }
    parts: dict[str, Any] = {"network": options.model.network, "latent": options.model.latent}
    if system in AVB:
        of_avb = avb.Model(**parts)
        return avb.KIND, avb.Config(model=of_avb, contrast=AVB[system], discriminator=options.discriminator, **shared)
    adversary = {name: getattr(options.discriminator, name) for name in vars(options.discriminator)}
    if system in OF_IMAGES:
        adversary["lr"] = options.image_lr
        shared["optimizer"] = replace(options.optimizer, lr=options.image_lr)
    chosen: dict[str, tuple[Any, Any]] = {
        "VAE": (prices.Weight(), likelihoods.Bernoulli()),
        "WAE-MMD": (prices.Mmd(), WAE),
        "WAE-GAN": (prices.Adversary(**adversary), WAE),
        "AAE": (prices.Adversary(**adversary), likelihoods.Bernoulli()),
        "BiGAN": (prices.Bidirectional(code="mean", **adversary), GREY),
        "ALI": (prices.Bidirectional(code="draw", **adversary), GREY),
        "VAE/GAN": (prices.Similarity(**adversary), GREY),
    }
    price, likelihood = chosen[system]
    return plain.KIND, plain.Config(
        model=plain.Model(likelihood=likelihood, **parts), objective=Objective(price=price), **shared
    )


def main(options: Options) -> int | None:
    """Train all of them, measure, draw, report.

    Args:
        options: of the command line.

    Returns:
        The exit code of a run that stopped, else None.
    """
    unknown = [name for name in options.systems if name not in SYSTEMS]
    if unknown or not options.systems:
        raise RunError(f"--systems {' '.join(unknown)} names no system: give some of {', '.join(SYSTEMS)}")
    for system in options.systems:
        refusals.check(settings_of(system, options)[1])
    place, began, busy = new_folder(options.folder), time.monotonic(), time.process_time()
    rows: list[dict[str, Any]] = []
    pictures: list[tuple[str, np.ndarray]] = []
    for system in options.systems:
        print(f"system: {system}", flush=True)
        kind, settings = settings_of(system, options)
        name = "-".join("".join(letter if letter.isalnum() else " " for letter in system.lower()).split())
        of_run = {item.name: getattr(settings, item.name) for item in fields(settings)}
        if code := launch.run(kind, launch.options_of(kind)(**of_run, runs=place, name=name)):
            return code
        run = opening.open_run(place / name)
        dataset = opening.data_of(run)
        rows.append({"system": system} | measured(run, dataset, options, annealed=system in BOUNDED))
        grey, again, new = shown(run, dataset, jax.random.key(options.seed))
        pictures += [] if pictures else [("test images", grey)]
        pictures += [(system, again), ("new", new)]
    labelled_rows(
        place / "systems.png",
        pictures,
        title="With and without an adversary",
        caption="Test images, each again through the mean of its code, and below it new ones from draws of the prior, "
        "all by the mean of p(x|z). Look for what is kept of an image, for blur, and for new images that are none.",
    )
    spent = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - busy}
    write_result(place / "result.json", {"rows": rows, "protocol": _protocol(options, rows) | spent})
    page = study.write(
        place,
        module="experiments.adversarial",
        title="With and without an adversary",
        text="A classifier tells codes of test images from draws of the prior; beside it stands what it makes of two "
        "draws of the prior. The squared error is that of a pixel of the grey image, by the mean of p(x|z) at the mean "
        "code. Where an objective bounds log p(x) the bound stands here, and where a discriminator estimates one, the "
        "estimate, which is no bound: annealing, on the same few images, tells log p(x) from below, and on simulated "
        "ones the gap to what bounds it from above.",
        columns=("system", *COLUMNS.values()),
        rows=[(row["system"], *(_cell(row.get(name)) for name in COLUMNS)) for row in rows],
        picture="systems.png",
        options=to_dict(options),
    )
    for row in rows:
        known = [f"{words} {_said(row[name])}" for name, words in COLUMNS.items() if row[name] is not None]
        print(f"  {row['system']}: {', '.join(known)}")
    print(f"report: {page}")
    return None


def _said(value: Any) -> str:
    return f"{value[0]:.2f} ± {value[1]:.2f}" if isinstance(value, list) else f"{value:.4g}"


def _cell(value: Any) -> Any:
    """A number, a number with its standard error, or nothing."""
    return "" if value is None else tuple(value) if isinstance(value, list) else value


def _protocol(options: Options, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "dataset": options.data.name,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "latent": options.model.latent,
        "images": "binarised anew at every visit under a Bernoulli (VAE, AAE, AVB), grey in the others",
        "codes": f"{options.codes} test images at most, one draw each; half of them train the classifier",
        "null": "as many draws of the prior twice",
        "nearest": f"mean codes, among {options.neighbours} training images at most",
        "annealed": f"{options.examples} test images, {options.temperatures} temperatures, {options.chains} chains",
        "standard_error": "over images",
        "device": jax.devices()[0].device_kind,
    }


if __name__ == "__main__":
    command(main, Options)
