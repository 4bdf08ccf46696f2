"""A prior over the codes of a vector-quantised run: `jaxvae code-prior runs/NAME`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from tqdm import tqdm

from jaxvae.model import VAE
from jaxvae.models import Nearest, perplexity
from jaxvae.priors import recurrent_codes
from jaxvae.questions.parts.examined import at_least, mean_and_error, open_examined, seen
from jaxvae.run import RunError, keys
from jaxvae.run.data import Split
from jaxvae.run.figures.images import decode
from jaxvae.run.figures.rows import blocks, labelled_rows
from jaxvae.run.fit import History, fit
from jaxvae.run.folder.opening import Run
from jaxvae.run.held_out import as_seen
from jaxvae.run.report import section
from jaxvae.run.train import Diverged
from jaxvae.types import Array, Key, Params

AT_ONCE = 1000
SHOWN = 64
KINDS = ("vq",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Learn a prior over the codes of a trained run (jaxvae train vq), and measure, draw and sample it."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    epochs: int = 20
    """Of the prior, over the codes of the training images."""
    width: int = 256
    """Of the prior's recurrent state."""
    lr: float = 1e-3
    """The prior's highest learning rate, which falls to zero along a cosine."""
    batch_size: int = 100
    """Images of codes in one step of the prior."""
    seed: int = 0
    """Of the prior's training and of all draws."""


def main(options: Options) -> None:
    """Encode, learn the prior, measure, draw, add a section to the report.

    Args:
        options: of the command line.
    """
    at_least(1, epochs=options.epochs, width=options.width, batch_size=options.batch_size)
    at_least(0, seed=options.seed)
    if not options.lr > 0:
        raise RunError(f"--lr {options.lr} must be positive")
    run, dataset = open_examined(options.run, KINDS)
    if dataset.train.size < options.batch_size:
        raise RunError(f"--batch-size {options.batch_size} is more than the {dataset.train.size} training images")
    parts = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    codes = {name: _in_parts(_encoded, run, part, f"codes, {name}") for name, part in parts.items() if part is not None}
    key_prior, key_train, key_draws = jax.random.split(jax.random.key(options.seed), 3)
    prior, history = _learned(run, codes, key_prior, key_train, options)

    distortion = -_in_parts(_fits, run, dataset.test, "log p(x|z)")
    count = math.prod(codes["test"].shape[1:])
    rates = {
        "uniform": np.full(len(distortion), count * math.log(run.config.model.codes)),
        "learned": _rates(prior, codes["test"]),
    }
    usage = np.bincount(codes["test"].ravel(), minlength=run.config.model.codes)
    numbers: dict[str, Any] = {
        "codebook_perplexity": float(perplexity(jnp.asarray(usage, jnp.float32))),
        "codes_used": int(np.sum(usage > 0)),
        "prior_parameters": sum(leaf.size for leaf in jax.tree.leaves(prior)),
        "prior_epochs_kept": history.best_epoch,
        "rate_learned_prior_of_each_epoch": None if history.valid is None else (-history.valid).tolist(),
    } | mean_and_error(distortion).under("distortion")
    rows = []
    for name, rate in rates.items():
        total, bits = mean_and_error(distortion + rate), "–"
        numbers |= {f"rate_{name}_prior": float(rate.mean())} | total.under(f"nll_bound_{name}_prior")
        if run.config.model.likelihood.pixels != "grey":  # of a density no nat is a bit of a pixel
            in_bits = mean_and_error((distortion + rate) / math.prod(run.about.example.shape) / math.log(2))
            numbers |= in_bits.under(f"bits_per_dimension_{name}_prior")
            bits = in_bits.said(4)
        rows.append([name, f"{rate.mean():.2f}", f"{distortion.mean():.2f}", total.said(), bits])
    _draw(run, prior, key_draws, dataset.test, usage)
    page = section.add(
        run,
        "code_prior",
        title="A prior over the codes",
        text=_text(run),
        numbers=numbers,
        protocol={
            "examples": len(distortion),
            "code_positions": list(codes["test"].shape[1:]),
            "code_prior": f"gated recurrent unit of width {options.width}",
            "code_prior_epochs": options.epochs,
            "code_prior_chosen_on": "validation codes" if "valid" in codes else "nothing: the last epoch",
            "standard_error": "over test images",
            "draw_seed": options.seed,
        },
        columns=[
            "prior",
            "rate of the codes (nats)",
            "-log p(x|z) (nats)",
            "sum: bound on -log p(x)",
            "bits per dimension",
        ],
        rows=rows,
        figures=["code_samples.png", "code_reconstructions.png"],
    )
    print(f"  codebook perplexity {numbers['codebook_perplexity']:.1f} of {run.config.model.codes} codes")
    for row in rows:
        print("  {} prior: rate {} + distortion {} = {} nats, {} bits per dimension".format(*row))
    print(f"report: {page}")


