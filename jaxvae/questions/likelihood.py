"""log p(x) of a trained run, bracketed from both sides: `jaxvae likelihood runs/NAME`."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from matplotlib.ticker import NullLocator

from jaxvae import evaluation
from jaxvae.evaluation import annealed, importance
from jaxvae.questions.parts.examined import (
    REALS,
    Mean,
    at_least,
    each_of,
    mean_and_error,
    open_examined,
    progress,
    seen,
)
from jaxvae.run.figures.page import MARGIN, WIDE, page
from jaxvae.run.folder.opening import Run
from jaxvae.run.report import section
from jaxvae.run.report.words import with_minus
from jaxvae.types import Array, Key

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Bracket log p(x) of a trained run: importance sampling, naive Monte Carlo, and annealing from both sides."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    examples: int = 20
    """Test examples, from all over the test set; and as many simulated ones."""
    num_samples: int = 5000
    """k, the largest number of importance samples."""
    temperatures: int = 500
    """Moves of an annealed chain."""
    chains: int = 8
    """Annealed chains for each example, in each direction."""
    seed: int = 0
    """Of the draws."""


def main(options: Options) -> None:
    """Estimate, draw, and add the section to the run's report.

    Args:
        options: of the command line.

    Raises:
        RunError: a number that must be larger, or a folder that is no run.
    """
    at_least(2, examples=options.examples, num_samples=options.num_samples)
    at_least(1, temperatures=options.temperatures, chains=options.chains)
    at_least(0, seed=options.seed)
    run, dataset = open_examined(options.run, KINDS, needs=REALS)
    xs, _ = seen(run, dataset.test, options.examples)
    key_weights, key_naive, key_annealed, key_simulated = jax.random.split(jax.random.key(options.seed), 4)
    ks = _powers(options.num_samples)

    with progress(2 * len(ks) + 2, len(xs)) as bar:

        def each(function: Any, key: Key, label: str) -> Any:
            return each_of(function, key, xs, label, bar=bar)

        estimate = each(partial(_estimate, run, options.num_samples), key_weights, f"bound, k = {ks[-1]:,}")
        by_k = {k: each(partial(_bound, run, k), key_weights, f"bound, k = {k:,}") for k in ks[:-1]}
        by_k[ks[-1]] = estimate.log_likelihood  # the same draws in the figure and the table
        naive = {k: each(partial(_naive, run, k), key_naive, f"naive Monte Carlo, k = {k:,}") for k in ks}
        lower = each(partial(_annealed, run, options), key_annealed, "annealing, test images")
        simulated = each(partial(_bidirectional, run, options), key_simulated, "annealing, both sides")

    sentence = importance.trust_sentence(estimate)
    gap = mean_and_error(simulated.gap)
    numbers = {
        "importance_sampling": _both(estimate.log_likelihood),
        "importance_sampling_mean_draw_error": float(np.mean(estimate.standard_error)),
        "effective_sample_size_least": float(np.min(estimate.effective_sample_size)),
        "pareto_shape_largest": float(np.max(estimate.pareto_shape)),
        "trust": sentence,
        "annealed_lower": _both(lower),
        "simulated_lower": _both(simulated.lower),
        "simulated_upper": _both(simulated.upper),
        "simulated_gap": gap._asdict(),
        "iwae_bound_by_k": {str(k): _both(values) for k, values in by_k.items()},
        "naive_by_k": {str(k): _both(values) for k, values in naive.items()},
        "each": {
            name: np.asarray(value).tolist() for name, value in estimate._asdict().items() if name != "num_samples"
        },
    }
    figure = run.folder / "figures" / "likelihood.png"
    _draw(figure, by_k, naive, lower, simulated)
    text = (
        f"{sentence}\n\nAnnealed importance sampling, which uses no encoder, gives {_show(lower)} nats on the same "
        f"images. On images simulated from the model itself log p(x) lies between {_show(simulated.lower)} and "
        f"{_show(simulated.upper)} nats: a gap of {gap.mean:.2f}, in expectation at least the error of either.\n\n"
        "Errors are standard errors over the examples."
    )
    rows = [
        [
            f"importance sampling, k = {options.num_samples:,}",
            "lower bound, test images",
            _show(estimate.log_likelihood),
        ],
        ["annealing from the prior", "lower bound, test images", _show(lower)],
        [f"naive Monte Carlo, k = {options.num_samples:,}", "lower bound, test images", _show(naive[ks[-1]])],
        ["annealing, forward", "lower bound, simulated images", _show(simulated.lower)],
        ["annealing, reverse", "upper bound, simulated images", _show(simulated.upper)],
    ]
    report = section.add(
        run,
        "likelihood",
        title="log p(x), bracketed",
        text=text,
        numbers=numbers,
        protocol={
            "examples": len(xs),
            "nll_k": options.num_samples,
            "temperatures": options.temperatures,
            "chains": options.chains,
            "leapfrog_steps": 10,
            "draw_seed": options.seed,
        },
        columns=["estimator", "what it is", "nats"],
        rows=rows,
        figures=[figure.name],
    )
    print("\n".join(f"{name:<38} {kind:<30} {value}" for name, kind, value in rows))
    print(f"{with_minus(sentence)}\nreport: {report}")


def _bound(run: Run, k: int, key: Key, x: Array) -> Array:
    return evaluation.log_likelihood(run.model, key, run.params, x, num_samples=k)


def _naive(run: Run, k: int, key: Key, x: Array) -> Array:
    return evaluation.prior_log_likelihood(run.model, key, run.params, x, num_samples=k)


def _estimate(run: Run, k: int, key: Key, x: Array) -> importance.ImportanceEstimate:
    return importance.importance_estimate(run.model, key, run.params, x, num_samples=k)


def _annealed(run: Run, options: Options, key: Key, x: Array) -> Array:
    path = annealed.sigmoid_path(options.temperatures)
    found = annealed.annealed_log_likelihood(run.model, key, run.params, x, path=path, num_chains=options.chains)
    return found.log_likelihood


def _bidirectional(run: Run, options: Options, key: Key, x: Array) -> annealed.Bidirectional:
    path = annealed.sigmoid_path(options.temperatures)
    return annealed.bidirectional(run.model, key, run.params, path=path, num_chains=options.chains)


def _powers(largest: int) -> list[int]:
    return [*(10**power for power in range(math.ceil(math.log10(largest)))), largest]


def _both(values: np.ndarray) -> dict[str, float | None]:
    return mean_and_error(values)._asdict()


def _show(values: np.ndarray) -> str:
    return mean_and_error(values).said()


def compared(by_k: dict[int, np.ndarray], naive: dict[int, np.ndarray], lower: np.ndarray) -> str:
    """What three estimates of log p(x) say of each other, in words that their numbers allow.

    Args:
        by_k: k -> [N] importance-weighted bounds.
        naive: k -> [N] naive Monte Carlo.
        lower: [N] annealing.

    Returns:
        Two sentences.
    """
    most = max(by_k)
    by_encoder, by_prior = mean_and_error(by_k[most] - lower), mean_and_error(naive[most] - by_k[most])
    return (
        f"At k = {most:,} the importance-weighted bound {_beside(by_encoder, 'annealing, which uses no encoder')}; "
        f"naive Monte Carlo {_beside(by_prior, 'that bound')}. Each is a lower bound: the highest is nearest."
    )


def _beside(difference: Mean, other: str) -> str:
    error = difference.standard_error
    if error is None or abs(difference.mean) <= 2 * error:
        return f"agrees with {other}, to two standard errors of the difference"
    side = "above" if difference.mean > 0 else "below"
    return f"lies {abs(difference.mean):.2f} nats {side} {other}"


def _draw(
    path: Path, by_k: dict[int, np.ndarray], naive: dict[int, np.ndarray], lower: np.ndarray, simulated: Any
) -> None:
    caption = (
        f"First: means over test images. {compared(by_k, naive, lower)} Second: for images simulated from the model, "
        "log p(x) lies between the two ends of each bar, on average over chains: the shorter, the surer."
    )
    if np.any(simulated.gap < 0):
        caption += " Orange: an image whose two bounds have crossed by chance."
    with page(path, "log p(x), bracketed", caption, width=WIDE, height=594) as place:
        full = WIDE - 2 * MARGIN
        axes = place(110, 74, 760, 440)
        for values, name, colour in ((by_k, "importance sampling", BLUE), (naive, "naive Monte Carlo", ORANGE)):
            means = [np.mean(v) for v in values.values()]
            axes.plot(list(values), means, "o-", color=colour, label=f"{name}  {means[-1]:.2f}".replace("-", "−"))
        axes.axhline(np.mean(lower), color=GREEN, ls="--", label=f"annealing  {np.mean(lower):.2f}".replace("-", "−"))
        axes.set_xscale("log")
        axes.set_xticks(list(by_k), [f"{k:,}" for k in by_k], minor=False)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("k, the number of draws")
        axes.set_ylabel("log p(x) (nats)")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=2, borderaxespad=0)
        axes = place(990, 74, full - 990, 440)
        half_gap = np.sort(simulated.gap) / 2
        axes.vlines(np.arange(len(half_gap)), -half_gap, half_gap, color=np.where(half_gap < 0, ORANGE, GREEN), lw=5)
        axes.set_ylim(-max(1.2 * np.abs(half_gap).max(), 0.1), max(1.2 * np.abs(half_gap).max(), 0.1))
        axes.set_xlabel(f"{len(half_gap)} simulated images, by gap")
        axes.xaxis.set_major_locator(NullLocator())
        axes.set_ylabel("bounds around their midpoint (nats)")
