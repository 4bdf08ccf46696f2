"""The learning curves of a run, one seed or several."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from jaxvae.run.figures.page import MARGIN, WIDE, number_ticks, page

Curve = tuple[np.ndarray, np.ndarray]  # steps or epochs [T]; values [T], or [S, T] for S seeds
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito (2008)


def learning_curves(
    path: Path,
    curves: Mapping[str, Curve],
    *,
    terms: Mapping[str, Mapping[str, Curve]] | None = None,
    step_name: str = "epoch",
    watched: str = "bound",
) -> None:
    """Draw bounds over training, and beside them the terms they are made of.

    Args:
        path: the PNG to write.
        curves: name -> (steps or epochs `[T]`, bound `[T]` or `[S, T]` for S seeds, in nats per example),
            for example `{"train": ..., "validation": ...}`. Several seeds give their mean, a band of one
            standard error of it, and a thin line each.
        terms: panel -> curves as above, for example `{"KL": {"train": ...}, "log-likelihood": {...}}`.
        step_name: what is counted along x.
        watched: what the curves are: a bound, or an estimate.

    Raises:
        ValueError: there is no curve, or a curve's shapes do not fit each other.
    """
    if not curves:
        raise ValueError("There is no curve to draw; pass at least one, name -> (steps, values).")
    panels = {
        panel: {name: _curve(name, *curve) for name, curve in named.items()}
        for panel, named in ({watched: curves} | dict(terms or {})).items()
    }
    everything = [values for named in panels.values() for _, values in named.values()]
    limits = [_limits([values for _, values in named.values()]) for named in panels.values()]
    caption = _told(panels[watched], watched)
    if (seeds := max(map(len, everything))) > 1:
        caption += f" Bold: mean over {seeds} seeds; band: one standard error; thin: each seed."
    if any(outside for *_, outside in limits):
        caption += " Early or extreme values lie outside the frame."
    if lost := sum(int((~np.isfinite(values)).sum()) for values in everything):
        caption += f" Left out: {lost:,} of {sum(values.size for values in everything):,} values, not finite."
    names = dict.fromkeys(name for named in panels.values() for name in named)
    colours = {name: LINES[i % len(LINES)] for i, name in enumerate(names)}
    rows, full = max(1, len(panels) - 1), WIDE - 2 * MARGIN
    height = max(560, 280 * rows)
    with page(path, "Learning curves", caption, width=WIDE, height=height) as place:
        for index, (panel, named) in enumerate(panels.items()):
            above = 34 * math.ceil(len(named) / 2)
            if index == 0:
                box = (100, above, (full if len(panels) == 1 else 800) - 100, height - above - 62)
            else:
                top, cell = (index - 1) * (height - 62) // rows, (height - 62) // rows
                box = (920, top + above, full - 920, cell - above - (0 if index == rows else 30))
            axes = place(*box)
            for name, (steps, values) in named.items():
                _draw_curve(axes, name, steps, values, colours[name])
            axes.set_ylim(*limits[index][:2])
            axes.set_ylabel(f"{panel} (nats)")
            axes.set_xlabel(step_name if index in (0, rows) else "")
            number_ticks(axes, 6 if index == 0 else 4)
            axes.tick_params(labelbottom=index in (0, rows))
            axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=2, borderaxespad=0)


def _told(bounds: Mapping[str, Curve], watched: str) -> str:
    """What the bounds say at the end of training, by their means over seeds."""
    said = "Higher is better." if watched == "bound" else f"An {watched}, and no bound: higher may not be better."
    held_out = next((name for name in bounds if name != "train"), None)
    if held_out is None:
        return said
    steps, values = bounds[held_out]
    mean = np.where(np.isfinite(values), values, np.nan).mean(axis=0)
    if not np.isfinite(mean).any():
        return said
    best = int(np.nanargmax(mean))
    if best == len(mean) - 1:
        said += f" The {watched} on {held_out} data is at its highest at the end: longer training may raise it further."
    else:
        fallen = mean[best] - mean[-1]
        said += f" The {watched} on {held_out} data was highest at {steps[best]:g} of {steps[-1]:g}"
        said += f", and ends {fallen:.2f} nats below." if np.isfinite(fallen) else ", and ends not finite."
    train = bounds.get("train")
    last = np.nanmean(train[1][:, -1]) if train is not None and np.isfinite(train[1][:, -1]).any() else np.nan
    if np.isfinite(last) and np.isfinite(mean[-1]):
        apart = last - mean[-1]
        side = "above" if apart > 0 else "below"
        said += f" At the end train lies {abs(apart):.2f} nats {side} {held_out}"
        said += ": so much is over-fitted, as far as single draws tell." if apart > 0 else "."
    return f"{said} Every point is of draws of its own, the table's numbers of others."


def _curve(name: str, steps: np.ndarray, values: np.ndarray) -> Curve:
    """Steps `[T]` and values `[S, T]`, checked."""
    steps, values = np.asarray(steps), np.atleast_2d(np.asarray(values, dtype=np.float64))
    if values.ndim != 2 or steps.shape != values.shape[1:] or values.size == 0:
        raise ValueError(
            f"The curve {name!r} needs steps [T] and values [T] or [seeds, T] with T > 0, and their shapes "
            f"are {steps.shape} and {values.shape}."
        )
    return steps, values


def _limits(curves: list[np.ndarray]) -> tuple[float, float, bool]:
    """Limits that the first twentieth of training does not stretch, and whether any value lies outside them."""
    every = np.concatenate([values.ravel() for values in curves])
    every = every[np.isfinite(every)]
    later = np.concatenate(
        [values[:, min(max(1, values.shape[1] // 20), values.shape[1] - 1) :].ravel() for values in curves]
    )
    later = later[np.isfinite(later)]
    if not every.size or not later.size:
        return 0.0, 1.0, bool(every.size)
    low, high = np.quantile(later, [0.02, 0.98])
    room = 0.15 * (high - low) or 0.01 * max(1.0, abs(high))
    if every.max() - every.min() <= 4 * (high - low):
        low, high = every.min(), every.max()
    low, high = low - room, high + room
    return low, high, bool((every < low).any() or (every > high).any())


def _draw_curve(axes: Axes, name: str, steps: np.ndarray, values: np.ndarray, colour: str) -> None:
    """One name's line; of several seeds the mean, a band of one standard error, and a thin line each."""
    values = np.ma.masked_invalid(values)
    mean = values.mean(axis=0)
    last = np.ma.filled(mean, np.nan)[-1]
    ending = f"{last:.2f}".replace("-", "−") if np.isfinite(last) else "ends not finite"
    if len(values) > 1:
        error = values.std(axis=0, ddof=1) / np.sqrt(values.count(axis=0))
        axes.plot(steps, values.T, color=colour, lw=0.6, alpha=0.45)
        axes.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.22, lw=0)
        last_error = np.ma.filled(error, np.nan)[-1]
        ending += f" ± {last_error:.2f}" if np.isfinite(last_error) else ""
    marker = "o" if mean.count() == 1 else ""
    axes.plot(steps, mean, color=colour, lw=1.8, marker=marker, label=f"{name}  {ending}")
