"""How cost grows: `python -m benchmarks.growth --plot benchmarks/figures/growth.png`.

A training step of 784-200-200-50 by the importance-weighted bound, k = 5, batch 100, and the same with one number
changed: examples, pixels, latents, draws, hidden layers, devices. Of each the time of a step, the memory of its program
and the time to compile it, with the slope of a straight line through their logarithms: one is proportional, zero free.
"""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.growth_plot import draw
from benchmarks.machine import description, warn_if_busy
from benchmarks.memory import program_bytes
from benchmarks.timing import Run, in_turns, spread
from benchmarks.workloads import OPTIMIZER
from jaxvae import networks, standard_normal, vae
from jaxvae.bounds import importance_weighted
from jaxvae.distributions import Bernoulli, Normal
from jaxvae.losses import ALONE, negative_bound
from jaxvae.run.folder.files import write_result
from jaxvae.training import grey, make_step, parallel, start, steps

BATCH, WIDTH = 100, 200


class Size(NamedTuple):
    """What a step is of. The names are those of the figure's panels."""

    examples: int = 5_000
    pixels: int = 784
    latents: int = 50
    draws: int = 5
    layers: int = 2
    devices: int = 1


FULL: dict[str, tuple[int, ...]] = {
    "examples": (500, 5_000, 50_000),
    "pixels": (392, 784, 1_568),
    "latents": (10, 50, 250),
    "draws": (1, 5, 25),
    "layers": (1, 2, 4),
    "devices": (1, 2),
}
COSTS = ("time", "memory", "compilation")
QUICK: dict[str, tuple[int, ...]] = {"draws": (1, 5), "devices": (1, 2)}


def main(json: Path | None = None, plot: Path | None = None, quick: bool = False, repeats: int | None = None) -> None:
    """Measure how a training step grows.

    Args:
        json: write all numbers to this file.
        plot: draw them into this file, .png or .pdf for instance.
        quick: two axes, to see that everything runs; the numbers mean little.
        repeats: how often everything runs; 9, or 2 if quick.
    """
    jax.config.update("jax_num_cpu_devices", 2)  # of one CPU they show what is added, not what is gained
    warn_if_busy()
    axes = measure(QUICK if quick else FULL, repeats=repeats or (2 if quick else 9), length=2 if quick else 5)
    record = {"command": sys.argv, "quick": quick, "machine": description(), "axes": axes}
    if json:
        write_result(json, record)
    if plot:
        draw(axes, plot)


def measure(grid: dict[str, tuple[int, ...]], *, repeats: int, length: int) -> dict[str, dict]:
    """Every axis, printed.

    Args:
        grid: the values of each axis.
        repeats: how often everything runs.
        length: steps of a repetition.

    Returns:
        axis -> {"values", "seconds" a step with quartiles, "program_bytes", "compile_seconds", "slopes"}.
    """
    axes = {}
    print(f"{'slope of':10}" + "".join(f"{cost:>13}" for cost in COSTS))
    for axis, asked in grid.items():
        values = [value for value in asked if axis != "devices" or value <= len(jax.local_devices())]
        made = [compiled(Size()._replace(**{axis: value}), length) for value in tqdm(values, desc=axis, leave=False)]
        runs = {str(value): run for value, (run, _, _) in zip(values, made, strict=True)}
        seconds = in_turns(runs, repeats=repeats, title=axis)
        found: dict[str, Any] = {
            "values": values,
            "seconds": [spread([one / length for one in seconds[str(value)]])._asdict() for value in values],
            "program_bytes": [held for _, held, _ in made],
            "compile_seconds": [took for _, _, took in made],
        }
        found["slopes"] = {
            "time": slope(values, [one["median"] for one in found["seconds"]]),
            "memory": slope(values, found["program_bytes"]),
            "compilation": slope(values, found["compile_seconds"]),
        }
        axes[axis] = found
        print(f"{axis:10}" + "".join(f"{found['slopes'][cost]:13.2f}" for cost in COSTS))
    return axes


def slope(values: list[int], costs: list[float]) -> float:
    """d ln cost / d ln value, by least squares: n of cost ∝ value^n.

    Args:
        values: of an axis, at least two.
        costs: at each.

    Returns:
        The slope.
    """
    return float(np.polyfit(np.log(values), np.log(costs), 1)[0])


def compiled(size: Size, length: int) -> tuple[Run, int, float]:
    """A few steps of this size.

    Args:
        size: of the step.
        length: how many steps.

    Returns:
        The run, by the processor's time on a CPU, which other programs disturb least; the bytes of its program on a
        device; and the processor's seconds that it took to compile.
    """
    hidden = (WIDTH,) * size.layers
    encoder = networks.mlp(hidden, Normal.parameters((size.latents,)), activation=jnp.tanh)
    decoder = networks.mlp(hidden, Bernoulli.parameters((size.pixels,)), activation=jnp.tanh)
    model = vae(encoder=encoder, decoder=decoder, prior=standard_normal((size.latents,)))
    several = size.devices > 1
    loss = negative_bound(model, importance_weighted, num_samples=size.draws)
    step = make_step(loss, OPTIMIZER, shared=parallel.SHARED if several else ALONE)
    options: dict[str, Any] = {"step": step, "prepare": grey, "batch_size": BATCH, "length": length}
    state = start(jax.jit(model.init)(jax.random.key(0), jnp.zeros(size.pixels)), OPTIMIZER)
    data = jnp.asarray(np.random.default_rng(0).integers(0, 256, (size.examples, size.pixels), np.uint8))
    if several:
        devices = jax.local_devices()[: size.devices]
        state, data = parallel.copied((state, data), devices)
        program: Any = parallel.steps(devices, **options)
    else:
        program = jax.jit(partial(steps, **options), donate_argnums=0)
    key = jax.random.key(1)
    lowered = program.lower(state, key, data)
    began = time.process_time()
    executable = lowered.compile()
    took = time.process_time() - began
    held = [state]
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter

    def run() -> float:
        began = clock()
        held[0], _ = jax.block_until_ready(program(held[0], key, data))
        return clock() - began

    return run, program_bytes(executable) or 0, took


if __name__ == "__main__":
    tyro.cli(main)
