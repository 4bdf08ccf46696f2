"""Draws per second against k and the batch, with the limit drawn: `python -m benchmarks.sweep`.

784-200-200-50, five functions: a training step of the importance-weighted bound, `elbo`, `iwae_bound`, log p(x) in
chunks, and sampling. At every point the function and its bare matrix products run in turns.
"""

import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import tyro
from tqdm import tqdm

from benchmarks import limits
from benchmarks.limits import Layer
from benchmarks.machine import default_device, description, warn_if_busy
from benchmarks.memory import available_bytes, program_bytes
from benchmarks.pictures import binarized_mnist
from benchmarks.sweep_plot import draw
from benchmarks.timing import in_turns, rate, speed_ratio, timed
from benchmarks.workloads import IMAGE, OPTIMIZER, iwae_decoder_layers, iwae_layers, model_of
from jaxvae import VAE, elbo, iwae_bound, log_likelihood, networks
from jaxvae.bounds import importance_weighted
from jaxvae.losses import negative_bound
from jaxvae.run.folder.files import write_result
from jaxvae.training import State, make_step, start
from jaxvae.types import Params

FULL: dict[str, tuple[int, ...]] = {"k": (1, 5, 50, 500, 5000), "batch": (16, 128, 1024, 8192)}
QUICK: dict[str, tuple[int, ...]] = {"k": (1, 5), "batch": (4, 16)}
CHUNK = 100  # draws that log p(x) holds at once
LIMIT_ROWS = 2**17  # of the bare products: more rows are no faster, and take memory
REPETITION_SECONDS = {"full": 0.1, "quick": 0.01}

Name = Literal["training", "elbo", "iwae_bound", "log p(x)", "sampling"]
NAMES: tuple[Name, ...] = ("training", "elbo", "iwae_bound", "log p(x)", "sampling")


class Function(NamedTuple):
    """A function at one k and batch, ready to be compiled."""

    function: Callable
    arguments: tuple
    layers: list[Layer]  # whose products it does
    next_arguments: Callable[[tuple, Any], tuple]  # those of the next call, from these and what this one returned
    donated: tuple[int, ...] = ()


def main(
    json: Path | None = None,
    plot: Path | None = None,
    device: Literal["cpu", "gpu", "tpu"] | None = None,
    quick: bool = False,
    only: tuple[Name, ...] = NAMES,
    repeats: int = 5,
    seconds: float = 5.0,
) -> None:
    """Measure draws per second against k and the batch.

    Args:
        json: write all numbers to this file.
        plot: draw them into this file, .png or .pdf for instance.
        device: where to run; JAX's default if not given.
        quick: four points for each function, to see that everything runs; the numbers mean little.
        only: these functions.
        repeats: how often every point runs.
        seconds: leave out a point that would take longer for one call.
    """
    if device:
        jax.config.update("jax_default_device", jax.devices(device)[0])
    warn_if_busy()
    points = measure(only, quick=quick, repeats=repeats, seconds=seconds)
    if json:
        record = {"command": sys.argv, "quick": quick, "machine": description(), "points": points}
        write_result(json, record)
    if plot:
        draw(points, plot, machine=default_device().device_kind)


def measure(names: tuple[Name, ...], *, quick: bool, repeats: int, seconds: float) -> list[dict]:
    """All points, printed one by one.

    Args:
        names: of the functions.
        quick: a small grid.
        repeats: how often every point runs.
        seconds: leave out a point that would take longer for one call.

    Returns:
        A dict for each point; one that was left out has the reason as "skipped".
    """
    platform = default_device().platform
    run, flops = limits.large_product(platform)
    run()
    flops_per_second = flops / min(run() for _ in range(3))
    points = []
    print(HEADER)
    grid = list(points_of(names, QUICK if quick else FULL))
    progress = tqdm(grid, desc="sweep", leave=False)
    for name, k, batch in progress:
        point = {"function": name, "k": k, "batch": batch}
        made = function_of(name, k, batch)
        # Measured: between a third and a twentieth of the rate of a large product.
        expected = 5 * limits.flops(limits.products(made.layers, batch, training=name == "training")) / flops_per_second
        if expected > seconds:
            point["skipped"] = f"it would take about {expected:.0f} s a call"
        else:
            point |= _measured(made, name, k, batch, platform, repeats, quick)
        points.append(point)
        progress.write(line(point))
    return points


def points_of(names: tuple[Name, ...], grid: dict[str, tuple[int, ...]]) -> Iterator[tuple[Name, int, int]]:
    """The function, k and batch of each point: sampling has no k."""
    for name in names:
        for k, batch in product((1,) if name == "sampling" else grid["k"], grid["batch"]):
            yield name, k, batch


