"""What a trained run's bound is made of: `jaxvae decomposition runs/NAME`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from jaxvae.evaluation import annealed, decomposition, gaps
from jaxvae.questions.parts.examined import at_least, check_gaussians, each_of, mean_and_error, open_examined, seen
from jaxvae.run.figures.page import MARGIN, WIDE, page
from jaxvae.run.folder.opening import Run
from jaxvae.run.report import section
from jaxvae.run.report.words import with_minus
from jaxvae.types import Array, Key

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#94a4a2"
GAP_CHAINS = 8
KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Take the bound of a trained run apart: KL, rate and distortion, active units, inference gap."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    examples: int = 1000
    """Test examples whose posteriors make the aggregate one."""
    num_samples: int = 2000
    """Draws from the aggregate posterior, for the parts of the KL."""
    gap_examples: int = 20
    """Test examples whose inference gap is split; each has its own posterior optimised."""
    gap_temperatures: int = 300
    """Moves of the annealed chains that estimate log p(x) in the gap, from q(z|x) to the posterior."""
    seed: int = 0
    """Of the draws."""


def main(options: Options) -> None:
    """Measure, draw, and add the section to the run's report.

    Args:
        options: of the command line.

    Raises:
        RunError: a number that must be larger, or a folder that is no run.
    """
    at_least(2, examples=options.examples, num_samples=options.num_samples, gap_examples=options.gap_examples)
    at_least(1, gap_temperatures=options.gap_temperatures)
    at_least(0, seed=options.seed)
    run, dataset = open_examined(options.run, KINDS)
    check_gaussians(run)
    xs, gap_xs = (seen(run, dataset.test, count)[0] for count in (options.examples, options.gap_examples))
    key_kl, key_plane, key_gap = jax.random.split(jax.random.key(options.seed), 3)

    print(f"taking the KL of {len(xs):,} posteriors apart", flush=True)
    posteriors = jax.jit(jax.vmap(partial(run.model.posterior, run.params)))(xs)
    prior = run.model.prior(run.params)
    parts = jax.jit(partial(decomposition.decompose_kl, num_samples=options.num_samples))(key_kl, prior, posteriors)
    plane = jax.jit(partial(decomposition.rate_distortion, run.model))(key_plane, run.params, xs)
    active = decomposition.active_units(posteriors)
    split = each_of(partial(_gap, run, options.gap_temperatures), key_gap, gap_xs, "inference gaps")

    sentence = decomposition.collapse_sentence(parts, active)
    numbers, rows = _numbers(parts, plane, active, split)
    figure = run.folder / "figures" / "decomposition.png"
    _draw(figure, parts, active, split)
    report = section.add(
        run,
        "decomposition",
        title="What the bound is made of",
        text=f"{sentence}\n\nThe average KL is the mutual information of x and z, plus the distance of the aggregate "
        "posterior from the prior; that distance is the total correlation plus one term for each dimension. The "
        "inference gap is what the encoder's family cannot reach, plus what the encoder does not reach of it.",
        numbers=numbers | {"diagnosis": sentence},
        protocol={
            "examples": len(xs),
            "draws": options.num_samples,
            "gap_examples": len(gap_xs),
            "gap_log_likelihood": f"annealed from q(z|x), {options.gap_temperatures} moves, {GAP_CHAINS} chains",
            "active_threshold": 0.01,
            "draw_seed": options.seed,
        },
        columns=["", "nats", "±"],
        rows=rows,
        figures=[figure.name],
    )
    print("\n".join(f"{with_minus(name):<34} {value:>9}{error and f' ± {error}'}" for name, value, error in rows))
    print(f"active units: {active.sum()} of {active.size}\n{sentence}\nreport: {report}")


def _gap(run: Run, num_temperatures: int, key: Key, x: Array) -> gaps.InferenceGap:
    key_likelihood, key_gap = jax.random.split(key)
    found = annealed.annealed_log_likelihood(
        run.model,
        key_likelihood,
        run.params,
        x,
        path=annealed.sigmoid_path(num_temperatures),
        num_chains=GAP_CHAINS,
        start=annealed.from_posterior,
    )
    return gaps.inference_gap(run.model, key_gap, run.params, x, found.log_likelihood)


def _numbers(
    parts: decomposition.KLDecomposition,
    plane: decomposition.RateDistortion,
    active: Array,
    split: gaps.InferenceGap,
) -> tuple[dict, list[list[str]]]:
    """The numbers as they are, and the table's rows."""
    measured: dict[str, Any] = {
        "rate (average KL)": (plane.rate, plane.rate_standard_error),
        "distortion (-log p(x|z))": (plane.distortion, plane.distortion_standard_error),
        "average KL, by draws": (parts.parts.kl, parts.standard_error.kl),
        "  mutual information I(x; z)": (parts.parts.mutual_information, parts.standard_error.mutual_information),
        "  marginal KL(q(z) || p(z))": (parts.parts.marginal, parts.standard_error.marginal),
        "    total correlation": (parts.parts.total_correlation, parts.standard_error.total_correlation),
        "    dimension-wise KL": (parts.parts.dimension_wise.sum(), None),
    }
    for name in ("inference", "approximation", "amortisation"):
        measured[f"{name} gap"] = mean_and_error(getattr(split, name))
    numbers = {
        name.strip(): {"value": float(value), "standard_error": None if error is None else float(error)}
        for name, (value, error) in measured.items()
    }
    numbers["dimension_wise"] = {
        "value": np.asarray(parts.parts.dimension_wise).tolist(),
        "standard_error": np.asarray(parts.standard_error.dimension_wise).tolist(),
    }
    numbers["active_units"] = {"value": int(active.sum()), "of": int(active.size)}
    rows = [
        [name, f"{float(value):.2f}".replace("-", "−"), "" if error is None else f"{float(error):.2f}"]
        for name, (value, error) in measured.items()
    ]
    return numbers, rows


