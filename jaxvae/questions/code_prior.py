"""A prior over the codes of a vector-quantised model: `python -m jaxvae.questions.code_prior runs/NAME`."""

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

from jaxvae import training
from jaxvae.model import VAE
from jaxvae.models import Nearest, perplexity
from jaxvae.priors import recurrent_codes
from jaxvae.questions.parts.examined import at_least, mean_and_error, open_examined
from jaxvae.run import RunError
from jaxvae.run.command import command
from jaxvae.run.data import Split
from jaxvae.run.evaluate import as_seen
from jaxvae.run.figures.images import decode, spread
from jaxvae.run.figures.rows import blocks, labelled_rows
from jaxvae.run.folder.opening import Run
from jaxvae.run.report import section
from jaxvae.types import Array, Key, Params

AT_ONCE = 1000
SHOWN = 64
# Of others no nat is a bit of a pixel.
DISCRETE = ("bernoulli", "categorical", "beta-binomial", "logistic-mixture", "pixelcnn")


@dataclass(frozen=True)
class Options:
    """Learn a prior over the codes of a trained run (--model.structure vq), and measure, draw and sample it."""

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
    run, dataset = open_examined(options.run, ("vq",))
    if len(dataset.train.examples) < options.batch_size:
        raise RunError(
            f"--batch-size {options.batch_size} is more than the {len(dataset.train.examples)} training images"
        )
    parts = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    codes = {name: _in_parts(_encoded, run, part, f"codes, {name}") for name, part in parts.items() if part is not None}
    key_prior, key_train, key_draws = jax.random.split(jax.random.key(options.seed), 3)
    prior, chosen_after, curve = _learned(run, codes, key_prior, key_train, options)

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
        "prior_epochs_kept": chosen_after,
    }
    numbers["distortion"], numbers["distortion_standard_error"] = mean_and_error(distortion)
    rows = []
    for name, rate in rates.items():
        total, error = mean_and_error(distortion + rate)
        numbers |= {
            f"rate_{name}_prior": float(rate.mean()),
            f"nll_bound_{name}_prior": total,
            f"nll_bound_{name}_prior_standard_error": error,
        }
        bits = "–"
        if run.config.model.likelihood in DISCRETE:
            mean, error_of_bits = mean_and_error((distortion + rate) / math.prod(run.image_shape) / math.log(2))
            numbers |= {
                f"bits_per_dimension_{name}_prior": mean,
                f"bits_per_dimension_{name}_prior_standard_error": error_of_bits,
            }
            bits = f"{mean:.4f}"
        rows.append([name, f"{rate.mean():.2f}", f"{distortion.mean():.2f}", f"{total:.2f} ± {error:.2f}", bits])
    _draw(run, prior, key_draws, dataset.test, usage)
    page = section.add(
        run,
        "quantized",
        title="A prior over the codes",
        text=_text(run),
        numbers=numbers,
        protocol={
            "examples": len(distortion),
            "likelihood": run.config.model.likelihood,
            "code_positions": list(codes["test"].shape[1:]),
            "prior": f"gated recurrent unit of width {options.width}",
            "prior_epochs": options.epochs,
            "prior_chosen_on": "validation codes" if "valid" in codes else "nothing: the last epoch",
            "prior_bound_by_epoch": curve,
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
    xs = as_seen(run.config, part)
    begins = tqdm(range(0, len(xs), AT_ONCE), desc=label, unit=" batches")
    return np.concatenate([np.asarray(function(run.model, run.params, xs[i : i + AT_ONCE])) for i in begins])


@partial(jax.jit, static_argnums=0)
def _fits(model: VAE, params: Params, xs: Array) -> Array:
    """log p(x|z), [N]."""
    key = jax.random.key(0)  # the code of an image is no draw
    return jax.vmap(lambda x: model.terms(key, params, x).log_likelihood)(xs)


@jax.jit
def _log_probs(prior: recurrent_codes.RecurrentCodes, codes: Array) -> Array:
    return jax.lax.map(prior.log_prob, codes, batch_size=min(AT_ONCE, len(codes)))


def _rates(prior: recurrent_codes.RecurrentCodes, codes: np.ndarray) -> np.ndarray:
    """-ln p(codes), [N]."""
    return -np.asarray(_log_probs(prior, jnp.asarray(codes)), np.float64)


def _learned(
    run: Run, codes: dict[str, np.ndarray], key_prior: Key, key_train: Key, options: Options
) -> tuple[recurrent_codes.RecurrentCodes, int, list[float]]:
    """The prior after the epoch that is best on validation codes, which epoch that is, and their bound by epoch."""
    data = jnp.asarray(codes["train"])
    steps = len(data) // options.batch_size
    optimizer = optax.adam(optax.cosine_decay_schedule(options.lr, options.epochs * steps))
    prior = recurrent_codes.start(key_prior, data.shape[1:], run.config.model.codes, width=options.width)

    def loss(keys: Key, params: Params, extra: Any, xs: Array, step: Array) -> Any:
        rate = -jnp.mean(jax.vmap(params.log_prob)(xs))
        return rate, (extra, {"rate": rate})

    epoch = jax.jit(
        partial(
            training.steps,
            step=training.make_step(loss, optimizer),
            prepare=lambda key, stored: stored,
            batch_size=options.batch_size,
        ),
        donate_argnums=0,
    )
    state, best, chosen, curve = training.start(prior, optimizer), prior, 0, []
    lowest = math.inf
    bar = tqdm(range(options.epochs), desc="prior", unit=" epochs")
    for number in bar:
        state, _ = epoch(state, key_train, data)
        held_out = float(_rates(state.params, codes["valid"]).mean()) if "valid" in codes else -number
        curve.append(held_out)
        bar.set_postfix_str(f"{held_out:.2f} nats")
        if not math.isfinite(held_out):
            raise RunError(
                f"the prior's loss is not finite in epoch {number + 1}: give a lower --lr than {options.lr:g}"
            )
        if held_out < lowest:
            lowest, best, chosen = held_out, jax.tree.map(jnp.copy, state.params), number + 1
    return best, chosen, curve if "valid" in codes else []


def _draw(run: Run, prior: recurrent_codes.RecurrentCodes, key: Key, test: Split, usage: np.ndarray) -> None:
    place = run.folder / "figures"
    place.mkdir(exist_ok=True)
    table = run.params["codebook"]
    keys = jax.random.split(key, SHOWN)
    drawn = jax.jit(jax.vmap(prior.sample))(keys)
    uniform = jax.vmap(run.model.prior(run.params).sample)(keys)
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
    xs = as_seen(run.config, spread(test, 12))
    codes = _encoded(run.model, run.params, xs)
    labelled_rows(
        place / "code_reconstructions.png",
        [
            ("data", np.asarray(xs)),
            ("from its codes", np.asarray(decode(run.model, run.params, table[codes]))),
            ("the codes", _as_pictures(np.asarray(codes), usage, run.image_shape)),
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


if __name__ == "__main__":
    command(main, Options)