def function_of(name: Name, k: int, batch: int) -> Function:
    """A function of the sweep.

    Args:
        name: of the function.
        k: draws for each image.
        batch: images.

    Returns:
        It, over random weights.
    """
    model, params = _model()
    pictures, _ = binarized_mnist(batch)
    xs = jnp.asarray(pictures, jnp.float32) / 255
    keys = jax.random.split(jax.random.key(1), batch)
    same = lambda arguments, _: arguments  # noqa: E731
    if name == "training":
        step = make_step(negative_bound(model, importance_weighted, num_samples=k), OPTIMIZER)

        def next_state(arguments: tuple, returned: tuple[State, dict]) -> tuple:
            return (returned[0], *arguments[1:])

        return Function(
            step, (start(jax.tree.map(jnp.copy, params), OPTIMIZER), keys, xs), iwae_layers(k), next_state, (0,)
        )
    if name == "sampling":
        return Function(jax.vmap(model.sample, (0, None)), (keys, params), iwae_decoder_layers(1), same)
    bound = {
        "elbo": partial(elbo, model, num_samples=k),
        "iwae_bound": partial(iwae_bound, model, num_samples=k),
        "log p(x)": partial(log_likelihood, model, num_samples=k, chunk=min(k, CHUNK)),
    }[name]
    return Function(jax.vmap(bound, (0, None, 0)), (keys, params, xs), iwae_layers(k), same)


@functools.cache
def _model() -> tuple[VAE, Params]:
    model = model_of(networks.iwae_pair, 50)
    return model, jax.jit(model.init)(jax.random.key(0), jnp.zeros(IMAGE))


def _measured(made: Function, name: Name, k: int, batch: int, platform: str, repeats: int, quick: bool) -> dict:
    program = jax.jit(made.function, donate_argnums=made.donated).lower(*made.arguments).compile()
    needed, free = program_bytes(program), available_bytes()
    if needed is not None and free is not None and needed > free / 2:
        return {"skipped": f"it would take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"}
    arguments = made.arguments

    def call() -> Any:
        nonlocal arguments
        returned = program(*arguments)
        arguments = made.next_arguments(arguments, returned)
        return returned

    def calls_of(run: Callable[[], Any]) -> int:
        jax.block_until_ready(run())
        began = time.perf_counter()
        jax.block_until_ready(run())
        lasts = REPETITION_SECONDS["quick" if quick else "full"]
        return math.ceil(lasts / max(time.perf_counter() - began, lasts / 1000))

    count = calls_of(call)

    def repetition() -> Any:
        for _ in range(count):
            returned = call()
        return returned

    limit_batch = max(1, min(batch, LIMIT_ROWS // k))
    sequence = limits.products(made.layers, limit_batch, training=name == "training")
    bare = limits.in_numpy if platform == "cpu" else limits.in_xla
    bare_count = max(1, round(count * batch / limit_batch / 2))
    if platform == "cpu":
        bare_count = min(bare_count, max(1, round(REPETITION_SECONDS["full"] * 5e10 / limits.flops(sequence))))
    runs = {"ours": timed(repetition), "products": bare(sequence, steps=bare_count)}
    seconds = in_turns(runs, repeats=repeats, title=f"{name} k={k} batch={batch}")
    draws, bare_draws = count * batch * k, bare_count * limit_batch * k
    return {
        "draws_per_second": rate(draws, seconds["ours"])._asdict(),
        "limit_draws_per_second": rate(bare_draws, seconds["products"])._asdict(),
        "share_of_limit": speed_ratio(draws, seconds["ours"], bare_draws, seconds["products"])._asdict(),
        "flops_per_draw": limits.flops(sequence) / limit_batch / k,
        "program_bytes": needed,
    }


HEADER = (
    f"{'function':12}{'k':>7}{'batch':>7}{'draws/s [quartiles]':^38}{'images/s':>12}{'of the products':^22}{'MB':>8}"
)


def line(point: dict) -> str:
    """A row of the table."""
    begin = f"{point['function']:12}{point['k']:7,}{point['batch']:7,}"
    if "skipped" in point:
        return f"{begin}  left out: {point['skipped']}"
    median, lower, upper = point["draws_per_second"].values()
    share, share_lower, share_upper = point["share_of_limit"].values()
    megabytes = "?" if point["program_bytes"] is None else f"{point['program_bytes'] / 1e6:,.0f}"
    return (
        f"{begin}{f'{median:,.0f} [{lower:,.0f}, {upper:,.0f}]':^38}{median / point['k']:12,.0f}"
        f"{f'{share:.0%} [{share_lower:.0%}, {share_upper:.0%}]':^22}{megabytes:>8}"
    )


if __name__ == "__main__":
    tyro.cli(main)
