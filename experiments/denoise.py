"""Denoising: a VAE that is trained to explain clean images by corrupted ones.

`python -m experiments.denoise --noise gaussian --amount 0.5`

It is compared with the same network trained in the usual way, which sees a corrupted image for the first time when it
is tested (Im et al., "Denoising Criterion for Variational Auto-Encoding Framework", 2017).
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments.denoise_figure import draw
from experiments.new_folder import new_folder
from jaxvae.models import Corrupt, denoising, gaussian_noise, masking, salt_and_pepper
from jaxvae.recipes import plain
from jaxvae.run import RunError, refusals
from jaxvae.run.choice import EVERYDAY, to_dict
from jaxvae.run.command import command
from jaxvae.run.figures import images as run_images
from jaxvae.run.folder.files import write_result
from jaxvae.run.held_out import as_seen, even_rows
from jaxvae.run.options import likelihoods
from jaxvae.run.options.images import Images, image_recipe
from jaxvae.run.recipe import about
from jaxvae.run.report import study
from jaxvae.run.settings import Optimizer
from jaxvae.run.train import Diverged, train

NOISES: dict[str, Callable[[float], Corrupt]] = {
    "gaussian": gaussian_noise,
    "salt-and-pepper": salt_and_pepper,
    "masking": masking,
}


@dataclass(frozen=True)
class Options:
    """Train a VAE to explain clean images by corrupted ones, and measure how well it cleans test images."""

    noise: Annotated[Literal["gaussian", "salt-and-pepper", "masking"], EVERYDAY] = "gaussian"
    """Gaussian noise is added and not clipped; salt and pepper replaces pixels by zero or one, masking by zero."""
    amount: Annotated[float, EVERYDAY] = 0.4
    """The noise's standard deviation, pixels being in [0, 1], or the fraction of pixels that are replaced."""
    data: Images = field(default_factory=partial(Images, binarize="none"))
    model: plain.Model = field(default_factory=partial(plain.Model, likelihood=likelihoods.GaussianShared()))
    optimizer: Optimizer = field(default_factory=partial(Optimizer, lr=2e-3))
    epochs: Annotated[int, EVERYDAY] = 300
    """Passes over the training set."""
    batch_size: int = 100
    """Examples in one step."""
    seed: Annotated[int, EVERYDAY] = 0
    """All randomness comes from it."""
    folder: Annotated[Path, EVERYDAY] = Path("runs/denoise")
    """Where result.json, denoise.png and report.html go; it must not exist."""


