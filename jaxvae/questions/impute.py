"""Missing pixels filled in by a trained run: `jaxvae impute runs/NAME`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from jaxvae.latent import Imputations, pseudo_gibbs
from jaxvae.model import VAE
from jaxvae.questions.parts.examined import at_least, mean_and_error, open_examined, seen
from jaxvae.recipes.plain import mean_image
from jaxvae.run import RunError
from jaxvae.run.figures.curves import LINES
from jaxvae.run.figures.page import GREY, MARGIN, NARROW, number_ticks, page
from jaxvae.run.figures.rows import labelled_rows
from jaxvae.run.held_out import even_rows
from jaxvae.run.report import section
from jaxvae.types import Array, Params, Shape

CHUNK = 50  # examples whose chains run at once, each with all its rounds in memory
HIDDEN = np.array([0.34, 0.71, 0.91], np.float32)  # the colour of a missing pixel
SHOWN = 12
MEAN, DRAW, AVERAGE = "the decoder's mean", "a draw", "means, averaged"
KEYS = {MEAN: "mse_mean", DRAW: "mse_draw", AVERAGE: "mse_average"}
KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Hide pixels of test images, and let the model fill them in by pseudo-Gibbs sampling."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    missing: Literal["right", "left", "top", "bottom", "random"] = "bottom"
    """What is hidden: a half of every image, or pixels at random."""
    share: float = 0.5
    """Of pixels that are hidden, where they are at random."""
    examples: int = 200
    """Test images, from all over the set."""
    rounds: int = 30
    """Of the chain."""
    seed: int = 0
    """Of all draws."""


def main(options: Options) -> None:
    """Hide, impute, measure, add a section to the report.

    Args:
        options: of the command line.
    """
    at_least(2, examples=options.examples, rounds=options.rounds)
    at_least(0, seed=options.seed)
    if not 0 < options.share < 1:
        raise RunError(f"--share {options.share} must lie between 0 and 1")
    run, dataset = open_examined(options.run, KINDS)
    xs, _ = seen(run, dataset.test, options.examples)
    key_hidden, key_chain = jax.random.split(jax.random.key(options.seed))
    observed = _observed(key_hidden, len(xs), run.about.example.shape, options)
    mean = jnp.asarray(mean_image(dataset.train.examples), jnp.float32)
    start = jnp.where(observed, xs, mean[None])

    squares: dict[str, list[np.ndarray]] = {MEAN: [], DRAW: [], AVERAGE: []}
    rows = even_rows(len(xs), SHOWN)
    shown: list[Imputations] = []
    keys = jax.random.split(key_chain, len(xs))
    for begin in tqdm(range(0, len(xs), CHUNK), desc="imputing", unit=" batches"):
        part = slice(begin, begin + CHUNK)
        chains = _chains(run.model, keys[part], run.params, start[part], observed[part], options.rounds)
        here = rows[(rows >= begin) & (rows < begin + CHUNK)] - begin
        shown.append(jax.tree.map(lambda states, here=here: np.asarray(states)[here], chains))
        for name, states in (
            (MEAN, chains.means),
            (DRAW, chains.samples),
            (AVERAGE, _running_mean(chains.means)),
        ):
            squares[name].append(np.asarray(_mean_squares(states, xs[part], observed[part])))
    baseline = np.asarray(_mean_squares(start[:, None], xs, observed))[:, 0]

    errors = {name: np.concatenate(parts) for name, parts in squares.items()}
    place = run.folder / "figures"
    chosen = jax.tree.map(lambda *parts: np.concatenate(parts), *shown)
    truth, mask, begun = (np.asarray(images)[rows] for images in (xs, observed, start))
    _draw_images(place / "imputed.png", truth, mask, begun, chosen)
    _draw_errors(place / "imputation_error.png", errors, baseline)
    numbers, table = _numbers(errors, baseline)
    hidden = f"{options.share:g} of the pixels, at random" if options.missing == "random" else f"the {options.missing}"
    page_path = section.add(
        run,
        "impute",
        title="Missing pixels",
        text=_text(options),
        numbers=numbers,
        protocol={
            "test_examples": len(xs),
            "missing": hidden + ("" if options.missing == "random" else " half"),
            "rounds": options.rounds,
            "start": "the mean training image",
            "error": "mean squared error of a missing pixel, averaged over images",
            "standard_error": "over test images",
            "draw_seed": options.seed,
        },
        columns=["imputation", "mean squared error"],
        rows=table,
        figures=["imputed.png", "imputation_error.png"],
    )
    for name, value in table:
        print(f"  mean squared error, {name}: {value}")
    print(f"report: {page_path}")


def _observed(key: Array, count: int, shape: Shape, options: Options) -> Array:
    """[count, H, W, C] booleans; a pixel is missing with all its channels."""
    height, width, _ = shape
    if options.missing == "random":
        observed = jax.random.uniform(key, (count, height, width, 1)) >= options.share
        # An image without a missing pixel has no error, so each gets one at least.
        observed = observed.at[:, height // 2, width // 2].set(False)
        return jnp.broadcast_to(observed, (count, *shape))
    side = width if options.missing in ("left", "right") else height
    if side < 2:
        raise RunError(
            f"--missing {options.missing} hides half of an image that is {side} pixel across: give --missing "
            f"{'bottom' if options.missing in ('left', 'right') and height > 1 else 'random'}"
        )
    low = jnp.arange(side) < side // 2
    kept = low if options.missing in ("right", "bottom") else ~low
    along = kept[None, :, None] if options.missing in ("left", "right") else kept[:, None, None]
    return jnp.broadcast_to(along, (count, *shape))


@partial(jax.jit, static_argnums=(0, 5))
def _chains(model: VAE, keys: Array, params: Params, xs: Array, observed: Array, rounds: int) -> Imputations:
    one = partial(pseudo_gibbs, model, num_rounds=rounds)
    return jax.vmap(one, (0, None, 0, 0))(keys, params, xs, observed)


@jax.jit
def _running_mean(states: Array) -> Array:
    counts = jnp.arange(1, states.shape[1] + 1, dtype=states.dtype).reshape(1, -1, 1, 1, 1)
    return jnp.cumsum(states, axis=1) / counts


@jax.jit
def _mean_squares(states: Array, xs: Array, observed: Array) -> Array:
    """The mean squared error of the missing pixels, [N, T], of states [N, T, H, W, C]."""
    missing = 1.0 - observed[:, None].astype(xs.dtype)
    squares = jnp.square(states - xs[:, None]) * missing
    return jnp.sum(squares, axis=(2, 3, 4)) / jnp.sum(missing, axis=(2, 3, 4))


def _numbers(errors: dict[str, np.ndarray], baseline: np.ndarray) -> tuple[dict, list[list[str]]]:
    of_mean_image = mean_and_error(baseline)
    numbers: dict = of_mean_image.under("mse_mean_image")
    table = [["the mean training image", of_mean_image.said(4)]]
    for name, of_images in errors.items():
        last = mean_and_error(of_images[:, -1])
        numbers |= last.under(KEYS[name]) | {f"{KEYS[name]}_of_each_round": of_images.mean(axis=0).tolist()}
        table.append([f"{name}, after the last round", last.said(4)])
    gain = mean_and_error(baseline - errors[AVERAGE][:, -1])
    return numbers | gain.under("mse_gained_over_mean_image"), table


def _draw_images(path: Path, xs: np.ndarray, observed: np.ndarray, start: np.ndarray, chains: Imputations) -> None:
    """Truth, what is left of it, the start, rounds of the chain, and their average."""
    count, rounds = chains.means.shape[:2]
    rows: list[tuple[str, np.ndarray]] = [("data", xs), ("observed", _with_holes(xs, observed)), ("mean image", start)]
    for index in sorted({0, min(4, rounds - 1), rounds - 1}):
        rows.append((f"round {index + 1}, a draw", np.asarray(chains.samples)[:, index]))
    means = np.asarray(chains.means)
    rows += [(f"round {rounds}, mean", means[:, -1]), ("average of rounds", means.mean(axis=1))]
    channels = 3 if xs.shape[-1] in (1, 3) else xs.shape[-1]
    labelled_rows(
        path,
        [(name, np.clip(np.broadcast_to(images, (count, *xs.shape[1:3], channels)), 0, 1)) for name, images in rows],
        title="Missing pixels, filled in",
        caption="Blue pixels are hidden from the model. Each round draws a code for the image as it stands, then new "
        "missing pixels for the code. Look for whether the halves continue what is observed.",
    )


def _with_holes(xs: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Images with their missing pixels painted."""
    if xs.shape[-1] not in (1, 3):
        return np.where(observed, xs, 0.5)
    return np.where(observed, xs, HIDDEN)


