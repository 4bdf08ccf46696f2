"""Images per second of the library in steady state: `python -m benchmarks.throughput`.

Every workload is one compiled program that shuffles, gathers, casts, steps and reports its metrics. Beside it, in
turns, run its bare matrix products by the BLAS libraries at hand, and for the smallest network and log p(x) a
hand-written scan and, on request, an eager PyTorch script.
"""

import json as json_format
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import tyro
from tqdm import tqdm

from benchmarks import limits, start_up, workloads
from benchmarks.machine import description
from benchmarks.memory import forget_peak, peak_resident_bytes, program_bytes
from benchmarks.peers import Peer, importable
from benchmarks.pictures import binarized_mnist
from benchmarks.timing import Run, Spread, in_turns, rate, speed_ratio, spread, timed
from benchmarks.workloads import Workload

FULL_IMAGES = {"W1": 60_000, "W2 k=1": 30_000, "W2 k=5": 10_000, "W2 k=50": 1_000, "W3": 20, "W4": 1_280}
QUICK_IMAGES = {"W1": 640, "W2 k=1": 500, "W2 k=5": 200, "W2 k=50": 100, "W3": 2, "W4": 128}
ACCELERATOR_SCALE = 50  # an accelerator gets as many times more images, so that a repetition lasts
CHUNKS = (25, 100, 500)  # draws held at once in W3
LIMIT_FLOPS = {"full": 3e10, "quick": 1e9}  # of one repetition of the bare products


def main(
    peers: bool = False,
    json: Path | None = None,
    device: Literal["cpu", "gpu", "tpu"] | None = None,
    quick: bool = False,
    only: tuple[str, ...] = (),
    repeats: int | None = None,
    torch_python: Path = Path(sys.executable),
) -> None:
    """Measure the throughput of the library.

    Args:
        peers: also run eager PyTorch scripts beside W1 and W3.
        json: write all numbers to this file.
        device: where to run; JAX's default if not given.
        quick: a few seconds for each workload, to see that everything runs; the numbers mean little.
        only: of W1, "W2 k=1", "W2 k=5", "W2 k=50", W3, W4, start-up; all if not given.
        repeats: how often everything runs; 9, or 2 if quick.
        torch_python: the interpreter that has PyTorch.
    """
    if device:
        jax.config.update("jax_default_device", jax.devices(device)[0])
    platform = device or jax.default_backend()
    repeats = repeats or (2 if quick else 9)
    has_torch = importable(torch_python, "torch")
    if peers and not has_torch:
        print(f"no PyTorch in {torch_python}: skipping the eager script (name another by --torch-python)")
    rows = []
    print(HEADER)
    sizes = QUICK_IMAGES if quick else FULL_IMAGES
    progress = tqdm([name for name in sizes if not only or name in only], desc="workloads", leave=False)
    for name in progress:
        images = sizes[name]
        if platform != "cpu" and not quick:
            images = min(ACCELERATOR_SCALE * images, 60_000)
        data, source = binarized_mnist(images)
        torch_for_script = torch_python if peers and has_torch and name in ("W1", "W3") else None
        torch_for_products = torch_python if has_torch and platform == "cpu" else None
        for make in makers(name, quick):
            with ExitStack() as open_peers:
                forget_peak()
                workload = make(data)
                runs: dict[str, tuple[Run, float]] = {"ours": (timed(workload.run), workload.images)}
                if workload.by_hand:
                    runs["the hand-written scan"] = timed(workload.by_hand), workload.images
                if torch_for_script:
                    script = torch_script(torch_for_script, name, data, platform, quick)
                    runs["the eager PyTorch script"] = open_peers.enter_context(script), len(data)
                runs |= limit_runs(workload, open_peers, torch_for_products, platform, quick)
                only_runs = {label: run for label, (run, _) in runs.items()}
                seconds = in_turns(only_runs, repeats=repeats, title=workload.name)
                rows.append(row(workload, source, seconds, {label: count for label, (_, count) in runs.items()}))
            progress.write(line(rows[-1]))
    for entry in rows:
        for rival, ratio in entry["ratios"].items():
            quartiles = f"[{ratio['lower']:.2f}, {ratio['upper']:.2f}]"
            print(f"{entry['name']}: {ratio['median']:.2f} {quartiles} times as fast as {rival}")
    started = start_up.measure(device) if not only or "start-up" in only else None
    for kind, stages in (started or {}).items():
        print(f"start-up to the first step of W1, {kind}: {stages['first_step']:.1f} s")
    if json:
        record = {"command": sys.argv, "quick": quick, "machine": description(), "rows": rows, "start_up": started}
        json.write_text(json_format.dumps(record, indent=1))


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
        case _:
            return [lambda data: workloads.iwae(data, int(name.removeprefix("W2 k=")))]


