"""Bias, noise and cost of every gradient estimator: `python -m benchmarks.gradients [--run runs/NAME] [--plot F]`.

The importance-weighted bound is differentiated again and again at fixed parameters, with fresh draws each time: on a
linear-Gaussian model with a learned prior, whose encoder is a little off, and on a trained run. The signal-to-noise
ratio of a parameter is |mean| / standard deviation of its gradient over these draws.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.flatten_util import ravel_pytree
from tqdm import tqdm

from benchmarks.gradients_plot import draw
from benchmarks.machine import description
from benchmarks.timing import in_turns, timed
from jaxvae import bounds, draws, losses
from jaxvae.distributions import Normal
from jaxvae.model import VAE, terms_of, vae
from jaxvae.models import generalized_doubly_reparameterized, linear
from jaxvae.priors import Prior
from jaxvae.recipes import plain
from jaxvae.run import RunError
from jaxvae.run.folder.files import write_result
from jaxvae.run.folder.opening import open_run
from jaxvae.run.held_out import as_seen, spread
from jaxvae.run.options.estimators import Pathwise
from jaxvae.run.options.words import said
from jaxvae.types import Array, Key, Network, Params


class Estimator(NamedTuple):
    """A way to draw, and the reduction whose gradient is taken."""

    draw: Callable[..., draws.Draw]
    reduce: bounds.Reduction = bounds.importance_weighted
    wrap: Callable[[VAE], VAE] = lambda model: model


ESTIMATORS = {
    "pathwise": Estimator(draws.pathwise),
    "sticking the landing": Estimator(draws.sticking_the_landing),
    "doubly reparameterised": Estimator(draws.doubly_reparameterized),
    "generalised doubly reparameterised": Estimator(draws.pathwise, wrap=generalized_doubly_reparameterized),
    "score function (VIMCO)": Estimator(draws.score_function),
    "reweighted wake-sleep": Estimator(draws.score_function, losses.wake),
}
# It follows another objective for the encoder, so that its distance from the bound's gradient is no bias.
OTHER_OBJECTIVE = "reweighted wake-sleep"
PARTS = ("encoder", "decoder", "prior")


class Subject(NamedTuple):
    """A model at fixed parameters."""

    name: str
    model: VAE
    params: Params
    xs: Array  # [B, *event]
    estimators: tuple[str, ...]


def main(
    run: Path | None = None,
    json: Path | None = None,
    plot: Path | None = None,
    draws_of_each: int = 2000,
    largest: int = 256,
    quick: bool = False,
) -> None:
    """Measure every estimator.

    Args:
        run: a trained run with a Gaussian posterior and prior.
        json: write all numbers to this file.
        plot: draw the signal-to-noise ratios into this picture.
        draws_of_each: gradients of each estimator at each k; the reference of the bias has ten times as many.
        largest: the largest k on the linear model, the powers of four up to it; a fourth of it on the run.
        quick: small numbers, to see that everything runs.
    """
    if quick:
        draws_of_each, largest = 50, 16
    subjects = [(linear_subject(), largest)]
    if run is not None:
        subjects.append((subject_of(run), largest // 4))
    rows = []
    for subject, up_to in subjects:
        for k in [4**power for power in range(10) if 4**power <= up_to]:
            rows += measured(subject, k, draws_of_each)
        _print(subject.name, [row for row in rows if row["subject"] == subject.name])
    if json:
        record = {"command": sys.argv, "machine": description(), "draws_of_each": draws_of_each, "rows": rows}
        write_result(json, record)
    if plot:
        draw(rows, plot)


def linear_subject() -> Subject:
    """Four pixels, three latents, a learned prior, and an encoder whose every parameter is a little off.

    The loadings are orthogonal, so that the encoder could be exact, and it is off to the wide side: its weights have
    all moments, as the theory of the signal-to-noise ratio asks (Rainforth et al. 2018, Theorem 1).
    """
    rng = np.random.default_rng(0)
    loadings, _ = np.linalg.qr(rng.normal(size=(4, 3)))
    params = linear.parameters(jnp.asarray(loadings, jnp.float32), jnp.zeros(4), jnp.asarray(0.7))
    off = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), params)
    off["encoder"]["log_scale"] = params["encoder"]["log_scale"] + 0.1
    off["prior"] = {"mean": jnp.full(3, 0.1), "log_scale": jnp.full(3, 0.1)}
    xs = jnp.asarray(rng.normal(size=(4, 4)), jnp.float32)
    prior = Prior(lambda key, x: {}, lambda params, posterior: Normal(**params))
    encoder, decoder = _network("posterior"), _network("likelihood")
    model = vae(encoder=encoder, decoder=decoder, prior=prior, likelihood=Normal)
    return Subject("linear-Gaussian model", model, off, xs, tuple(ESTIMATORS))


def _network(name: str) -> Network:
    """The encoder or the decoder of the linear model, whose own prior has no parameters."""
    part = {"posterior": "encoder", "likelihood": "decoder"}[name]

    def apply(params: Params, value: Array) -> dict[str, Array]:
        density = getattr(linear.linear_vae(latent=3), name)({part: params}, value)
        return {"mean": density.mean, "log_scale": density.log_scale}

    return Network(lambda key, value: {}, apply)


def subject_of(place: Path) -> Subject:
    """A trained run, at sixteen test images from all over the set."""
    run = open_run(place)
    if run.kind.name != plain.KIND.name:
        raise RunError(f"{place} is a run of the kind {run.kind.name}, and estimators are compared on plain ones")
    dataset = run.kind.data(run.config)
    xs = as_seen(run.recipe, spread(dataset.test, 16))
    objective = replace(run.config.objective, estimator=Pathwise())
    model = plain.model_of(replace(run.config, objective=objective), run.about.example.shape)
    without_prior = tuple(name for name in ESTIMATORS if name != "generalised doubly reparameterised")
    name = f"{said(run.config.model.network)}, {run.config.model.latent} latents on {dataset.name}"
    return Subject(name, model, run.params, xs, without_prior)


def _drawing(model: VAE, draw: Callable[..., draws.Draw]) -> VAE:
    """The same model with another way to draw."""

    def terms(key: Key, params: Params, x: Array) -> Any:
        drawn = draw(key, model.posterior(params, x))
        return terms_of(drawn, model.prior(params), model.likelihood(params, drawn.value), x)

    return model._replace(terms=terms)


def measured(subject: Subject, k: int, draws_of_each: int) -> list[dict]:
    """A row for each estimator and each part of the parameters, at one k."""
    moments = {
        name: jax.jit(partial(_moments, gradient_of(subject, ESTIMATORS[name], k), subject.params))
        for name in subject.estimators
    }
    reference = moments["pathwise"](jax.random.split(jax.random.key(7), 10 * draws_of_each))
    rows = []
    for index, name in enumerate(tqdm(subject.estimators, desc=f"{subject.name}, k = {k}", leave=False)):
        keys = jax.random.split(jax.random.key(100 + index), draws_of_each)
        mean, variance = moments[name](keys)
        for part in PARTS:
            if not jax.tree.leaves(subject.params[part]):
                continue
            flat = [np.asarray(ravel_pytree(tree[part])[0], float) for tree in (mean, variance, *reference)]
            rows.append(
                {"subject": subject.name, "k": k, "estimator": name, "part": part}
                | _summary(*flat, draws_of_each=draws_of_each)
            )
    once = {name: timed(partial(moments[name], jax.random.split(jax.random.key(1), draws_of_each))) for name in moments}
    seconds = in_turns(once, repeats=3, title="cost")
    cost = {name: np.median(np.array(of_name) / np.array(seconds["pathwise"])) for name, of_name in seconds.items()}
    return [row | {"cost": float(cost[row["estimator"]])} for row in rows]


def gradient_of(subject: Subject, estimator: Estimator, k: int) -> Callable[[Params, Key], Params]:
    """(params, key) -> the gradient of the batch's mean bound by fresh draws."""
    model = estimator.wrap(_drawing(subject.model, estimator.draw))

    def bound(params: Params, key: Key) -> Array:
        def of_example(key: Key, x: Array) -> Array:
            return estimator.reduce(bounds.draw_terms(model, key, params, x, num_samples=k))

        return jnp.mean(jax.vmap(of_example)(jax.random.split(key, len(subject.xs)), subject.xs))

    return jax.grad(bound)