def _draw_errors(path: Path, errors: dict[str, np.ndarray], baseline: np.ndarray) -> None:
    """The error of every round, with a band of one standard error, and the baseline's line."""
    caption = (
        "Mean squared error of a missing pixel after each round, averaged over test images; bands: one standard error. "
        "A draw carries the pixels' own noise; the average of the decoder's means over the rounds does not."
    )
    with page(path, "Error of the missing pixels", caption, width=NARROW, height=560) as place:
        axes = place(96, 70, NARROW - 2 * MARGIN - 96, 560 - 70 - 62)
        rounds = np.arange(1, next(iter(errors.values())).shape[1] + 1)
        for colour, (name, of_images) in zip(LINES, errors.items(), strict=False):
            mean = of_images.mean(axis=0)
            axes.plot(rounds, mean, color=colour, lw=1.8, label=f"{name}  {mean[-1]:.4f}")
            if len(of_images) > 1:
                error = of_images.std(axis=0, ddof=1) / np.sqrt(len(of_images))
                axes.fill_between(rounds, mean - error, mean + error, color=colour, alpha=0.22, lw=0)
        axes.axhline(baseline.mean(), color=GREY, lw=1.4, ls="--", label=f"the mean image  {baseline.mean():.4f}")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("round")
        axes.set_ylabel("mean squared error")
        number_ticks(axes, 6)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=2, borderaxespad=0)


def _text(options: Options) -> str:
    hidden = f"{options.share:.0%} of the pixels" if options.missing == "random" else f"the {options.missing} half"
    return (
        f"Of every test image, {hidden} was hidden and filled in by pseudo-Gibbs sampling: a code is drawn for the "
        "image as it stands, then new missing pixels for that code, again and again, while the observed pixels stay. "
        "With an exact posterior these are draws from the missing pixels' distribution given the observed; with a "
        "trained encoder, nearly so.\n\n"
        "The error is against the hidden truth. A draw is an image that might have been, and must err more than the "
        "best guess; that is the decoder's mean, averaged over the rounds."
    )