def likelihood_draws(quick: bool) -> tuple[int, tuple[int, ...]]:
    """The draws of W3, and how many of them are held at once."""
    return (100, (50,)) if quick else (5000, CHUNKS)


def torch_script(python: Path, name: str, data: np.ndarray, platform: str, quick: bool) -> Peer:
    """The eager script of a workload, on the same pictures and the same kind of device."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, data.reshape(len(data), -1))
        device = "cuda" if platform == "gpu" else "cpu"
        arguments = ["--images", file.name, "--device", device]
        if name == "W1":
            return Peer(python, "torch_vae.py", arguments)
        draws, chunks = likelihood_draws(quick)
        return Peer(
            python, "torch_likelihood.py", [*arguments, "--num-samples", str(draws), "--chunk", str(max(chunks))]
        )


def limit_runs(
    workload: Workload, open_peers: ExitStack, torch_python: Path | None, platform: str, quick: bool
) -> dict[str, tuple[Run, float]]:
    """The bare products of a workload by each library, with the images that one repetition stands for."""
    budget = LIMIT_FLOPS["quick" if quick else "full"] * (1 if platform == "cpu" else 300)
    count = max(1, round(budget / limits.flops(workload.products)))
    runs = {"XLA": limits.in_xla(workload.products, steps=count)}
    if platform == "cpu":
        runs["NumPy"] = limits.in_numpy(workload.products, steps=count)
    if torch_python:
        sequence = [[*product.shapes(), *product.contracted()] for product in workload.products]
        arguments = [json_format.dumps(sequence), str(count)]
        runs["PyTorch"] = open_peers.enter_context(Peer(torch_python, "torch_products.py", arguments))
    return {f"products, {library}": (run, count * workload.images_per_step) for library, run in runs.items()}


def row(workload: Workload, source: str, seconds: dict[str, list[float]], images: dict[str, float]) -> dict:
    """Everything that is known about a workload."""

    def ratio(label: str) -> dict:
        return speed_ratio(images["ours"], seconds["ours"], images[label], seconds[label])._asdict()

    rates = {label: rate(images[label], values) for label, values in seconds.items()}
    fastest = max((label for label in rates if label.startswith("products")), key=lambda label: rates[label].median)
    flops = limits.flops(workload.products) / workload.images_per_step
    return {
        "name": workload.name,
        "description": workload.description,
        "data": source,
        "images_per_repeat": workload.images,
        "repeats": len(seconds["ours"]),
        "images_per_second": rates["ours"]._asdict(),
        "flops_per_image": flops,
        "gigaflops_per_second": flops * rates["ours"].median / 1e9,
        "others_images_per_second": {label: value._asdict() for label, value in rates.items() if label != "ours"},
        "fastest_products": fastest.removeprefix("products, "),
        "share_of_products": ratio(fastest),
        "ratios": {label: ratio(label) for label in rates if label != "ours" and not label.startswith("products")},
        "compile_seconds": workload.first_call_seconds - spread(seconds["ours"]).median,
        "program_bytes": program_bytes(workload.program),
        "peak_resident_bytes": peak_resident_bytes(),
    }


HEADER = (
    f"{'':15}{'images/s [quartiles]':^28}{'of products by':^24}{'MFLOP/image':>12}{'GFLOP/s':>9}"
    f"{'compile s':>11}{'program MB':>12}{'peak MB':>9}  data, workload"
)


def line(entry: dict) -> str:
    """A row of the table."""
    speed, share = Spread(**entry["images_per_second"]), Spread(**entry["share_of_products"])
    program = entry["program_bytes"]
    return (
        f"{entry['name']:15}"
        f"{f'{speed.median:,.0f} [{speed.lower:,.0f}, {speed.upper:,.0f}]':^28}"
        f"{f'{share.median:.0%} [{share.lower:.0%}, {share.upper:.0%}] ' + entry['fastest_products']:^24}"
        f"{entry['flops_per_image'] / 1e6:12,.2f}{entry['gigaflops_per_second']:9,.0f}{entry['compile_seconds']:11.1f}"
        f"{'?' if program is None else f'{program / 1e6:,.0f}':>12}{entry['peak_resident_bytes'] / 1e6:9,.0f}"
        f"  {entry['data']}; {entry['description']}"
    )


if __name__ == "__main__":
    tyro.cli(main)