def main(options: Options) -> int | None:
    """Train both models, clean the test set, write the numbers and the picture.

    Args:
        options: of the command line.

    Returns:
        1 where training diverged, else None.
    """
    try:
        corrupt = NOISES[options.noise](options.amount)
    except ValueError as error:
        raise RunError(f"--amount {options.amount}: {error}") from None
    if not 0 < options.amount < math.inf:
        raise RunError(f"--amount {options.amount} must be positive: without noise there is nothing to remove")
    settings = plain.Config(
        data=options.data,
        model=options.model,
        optimizer=options.optimizer,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    refusals.check(settings)
    dataset, course = plain.KIND.data(settings), settings.course()
    usual = plain.KIND.recipe(settings, about(dataset))
    model = usual.model
    to_denoise = image_recipe(settings, about(dataset), denoising(model, corrupt), start=usual.start)
    refusals.check_data(to_denoise, course, dataset)
    clean = as_seen(usual, dataset.test)
    keys = jax.random.split(jax.random.key(options.seed), len(clean))
    noisy = jax.jit(jax.vmap(corrupt))(keys, clean)
    if bool(jnp.all(noisy == clean)):
        raise RunError(f"--amount {options.amount} changes no pixel of the test set: give a larger one")
    place = new_folder(options.folder)
    try:
        by_noisy = train(to_denoise, course, dataset, show="training on corrupted images").params
        by_clean = train(usual, course, dataset, show="training as usual").params
    except Diverged as error:
        place.rmdir()
        print(f"error: {error}; try a lower --optimizer.lr, or --optimizer.clip 1", file=sys.stderr)
        return 1

    cleaned = {
        "denoising VAE": run_images.reconstruct(model, by_noisy, noisy),
        "usual VAE": run_images.reconstruct(model, by_clean, noisy),
    }
    originals = np.asarray(clean, np.float64)
    errors = {
        name: squared_error(images, originals) for name, images in {"noisy": np.asarray(noisy), **cleaned}.items()
    }
    errors["usual VAE, clean input"] = squared_error(run_images.reconstruct(model, by_clean, clean), originals)
    numbers = {name: psnr(values) for name, values in errors.items()}
    gain = psnr_gain(errors["noisy"], errors["denoising VAE"])
    protocol = {
        "dataset": dataset.name,
        "split": dataset.split,
        **usual.protocol,
        "test_examples": len(clean),
        "noise": options.noise,
        "amount": options.amount,
        "psnr": "of the mean squared error over the test set, peak 1, in decibels",
        "standard_error": "over test examples, by the delta method",
        "denoised": "the decoder's mean, clipped to [0, 1], at the posterior mean of the corrupted image",
        "latent": options.model.latent,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "jax": jax.__version__,
    }
    result = {
        name: {"psnr": measured[0], "psnr_standard_error": measured[1]}
        for name, measured in (numbers | {"gain of the denoising VAE": gain}).items()
    }
    write_result(place / "result.json", result | {"protocol": protocol})
    chosen = even_rows(len(clean), 14)
    title = f"Denoising {dataset.name}: {options.noise.replace('-', ' ')}, {options.amount:g}"
    draw(
        place / "denoise.png",
        {"clean": originals[chosen], "noisy": np.asarray(noisy)[chosen]}
        | {name: images[chosen] for name, images in cleaned.items()},
        {name: numbers[name] for name in ("noisy", "usual VAE", "denoising VAE")},
        title=title,
    )
    page = study.write(
        place,
        module="experiments.denoise",
        title=title,
        text="Two VAEs of the same size clean the same noisy test images: one was trained to explain clean images by "
        "noisy ones, one as usual. The better one has the higher PSNR.",
        columns=("images", "PSNR (dB)"),
        rows=[*numbers.items(), ("gain of the denoising VAE", gain)],
        picture="denoise.png",
        options=to_dict(options),
    )
    print(f"{dataset.name}, test set, {options.noise} {options.amount:g}, PSNR in decibels:")
    for name, (value, standard_error) in (numbers | {"gain of the denoising VAE": gain}).items():
        print(f"  {name}: {value:.2f} ± {standard_error:.2f}")
    print(f"report: {page}")
    return None


def squared_error(images: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """The mean squared error of each image.

    Args:
        images: [N, H, W, C].
        originals: [N, H, W, C].

    Returns:
        [N].
    """
    return np.mean(np.square(images - originals), axis=(1, 2, 3))


def psnr(errors: np.ndarray) -> tuple[float, float]:
    """The peak signal-to-noise ratio of a test set, and its standard error over images.

    PSNR = -10 log₁₀ MSE,    s.e. = (10 / ln 10) s.e.(MSE) / MSE

    Args:
        errors: [N] the mean squared error of each image, pixels being in [0, 1].

    Returns:
        Two numbers in decibels.
    """
    mean = errors.mean()
    return -10 * math.log10(mean), 10 / math.log(10) * float(errors.std(ddof=1)) / math.sqrt(len(errors)) / mean


def psnr_gain(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """By how much the PSNR of the same images rose, and the standard error of that.

    Args:
        before: [N] the mean squared error of each image.
        after: [N] the same of the images that were cleaned.

    Returns:
        Two numbers in decibels; the error is that of the paired difference, by the delta method.
    """
    influence = before / before.mean() - after / after.mean()
    error = 10 / math.log(10) * float(influence.std(ddof=1)) / math.sqrt(len(before))
    return 10 * math.log10(before.mean() / after.mean()), error


if __name__ == "__main__":
    command(main, Options)
