"""log p(x) of a trained run, bracketed from both sides: `jaxvae likelihood runs/NAME`.

Importance sampling and naive Monte Carlo need draws and densities alone; annealing moves z along a gradient, and is
left out where z is no vector of real numbers: a class, a direction.
"""

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
    Mean,
    at_least,
    each_of,
    mean_and_error,
    open_examined,
    progress,
    seen,
)
from jaxvae.run.choice import named
from jaxvae.run.figures.page import MARGIN, WIDE, page
from jaxvae.run.folder.opening import Run
from jaxvae.run.measures import dimensions
from jaxvae.run.report import section
from jaxvae.run.report.words import with_minus
from jaxvae.types import Array, Key

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Bracket log p(x) of a trained run: importance sampling, naive Monte Carlo, and annealing from both sides.
    Without latents that are real numbers there is no annealing, and log p(x) is estimated from below.
    """

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
    run, dataset = open_examined(options.run, KINDS)
    xs, _ = seen(run, dataset.test, options.examples)
    key_weights, key_naive, key_annealed, key_simulated = jax.random.split(jax.random.key(options.seed), 4)
    ks = _powers(options.num_samples)

    bracketed = "reals" in run.config.model.posterior.has
    with progress(2 * len(ks) + 2 * bracketed, len(xs)) as bar:

        def each(function: Any, key: Key, label: str) -> Any:
            return each_of(function, key, xs, label, bar=bar)

        estimate = each(partial(_estimate, run, options.num_samples), key_weights, f"bound, k = {ks[-1]:,}")
        by_k = {k: each(partial(_bound, run, k), key_weights, f"bound, k = {k:,}") for k in ks[:-1]}
        by_k[ks[-1]] = estimate.log_likelihood  # the same draws in the figure and the table
        naive = {k: each(partial(_naive, run, k), key_naive, f"naive Monte Carlo, k = {k:,}") for k in ks}
        lower, simulated = None, None
        if bracketed:
            lower = each(partial(_annealed, run, options), key_annealed, "annealing, test images")
            simulated = each(partial(_bidirectional, run, options), key_simulated, "annealing, both sides")

    sentence = importance.trust_sentence(estimate)
    numbers = {
        "importance_sampling": _both(estimate.log_likelihood),
        "importance_sampling_mean_draw_error": float(np.mean(estimate.standard_error)),
        "effective_sample_size_least": float(np.min(estimate.effective_sample_size)),
        "pareto_shape_largest": float(np.max(estimate.pareto_shape)),
        "trust": sentence,
        "iwae_bound_by_k": {str(k): _both(values) for k, values in by_k.items()},
        "naive_by_k": {str(k): _both(values) for k, values in naive.items()},
        "each": {
            name: np.asarray(value).tolist() for name, value in estimate._asdict().items() if name != "num_samples"
        },
    }
    bits = ""
    if run.config.model.likelihood.pixels == "levels":
        cost = mean_and_error(-estimate.log_likelihood / (dimensions(run.model, run.params, xs) * math.log(2)))
        numbers["importance_sampling_bits_per_dimension"] = cost._asdict()
        bits = f"\n\nBy importance sampling, an image costs {cost.said(3)} bits per dimension."
    rows = [
        [
            f"importance sampling, k = {options.num_samples:,}",
            "lower bound, test images",
            _show(estimate.log_likelihood),
        ],
        [f"naive Monte Carlo, k = {options.num_samples:,}", "lower bound, test images", _show(naive[ks[-1]])],
    ]
    protocol = {"examples": len(xs), "nll_k": options.num_samples, "draw_seed": options.seed}
    if lower is None or simulated is None:
        text = (
            f"{sentence}\n\nThe latents of {named(type(run.config.model.posterior))} are no real numbers, which "
            "annealing could move: nothing here bounds log p(x) from above."
        )
    else:
        gap = mean_and_error(simulated.gap)
        numbers |= {
            "annealed_lower": _both(lower),
            "simulated_lower": _both(simulated.lower),
            "simulated_upper": _both(simulated.upper),
            "simulated_gap": gap._asdict(),
        }
        text = (
            f"{sentence}\n\nAnnealed importance sampling, which uses no encoder, gives {_show(lower)} nats on the same "
            "images. On images simulated from the model itself log p(x) lies between "
            f"{_show(simulated.lower)} and {_show(simulated.upper)} nats: a gap of {gap.mean:.2f}, in expectation at "
            "least the error of either."
        )
        rows[1:1] = [["annealing from the prior", "lower bound, test images", _show(lower)]]
        rows += [
            ["annealing, forward", "lower bound, simulated images", _show(simulated.lower)],
            ["annealing, reverse", "upper bound, simulated images", _show(simulated.upper)],
        ]
        protocol |= {"temperatures": options.temperatures, "chains": options.chains, "leapfrog_steps": 10}
    figure = run.folder / "figures" / "likelihood.png"
    title = "log p(x), from below" if lower is None else "log p(x), bracketed"
    _draw(figure, title, by_k, naive, lower, simulated)
    report = section.add(
        run,
        "likelihood",
        title=title,
        text=f"{text}{bits}\n\nErrors are standard errors over the examples.",
        numbers=numbers,
        protocol=protocol,
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


def compared(by_k: dict[int, np.ndarray], naive: dict[int, np.ndarray], lower: np.ndarray | None) -> str:
    """What three estimates of log p(x) say of each other, in words that their numbers allow.

    Args:
        by_k: k -> [N] importance-weighted bounds.
        naive: k -> [N] naive Monte Carlo.
        lower: [N] annealing; None where there is none.

    Returns:
        Two sentences.
    """
    most = max(by_k)
    by_prior = mean_and_error(naive[most] - by_k[most])
    if lower is None:
        first = f"At k = {most:,} naive Monte Carlo {_beside(by_prior, 'the importance-weighted bound')}."
    else:
        by_encoder = _beside(mean_and_error(by_k[most] - lower), "annealing, which uses no encoder")
        first = (
            f"At k = {most:,} the importance-weighted bound {by_encoder}; naive Monte Carlo "
            f"{_beside(by_prior, 'that bound')}."
        )
    return f"{first} Each is a lower bound: the highest is nearest."


def _beside(difference: Mean, other: str) -> str:
    error = difference.standard_error
    if error is None or abs(difference.mean) <= 2 * error:
        return f"agrees with {other}, to two standard errors of the difference"
    side = "above" if difference.mean > 0 else "below"
    return f"lies {abs(difference.mean):.2f} nats {side} {other}"


def _draw(
    path: Path,
    title: str,
    by_k: dict[int, np.ndarray],
    naive: dict[int, np.ndarray],
    lower: np.ndarray | None,
    simulated: Any,
) -> None:
    caption = f"Means over test images. {compared(by_k, naive, lower)}"
    if simulated is not None:
        caption = (
            f"First: means over test images. {compared(by_k, naive, lower)} Second: for images simulated by the model, "
            "log p(x) lies between the two ends of each bar, on average over chains: the shorter, the surer."
        )
        if np.any(simulated.gap < 0):
            caption += " Orange: an image whose two bounds have crossed by chance."
    with page(path, title, caption, width=WIDE, height=594) as place:
        full = WIDE - 2 * MARGIN
        axes = place(110, 74, 760 if simulated is not None else full - 110, 440)
        for values, name, colour in ((by_k, "importance sampling", BLUE), (naive, "naive Monte Carlo", ORANGE)):
            means = [np.mean(v) for v in values.values()]
            axes.plot(list(values), means, "o-", color=colour, label=f"{name}  {means[-1]:.2f}".replace("-", "−"))
        if lower is not None:
            mean = float(np.mean(lower))
            axes.axhline(mean, color=GREEN, ls="--", label=f"annealing  {mean:.2f}".replace("-", "−"))
        axes.set_xscale("log")
        axes.set_xticks(list(by_k), [f"{k:,}" for k in by_k], minor=False)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("k, the number of draws")
        axes.set_ylabel("log p(x) (nats)")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=2, borderaxespad=0)
        if simulated is not None:
            _brackets(place(990, 74, full - 990, 440), np.sort(simulated.gap) / 2)


def _brackets(axes: Any, half_gap: np.ndarray) -> None:
    axes.vlines(np.arange(len(half_gap)), -half_gap, half_gap, color=np.where(half_gap < 0, ORANGE, GREEN), lw=5)
    axes.set_ylim(-max(1.2 * np.abs(half_gap).max(), 0.1), max(1.2 * np.abs(half_gap).max(), 0.1))
    axes.set_xlabel(f"{len(half_gap)} simulated images, by gap")
    axes.xaxis.set_major_locator(NullLocator())
    axes.set_ylabel("bounds around their midpoint (nats)")