def _draw(path: Path, parts: decomposition.KLDecomposition, active: Array, split: gaps.InferenceGap) -> None:
    caption = (
        "First: how far each latent dimension is from the prior, and whether it moves with x (blue) or is dead (grey). "
        "Second: the average KL in its parts. Third: the inference gap of each test image, sorted; a tall orange part "
        "asks for a better encoder, a tall blue one for a richer posterior."
    )
    with page(path, "What the bound is made of", caption, width=WIDE, height=540) as place:
        full = WIDE - 2 * MARGIN
        values = np.asarray(parts.parts.dimension_wise)
        order = np.argsort(-values)
        axes = place(80, 30, 420, 420)
        axes.bar(np.arange(len(values)), values[order], color=np.where(np.asarray(active)[order], BLUE, GREY))
        axes.set_xlabel("latent dimension, in order")
        axes.set_ylabel("KL(q(zⱼ) || p(zⱼ)) (nats)")
        axes = place(620, 30, 250, 420)
        names = ["I(x; z)", "total\ncorrelation", "dimension-\nwise"]
        heights = [parts.parts.mutual_information, parts.parts.total_correlation, values.sum()]
        axes.bar(names, [float(height) for height in heights], color=[BLUE, ORANGE, GREEN])
        axes.set_ylabel("nats")
        axes = place(970, 30, full - 970, 420)
        order = np.argsort(np.asarray(split.inference))
        low = np.asarray(split.approximation)[order]
        axes.bar(np.arange(len(order)), low, color=BLUE, width=1, label="approximation")
        axes.bar(
            np.arange(len(order)),
            np.asarray(split.amortisation)[order],
            bottom=low,
            color=ORANGE,
            width=1,
            label="amortisation",
        )
        axes.set_xlabel("test image, in order")
        axes.set_ylabel("gap (nats)")
        axes.legend(loc="upper left")
