"""What the layers of a ladder do: `jaxvae layers runs/NAME --baseline runs/ONE_LAYER`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from jaxvae.distributions import closed_kl
from jaxvae.model import VAE
from jaxvae.models import TopDown
from jaxvae.questions.parts.examined import (
    at_least,
    check_gaussians,
    mean_and_error,
    on_the_same_data,
    open_examined,
    seen,
)
from jaxvae.run import RunError
from jaxvae.run.figures.images import decode
from jaxvae.run.figures.rows import labelled_rows
from jaxvae.run.folder.opening import Run, open_run
from jaxvae.run.measures import log_likelihoods
from jaxvae.run.report import section
from jaxvae.types import Array, Distribution, Key, Params

ACTIVE = 0.01  # nats: the least mean divergence of a unit that counts as active
TEMPERATURES = (0.0, 0.5, 0.7, 0.85, 1.0)
SHOWN = 12
KINDS = ("ladder",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Measure and draw what each layer of a trained ladder (jaxvae train ladder) does."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    baseline: Path | None = None
    """The run folder of a plain model on the same data, to be measured on the same images with the same draws."""
    examples: int = 1000
    """Test images, from all over the set."""
    num_samples: int = 1000
    """k of the estimate of log p(x) by importance sampling; the papers take 5,000."""
    seed: int = 0
    """Of all draws."""


def main(options: Options) -> None:
    """Measure, draw, add a section to the report.

    Args:
        options: of the command line.
    """
    at_least(2, examples=options.examples)
    at_least(1, num_samples=options.num_samples)
    at_least(0, seed=options.seed)
    run, dataset = open_examined(options.run, KINDS)
    runs = {"ladder": run}
    if options.baseline is not None:
        runs["one layer"] = _baseline(run, options.baseline)
    xs, _ = seen(run, dataset.test, options.examples)
    key_nll, key_rates, key_pictures = jax.random.split(jax.random.key(options.seed), 3)

    numbers: dict[str, Any] = {}
    rows = []
    for name, of_run in runs.items():
        estimates = -log_likelihoods(
            of_run.model, key_nll, of_run.params, xs, num_samples=options.num_samples, show=f"log p(x), {name}"
        )
        divergences = _divergences(of_run.model, key_rates, of_run.params, xs)
        nll, label = mean_and_error(estimates), name.replace(" ", "_")
        rates = [float(units.sum(axis=1).mean()) for units in divergences]
        active = [int(np.sum(units.mean(axis=0) > ACTIVE)) for units in divergences]
        sizes = [units.shape[1] for units in divergences]
        numbers |= nll.under(f"nll_{label}")
        numbers |= {f"rate_of_each_layer_{label}": rates, f"active_units_of_each_layer_{label}": active}
        numbers |= {f"parameters_{label}": _size(of_run.params)}
        rows.append([name, f"{_size(of_run.params):,}", nll.said(), *_cells(rates, active, sizes)])
        if name == "ladder":
            first = estimates
        else:
            gain = mean_and_error(estimates - first)
            numbers |= gain.under("gain_over_one_layer")
            print(f"  nats gained over one layer, on the same images: {gain.said()}")
    _draw(run, key_pictures, xs)
    page = section.add(
        run,
        "layers",
        title="What the layers do",
        text=_text(),
        numbers=numbers,
        protocol={
            "examples": len(xs),
            "nll_k": options.num_samples,
            "active": f"units with a mean divergence above {ACTIVE} nats, given one draw of the layers above",
            "standard_error": "over test images",
            "draw_seed": options.seed,
            "baseline": None if options.baseline is None else str(options.baseline),
        },
        columns=["model", "parameters", "-log p(x) (nats)", "rate from the top (nats)", "active units from the top"],
        rows=rows,
        figures=["temperatures.png", "layers.png"],
    )
    for name, _, cost, rate, units in rows:
        print(f"  {name}: -log p(x) {cost} nats, rates {rate}, active units {units}")
    print(f"report: {page}")


def _baseline(run: Run, place: Path) -> Run:
    """A plain run on the same data."""
    other = open_run(place)
    if other.kind.name != "plain":
        raise RunError(f"--baseline {place} is a run of the kind {other.kind.name}: give a plain run")
    check_gaussians(other)
    if not on_the_same_data(run, other):
        raise RunError(f"--baseline {place} was trained on other data than {run.folder}: give a run on the same")
    return other


@partial(jax.jit, static_argnums=0)
def _divergences(model: VAE, key: Key, params: Params, xs: Array) -> list[Array]:
    """The divergence of every unit from its prior, [N, D] for each layer, the top one first, along one draw."""

    def of_example(pair: tuple[Key, Array]) -> list[Array]:
        key, x = pair
        posterior = model.posterior(params, x)
        if not isinstance(posterior, TopDown):
            return [_of_units(posterior, model.prior(params))]
        codes = posterior.sample(key)
        above = (None, *codes[:-1])
        return [_of_units(*posterior.at(layer, above[layer])) for layer in range(len(codes))]

    return jax.lax.map(of_example, (jax.random.split(key, len(xs)), xs), batch_size=min(500, len(xs)))


def _of_units(q: Distribution, p: Distribution) -> Array:
    """The closed divergence of every unit of two factorised densities, [D]."""
    divergence = jax.vmap(closed_kl)(q, p)
    assert divergence is not None
    return divergence


def _size(params: Params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _cells(rates: list[float], active: list[int], sizes: list[int]) -> list[str]:
    return [
        " + ".join(f"{rate:.2f}" for rate in rates),
        ", ".join(f"{count} of {size}" for count, size in zip(active, sizes, strict=True)),
    ]


def _draw(run: Run, key: Key, xs: Array) -> None:
    place = run.folder / "figures"
    place.mkdir(exist_ok=True)
    prior = run.model.prior(run.params)
    assert isinstance(prior, TopDown)
    layers = run.config.model.layers
    keys = jax.random.split(key, SHOWN)

    def means(codes: Any) -> np.ndarray:
        return np.asarray(decode(run.model, run.params, codes))

    @partial(jax.jit, static_argnames="temperatures")
    def at(temperatures: tuple[float, ...]) -> Any:
        return jax.vmap(lambda key: prior.sample_at(key, temperatures=temperatures))(keys)

    labelled_rows(
        place / "temperatures.png",
        [(f"T = {t:g} in all layers", means(at((t,) * layers))) for t in TEMPERATURES],
        title="Colder and warmer samples",
        caption="The decoder's mean for the same noise, scaled by T in every layer: T = 1 is the model, T = 0 its "
        "most probable path.",
    )
    originals = xs[:SHOWN]
    posterior = jax.jit(jax.vmap(lambda x, key: run.model.posterior(run.params, x).sample(key)))(originals, keys)

    @partial(jax.jit, static_argnames="kept")
    def from_layers(kept: int) -> Any:
        def of_example(codes: Any, key: Key) -> Any:
            return prior.sample_at(key, fixed=(*codes[:kept], *(None,) * (layers - kept)))

        return jax.vmap(of_example)(posterior, keys)

    rows = [("data", np.asarray(originals))]
    rows += [(f"top {kept} of {layers} layers kept", means(from_layers(kept))) for kept in range(layers, 0, -1)]
    rows += [("top layer alone drawn", means(at((1.0, *(0.0,) * (layers - 1)))))]
    labelled_rows(
        place / "layers.png",
        rows,
        title="What each layer holds",
        caption="Test images; then the decoder's mean where the upper layers come from the image's posterior and the "
        "others are drawn from the prior given them. Last, new images whose lower layers take their means.",
    )


def _text() -> str:
    return (
        "The model has several layers of latent variables, each given the one above. Its rate, the divergence from "
        "prior to posterior, is told layer by layer, from the top: a layer whose rate is zero holds nothing.\n\n"
        "A unit counts as active where its mean divergence is above a hundredth of a nat. That is not the variance of "
        "the posterior mean by which one-layer models are judged: in a lower layer the mean also moves with the layer "
        "above, which is no information of its own."
    )
