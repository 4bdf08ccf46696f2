"""Images per second of the library in steady state: `python -m benchmarks.throughput`.

Every workload is one compiled program that shuffles, gathers, casts, steps and reports its metrics; W1's is the one
that `jaxvae train` runs. Beside it, in turns, run its bare matrix products by the BLAS libraries at hand, for W1 the
scan of `jaxvae.fit`, for W1 and log p(x) a hand-written one and, on request, the peers. `benchmarks.sweep` follows the
bounds over k and the batch.
"""

import json as json_format
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import jax
import tyro
from tqdm import tqdm

from benchmarks import limits, start_up, sweep, workloads
from benchmarks.machine import default_device, description, warn_if_busy
from benchmarks.memory import forget_peak
from benchmarks.peers import Peer
from benchmarks.pictures import binarized_mnist
from benchmarks.record import HEADER, LARGE_PRODUCT, LEGEND, PRODUCTS, TRIAD, line, ratio_lines, record_of
from benchmarks.rivals import interpreter_of, open_rivals, rivals_of
from benchmarks.sweep_plot import draw
from benchmarks.timing import Run, in_turns, timed
from benchmarks.workloads import Workload
from jaxvae.run.folder.files import write_result

FULL_IMAGES = {
    "W1": 60_000,
    "W2 k=1": 30_000,
    "W2 k=5": 10_000,
    "W2 k=50": 1_000,
    "W3": 20,
    "W4": 1_280,
    "W5": 640,
    "W6": 10_000,
}
QUICK_IMAGES = {"W1": 640, "W2 k=1": 500, "W2 k=5": 200, "W2 k=50": 100, "W3": 2, "W4": 128, "W5": 128, "W6": 256}
ACCELERATOR_SCALE = 50  # an accelerator gets as many times more images, so that a repetition lasts
CHUNKS = (25, 100, 500)  # draws held at once in W3
LIMIT_FLOPS = {"full": 3e10, "quick": 1e9}  # of one repetition of the bare products


def main(
    peers: bool = False,
    json: Path | None = None,
    plot: Path | None = None,
    device: Literal["cpu", "gpu", "tpu"] | None = None,
    quick: bool = False,
    only: tuple[str, ...] = (),
    repeats: int | None = None,
    peer_python: Path = Path(sys.executable),
) -> None:
    """Measure the throughput of the library.

    Args:
        peers: also run the peers beside W1, W2 and W3: PyTorch, eager and compiled, pythae, NumPyro, Flax's example.
        json: write all numbers to this file.
        plot: also follow the bounds over k and the batch, and draw them into this file.
        device: where to run; JAX's default if not given.
        quick: a few seconds for each workload, to see that everything runs; the numbers mean little.
        only: of W1, "W2 k=1", "W2 k=5", "W2 k=50", W3, W4, W5, W6, start-up; all if not given.
        repeats: how often everything runs; 9, or 2 if quick.
        peer_python: an interpreter that has the peers (the extra "peers"); what it has not is looked for in this one.
    """
    if device:
        jax.config.update("jax_default_device", jax.devices(device)[0])
    platform = device or jax.default_backend()
    repeats = repeats or (2 if quick else 9)
    warn_if_busy()
    records = []
    print(HEADER)
    sizes = QUICK_IMAGES if quick else FULL_IMAGES
    progress = tqdm([name for name in sizes if not only or name in only], desc="workloads", leave=False)
    for name in progress:
        images = sizes[name]
        if platform != "cpu" and not quick:
            images = min(ACCELERATOR_SCALE * images, 60_000)
        data, source = binarized_mnist(images)
        rivals = rivals_of(name, *largest_chunk(quick)) if peers else []
        with ExitStack() as open_peers:
            running = open_rivals(rivals, data, platform, peer_python, open_peers)
            for make in makers(name, quick):
                forget_peak()
                workload = make(data)
                runs: dict[str, tuple[Run, float]] = {"ours": (timed(workload.run), workload.images)}
                if workload.by_fit:
                    runs["the scan of jaxvae.fit"] = timed(workload.by_fit), workload.images
                if workload.by_hand:
                    runs["a hand-written scan"] = timed(workload.by_hand), workload.images
                if workload.plain:
                    runs["W1 itself"] = timed(workload.plain), workload.images
                runs |= {rival: (peer, peer.description["images"]) for rival, peer in running.items()}
                runs |= limit_runs(workload, open_peers, peer_python, platform, quick)
                seconds = in_turns({label: run for label, (run, _) in runs.items()}, repeats=repeats, title=name)
                amounts = {label: amount for label, (_, amount) in runs.items()}
                records.append(record_of(workload, source, seconds, amounts))
                progress.write("\n".join([line(records[-1]), *ratio_lines(records[-1])]))
    print(LEGEND)
    started = start_up.measure(device) if not only or "start-up" in only else None
    for kind, stages in (started or {}).items():
        print(f"start-up to the first step of W1, {kind}: {stages['first_step']:.1f} s")
    points = sweep.measure(sweep.NAMES, quick=quick, repeats=min(repeats, 5), seconds=5.0) if plot else None
    if plot and points:
        draw(points, plot, machine=default_device().device_kind)
    if json:
        record = {
            "command": sys.argv,
            "quick": quick,
            "machine": description(),
            "rows": records,
            "start_up": started,
            "sweep": points,
        }
        write_result(json, record)


def makers(name: str, quick: bool) -> list:
    """What makes the workloads of this name from pictures."""
    match name:
        case "W1":
            return [workloads.small]
        case "W3":
            draws, chunks = likelihood_draws(quick)
            return [lambda data, chunk=chunk: workloads.likelihood(data, draws, chunk) for chunk in chunks]
        case "W4":
            return [workloads.conv]
        case "W5":
            return [workloads.residual]
        case "W6":
            return [lambda data, name=name: workloads.richer(data, name) for name in workloads.RICHER]
        case _:
            return [lambda data: workloads.iwae(data, int(name.removeprefix("W2 k=")))]


def likelihood_draws(quick: bool) -> tuple[int, tuple[int, ...]]:
    """The draws of W3, and how many of them are held at once."""
    return (100, (50,)) if quick else (5000, CHUNKS)


def largest_chunk(quick: bool) -> tuple[int, int]:
    """The draws of W3, and how many of them its peers hold at once: as many as suits them best."""
    draws, chunks = likelihood_draws(quick)
    return draws, max(chunks)


def limit_runs(
    workload: Workload, open_peers: ExitStack, peer_python: Path, platform: str, quick: bool
) -> dict[str, tuple[Run, float]]:
    """The machine's own rates, and the bare products of a workload by each library, with the images they stand for."""
    budget = LIMIT_FLOPS["quick" if quick else "full"] * (1 if platform == "cpu" else 300)
    count = max(1, round(budget / limits.flops(workload.products)))
    runs = {"XLA": limits.in_xla(workload.products, steps=count)}
    torch_python = interpreter_of("torch", peer_python) if platform == "cpu" else None
    if platform == "cpu":
        runs["NumPy"] = limits.in_numpy(workload.products, steps=count)
    if torch_python:
        sequence = [[*product.shapes(), *product.contracted()] for product in workload.products]
        arguments = [json_format.dumps(sequence), str(count)]
        runs["PyTorch"] = open_peers.enter_context(Peer(torch_python, "torch_products.py", arguments))
    of_machine = {LARGE_PRODUCT: limits.large_product(platform), TRIAD: limits.triad(platform)}
    products = {PRODUCTS + library: (run, count * workload.images_per_step) for library, run in runs.items()}
    return of_machine | products


if __name__ == "__main__":
    tyro.cli(main)