@partial(jax.jit, static_argnums=0)
def _encoded(model: VAE, params: Params, xs: Array) -> Array:
    """The codes of images, [N, rows, columns]."""

    def of_image(x: Array) -> Array:
        posterior = model.posterior(params, x)
        assert isinstance(posterior, Nearest)
        return posterior.codes

    return jax.vmap(of_image)(xs)


def _in_parts(function: Callable[[VAE, Params, Array], Array], run: Run, part: Split, label: str) -> np.ndarray:
    """What a function makes of a split, a thousand images at a time, with a progress bar."""
    xs = as_seen(run.recipe, part)
    begins = tqdm(range(0, len(xs), AT_ONCE), desc=label, unit=" batches")
    return np.concatenate([np.asarray(function(run.model, run.params, xs[i : i + AT_ONCE])) for i in begins])


@partial(jax.jit, static_argnums=0)
def _fits(model: VAE, params: Params, xs: Array) -> Array:
    """log p(x|z), [N]."""
    key = keys.of_terms()  # the code of an image is no draw
    return jax.vmap(lambda x: model.terms(key, params, x).log_likelihood)(xs)


@jax.jit
def _log_probs(prior: recurrent_codes.RecurrentCodes, codes: Array) -> Array:
    return jax.lax.map(prior.log_prob, codes, batch_size=min(AT_ONCE, len(codes)))


def _rates(prior: recurrent_codes.RecurrentCodes, codes: np.ndarray) -> np.ndarray:
    """-ln p(codes), [N]."""
    return -np.asarray(_log_probs(prior, jnp.asarray(codes)), np.float64)


def _learned(
    run: Run, codes: dict[str, np.ndarray], key_prior: Key, key_train: Key, options: Options
) -> tuple[recurrent_codes.RecurrentCodes, History]:
    """The prior after the epoch that is best on validation codes, the last one where there are none; its history."""
    train = codes["train"]
    rate = optax.cosine_decay_schedule(options.lr, options.epochs * (len(train) // options.batch_size))
    try:
        prior, history = fit(
            None,
            train,
            key=key_train,
            epochs=options.epochs,
            batch_size=options.batch_size,
            optimizer=optax.adam(rate),
            bound=_log_prob,
            valid=codes.get("valid"),
            patience=options.epochs if "valid" in codes else None,  # to the end: the best is kept
            params=recurrent_codes.start(key_prior, train.shape[1:], run.config.model.codes, width=options.width),
        )
    except Diverged as error:
        raise RunError(f"the prior diverged ({error}): give a lower --lr than {options.lr:g}") from None
    return prior, history


def _log_prob(model: None, key: Key, prior: Params, codes: Array, *, num_samples: int) -> Array:
    """ln p(codes), which is exact: a bound without a model and without draws."""
    return prior.log_prob(codes)


def _draw(run: Run, prior: recurrent_codes.RecurrentCodes, key: Key, test: Split, usage: np.ndarray) -> None:
    place = run.folder / "figures"
    place.mkdir(exist_ok=True)
    table = run.params["codebook"]
    of_each = jax.random.split(key, SHOWN)
    drawn = jax.jit(jax.vmap(prior.sample))(of_each)
    uniform = jax.vmap(run.model.prior(run.params).sample)(of_each)
    blocks(
        place / "code_samples.png",
        {
            "learned prior": np.asarray(decode(run.model, run.params, table[drawn])),
            "uniform prior": np.asarray(decode(run.model, run.params, uniform)),
        },
        title="Samples through the codes",
        caption="The decoder's mean for codes from the learned prior, one after another, and for codes that are each "
        "drawn by itself: look for whole shapes on the left.",
    )
    xs, _ = seen(run, test, 12)
    codes = _encoded(run.model, run.params, xs)
    labelled_rows(
        place / "code_reconstructions.png",
        [
            ("data", np.asarray(xs)),
            ("from its codes", np.asarray(decode(run.model, run.params, table[codes]))),
            ("the codes", _as_pictures(np.asarray(codes), usage, run.about.example.shape)),
        ],
        title="Images and their codes",
        caption="Test images, the decoder's mean for their codes, and the codes: frequent ones dark, rare ones light.",
    )


def _as_pictures(codes: np.ndarray, usage: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Codes by the rank of their use, enlarged to the size of the images."""
    rank = np.argsort(np.argsort(-usage)) / max(1, len(usage) - 1)
    rows = np.arange(shape[0]) * codes.shape[1] // shape[0]
    columns = np.arange(shape[1]) * codes.shape[2] // shape[1]
    enlarged = rank[codes][:, rows][:, :, columns][..., None]
    return np.broadcast_to(enlarged, (*enlarged.shape[:3], shape[2])).astype(np.float32)


def _text(run: Run) -> str:
    return (
        f"Each image is a small image of codes, each the number of one of {run.config.model.codes} vectors. The length "
        "of a description of x is that of its codes, -ln p(codes), and that of x given them, -ln p(x|z); their sum "
        "bounds -log p(x). Under a uniform prior every code costs ln K.\n\n"
        "Here a recurrent network learns p(codes) from the codes of the training images, one after another in raster "
        "order, and keeps the epoch that is best on validation codes. The model itself is not changed."
    )
