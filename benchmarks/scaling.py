"""How training scales over devices, and over seeds in one program: `python -m benchmarks.scaling`.

Weak scaling gives every device a batch of its own, strong scaling shares one batch among them; both train 784-400-20
(W1) through `jaxvae.training`. Eight seeds trained in one program, by `vmap` and by `lax.map`, are set against eight
runs in a row.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.machine import description, warn_if_busy
from benchmarks.pictures import binarized_mnist
from benchmarks.timing import Run, in_turns, rate, speed_ratio, timed
from benchmarks.workloads import IMAGE, OPTIMIZER, model_of
from jaxvae import networks
from jaxvae.bounds import average
from jaxvae.losses import ALONE, Metrics, negative_bound
from jaxvae.run.folder.files import write_result
from jaxvae.training import State, grey, make_step, parallel, start, steps
from jaxvae.types import Key


def main(
    json: Path | None = None,
    quick: bool = False,
    cpu_devices: int | None = None,
    weak_batch: int = 128,
    strong_batch: int = 1024,
    seeds: int = 8,
    repeats: int = 5,
) -> None:
    """Measure weak and strong scaling over 1..N devices, and seeds trained together.

    Args:
        json: write all numbers to this file.
        quick: 1,024 images, to see that everything runs; the numbers mean little.
        cpu_devices: make so many devices of one CPU; they share its cores, so that this shows only that it runs.
        weak_batch: the batch of each device in weak scaling.
        strong_batch: the batch of all devices together in strong scaling.
        seeds: trained in one program, and one after another.
        repeats: how often everything runs.
    """
    if cpu_devices is not None and cpu_devices < 1:
        sys.exit(f"--cpu-devices {cpu_devices} must be at least 1")
    if cpu_devices:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    warn_if_busy()
    devices = jax.local_devices()
    shared = devices[0].platform == "cpu" and len(devices) > 1
    if shared:
        print(
            f"the {len(devices)} devices share the cores of one CPU: no speed can come of them, only proof that it runs"
        )
    images = 1024 if quick else 20_000 * (1 if devices[0].platform == "cpu" else 3)
    data, source = binarized_mnist(images)
    counts = [count for count in range(1, len(devices) + 1) if strong_batch % count == 0]
    record: dict[str, Any] = {
        "command": sys.argv,
        "quick": quick,
        "data": source,
        "machine": description(),
        "devices_share_cores": shared,
    }
    for kind, batch_of in (("weak", lambda count: weak_batch * count), ("strong", lambda _: strong_batch)):
        record[kind] = over_devices(kind, data, {count: batch_of(count) for count in counts}, repeats)
    record["seeds"] = over_seeds(data, seeds, repeats)
    if json:
        write_result(json, record)


def over_devices(kind: str, data: np.ndarray, batches: dict[int, int], repeats: int) -> list[dict]:
    """One kind of scaling, printed.

    Args:
        kind: weak or strong.
        data: [N, 28, 28, 1] uint8.
        batches: the number of devices -> the batch of all of them together.
        repeats: how often everything runs.

    Returns:
        A dict for each number of devices.
    """
    model = model_of(networks.small_pair, 20)
    step = make_step(negative_bound(model, average), OPTIMIZER, shared=parallel.SHARED)
    runs: dict[str, Run] = {}
    for count, batch in tqdm(batches.items(), desc=f"{kind} scaling: compiling", leave=False):
        devices = jax.local_devices()[:count]
        epoch = parallel.steps(devices, step=step, prepare=grey, batch_size=batch)
        state = start(jax.jit(model.init)(jax.random.key(0), jnp.zeros(IMAGE)), OPTIMIZER)
        state, stored = parallel.copied((state, jnp.asarray(data)), devices)
        runs[str(count)] = timed(repetition(epoch, state, jax.random.key(1), stored))
    seconds = in_turns(runs, repeats=repeats, title=f"{kind} scaling")
    images = {count: len(data) // batch * batch for count, batch in batches.items()}
    measured = []
    for count, batch in batches.items():
        ours, alone_in = seconds[str(count)], seconds["1"]
        speed_up = speed_ratio(images[count], ours, images[1], alone_in)
        measured.append(
            {
                "devices": count,
                "batch": batch,
                "images_per_second": rate(images[count], ours)._asdict(),
                "speed_up": speed_up._asdict(),
                "efficiency": speed_up.median / count,
            }
        )
        print(
            f"{kind} scaling, {count} of {max(batches)} devices, batch {batch:,}: "
            f"{rate(images[count], ours).median:,.0f} images/s, "
            f"{speed_up.median:.2f} [{speed_up.lower:.2f}, {speed_up.upper:.2f}] times one device, "
            f"efficiency {speed_up.median / count:.0%}"
        )
    return measured


def repetition(
    epoch: Callable[[State, Key, Any], tuple[State, Metrics]], state: State, key: Key, data: Any
) -> Callable[[], Any]:
    """One epoch for each call; the state goes on from one to the next, in the same memory."""

    def run() -> Any:
        nonlocal state
        state, metrics = epoch(state, key, data)
        return state, metrics

    return run


def over_seeds(data: np.ndarray, seeds: int, repeats: int) -> dict:
    """Seeds in one program against as many runs in a row, printed.

    Args:
        data: [N, 28, 28, 1] uint8.
        seeds: how many.
        repeats: how often everything runs.

    Returns:
        The rates in images per second, of all seeds together, and their ratios to the runs in a row.
    """
    model = model_of(networks.small_pair, 20)
    step = make_step(negative_bound(model, average), OPTIMIZER, shared=ALONE)
    epoch = partial(steps, step=step, prepare=grey, batch_size=128)
    keys = jax.random.split(jax.random.key(0), seeds)
    pixels = jnp.asarray(data)

    def state_of(key: Key) -> State:
        return start(model.init(key, jnp.zeros(IMAGE)), OPTIMIZER)

    def mapped(states: State, keys: Key, data: jax.Array) -> tuple[State, Metrics]:
        return jax.lax.map(lambda seed: epoch(seed[0], seed[1], data), (states, keys))

    states_of = jax.jit(jax.vmap(state_of))
    by_vmap, by_map = (jax.jit(function, donate_argnums=0) for function in (jax.vmap(epoch, (0, 0, None)), mapped))
    one = jax.jit(epoch, donate_argnums=0)
    each = [repetition(one, jax.jit(state_of)(key), key, pixels) for key in keys]
    runs = {
        "vmap": timed(repetition(by_vmap, states_of(keys), keys, pixels)),
        "lax.map": timed(repetition(by_map, states_of(keys), keys, pixels)),
        "in a row": timed(lambda: [run() for run in each]),
    }
    seconds = in_turns(runs, repeats=repeats, title=f"{seeds} seeds")
    images = seeds * (len(data) // 128 * 128)
    rates = {name: rate(images, values) for name, values in seconds.items()}
    print(f"{seeds} seeds in a row: {rates['in a row'].median:,.0f} images/s")
    ratios = {name: speed_ratio(images, seconds[name], images, seconds["in a row"]) for name in ("vmap", "lax.map")}
    for name, ratio in ratios.items():
        times = f"{ratio.median:.2f} [{ratio.lower:.2f}, {ratio.upper:.2f}]"
        print(f"{seeds} seeds in one program by {name}: {rates[name].median:,.0f} images/s, {times} times as fast")
    return {
        "seeds": seeds,
        "images_per_second": {name: value._asdict() for name, value in rates.items()},
        "speed_up": {name: ratio._asdict() for name, ratio in ratios.items()},
    }


if __name__ == "__main__":
    tyro.cli(main)