def _moments(gradient: Callable[[Params, Key], Params], params: Params, keys: Key) -> tuple[Params, Params]:
    """The mean and the variance of the gradient over keys, without holding them all."""
    shift = gradient(params, keys[0])  # so that small variances keep their digits

    def add(sums: tuple[Params, Params], key: Key) -> tuple[tuple[Params, Params], None]:
        off = jax.tree.map(jnp.subtract, gradient(params, key), shift)
        return (jax.tree.map(jnp.add, sums[0], off), jax.tree.map(lambda s, g: s + g * g, sums[1], off)), None

    nothing = jax.tree.map(jnp.zeros_like, params)
    (first, second), _ = jax.lax.scan(add, (nothing, nothing), keys)
    n = len(keys)
    mean = jax.tree.map(lambda s, total: s + total / n, shift, first)
    variance = jax.tree.map(lambda total, squares: (squares - total * total / n) / (n - 1), first, second)
    return mean, variance


def _summary(
    mean: np.ndarray, variance: np.ndarray, reference: np.ndarray, of_reference: np.ndarray, *, draws_of_each: int
) -> dict:
    """The signal-to-noise ratio, the share of noise, and the distance from the reference in standard errors."""
    moving = variance > 1e-20  # a pixel that is always black moves nothing
    error = np.sqrt(variance / draws_of_each + of_reference / (10 * draws_of_each))
    ratio = np.abs(mean[moving]) / np.sqrt(variance[moving])
    apart = (mean - reference)[moving] / np.maximum(error[moving], 1e-12)
    return {
        "signal_to_noise": float(ratio.mean()) if moving.any() else float("inf"),
        "variance": float(variance.sum()),
        "squared_norm": float(np.square(reference).sum()),
        "apart": float(np.sqrt(np.mean(np.square(apart)))) if moving.any() else 0.0,
        "bias": float(np.linalg.norm(mean - reference) / np.linalg.norm(reference)),
    }


def _print(name: str, rows: list[dict]) -> None:
    print(f"{name}: gradients of the importance-weighted bound")
    print(f"  {'k':>4}  {'part':8} {'estimator':36} {'signal/noise':>12} {'noise':>8} {'apart':>7} {'cost':>5}")
    for row in rows:
        noise = row["variance"] / row["squared_norm"]
        apart = "-" if row["estimator"] == OTHER_OBJECTIVE and row["part"] == "encoder" else f"{row['apart']:.1f}"
        print(
            f"  {row['k']:4}  {row['part']:8} {row['estimator']:36} {row['signal_to_noise']:12.3f} {noise:8.2g} "
            f"{apart:>7} {row['cost']:5.2f}"
        )
    print(
        "  noise: variance over the squared norm of the gradient. apart: root mean square distance from the pathwise "
        "gradient in standard errors, about 1 where there is no bias. cost: time over that of pathwise."
    )


if __name__ == "__main__":
    tyro.cli(main)
