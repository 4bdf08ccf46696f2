"""Wall time from a cold start to a given test ELBO: `python -m benchmarks.time_to_nats`.

Each contestant is a fresh process that imports, loads binarised MNIST, compiles where it must, and trains 784-400-20
with batches of 128 and Adam at 1e-3 until -ELBO of the 10,000 test images, one draw each, is below the target. It is
evaluated after every epoch. The clock runs from the start of the process by the operating system, and no compiled
program is cached.
"""

import json as json_format
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks.machine import description, warn_if_busy
from benchmarks.pictures import binarized_mnist_to_test
from benchmarks.rivals import interpreter_of, without
from benchmarks.timing import speed_ratio, spread
from jaxvae.run.folder.files import write_result

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
OURS = "the library"


class Contestant(NamedTuple):
    """A command that trains until the target, and the module without which it cannot."""

    name: str
    module: str | None
    command: tuple[str, ...]


CONTESTANTS = (
    Contestant(OURS, None, ("-m", "benchmarks.until_nats")),
    Contestant("eager PyTorch with a DataLoader", "torch", (str(PEERS / "torch_vae.py"),)),
    Contestant("torch.compile with fused Adam", "torch", (str(PEERS / "torch_vae.py"), "--compiled")),
)


def main(
    target: float = 105.0,
    json: Path | None = None,
    quick: bool = False,
    repeats: int = 3,
    epochs: int = 30,
    peer_python: Path = Path(sys.executable),
) -> None:
    """Measure the wall time from a cold start to a test ELBO, of the library and of PyTorch.

    Args:
        target: -ELBO, in nats.
        json: write all numbers to this file.
        quick: 1,280 images, and a target of 500 nats, to see that everything runs; the numbers mean little.
        repeats: how often each contestant starts, in turns, each time with another seed.
        epochs: give the target up after so many.
        peer_python: an interpreter that has PyTorch; without one the library runs alone.
    """
    pictures = binarized_mnist_to_test()
    if pictures is None:
        sys.exit("time_to_nats needs binarised MNIST: name the folder that has it by JAXVAE_DATA_SOURCE")
    warn_if_busy()
    train, test = pictures
    if quick:
        train, test, target, repeats = train[:1280], test[:100], 500.0, 1
    runs: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {"--images": Path(folder) / "train.npy", "--test": Path(folder) / "test.npy"}
        for file, images in zip(files.values(), (train, test), strict=True):
            np.save(file, images.reshape(len(images), -1))
        options = [str(word) for pair in files.items() for word in pair]
        options += ["--target", str(target), "--epochs", str(epochs)]
        starters: dict[Contestant, Path] = {}
        for contestant in CONTESTANTS:
            module = contestant.module
            python = interpreter_of(module, peer_python) if module else Path(sys.executable)
            if python:
                starters[contestant] = python
            else:
                print(f"skipping {contestant.name}: {without(str(module), peer_python)}")
        with tqdm(total=repeats * len(starters), desc="cold starts", leave=False) as progress:
            for repeat in range(repeats):
                for (name, _, command), python in starters.items():
                    finished = run([str(python), *command, *options, "--seed", str(repeat)])
                    runs.setdefault(name, []).append(finished)
                    progress.write(line(name, finished, target))
                    progress.update()
    report(runs, target)
    if json:
        record = {
            "command": sys.argv,
            "quick": quick,
            "target": target,
            "data": f"binarised MNIST, {len(train):,} images to train on, {len(test):,} to test",
            "machine": description(),
            "runs": runs,
        }
        write_result(json, record)


def run(command: list[str]) -> dict:
    """One cold start.

    Args:
        command: of the contestant.

    Returns:
        Its "seconds" from its start until the target was reached, the test "negative_elbo" after every epoch, and its
        versions.
    """
    with tempfile.TemporaryDirectory() as cache:
        # Both would find what an earlier start has compiled.
        caches = {"JAX_COMPILATION_CACHE_DIR": f"{cache}/jax", "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torch"}
        began = time.time()
        finished = subprocess.run(command, cwd=ROOT, env=os.environ | caches, capture_output=True, text=True)
    if finished.returncode:
        said = finished.stderr.strip().splitlines() or ["nothing"]
        sys.exit(f"{' '.join(command)} ended with status {finished.returncode} and said: {said[-1]}")
    answer = json_format.loads(finished.stdout)
    return {"seconds": answer.pop("reached") - began} | answer


def line(name: str, finished: dict, target: float) -> str:
    """One start in words."""
    bounds = finished["negative_elbo"]
    outcome = "" if bounds[-1] < target else f", the target of {target:g} not reached"
    return f"{name}: {finished['seconds']:.1f} s, {len(bounds)} epochs, -ELBO {bounds[-1]:.2f}{outcome}"


def report(runs: dict[str, list[dict]], target: float) -> None:
    """The table of all contestants."""
    print(f"from a cold start to a test -ELBO below {target:g} nats, medians of {len(runs[OURS])}:")
    seconds = {name: [finished["seconds"] for finished in starts] for name, starts in runs.items()}
    for name, starts in runs.items():
        counts = spread([len(finished["negative_elbo"]) for finished in starts])
        median, lower, upper = spread(seconds[name])
        times = speed_ratio(1, seconds[OURS], 1, seconds[name])
        missed = sum(finished["negative_elbo"][-1] >= target for finished in starts)
        print(
            f"{name:35}{median:8.1f} s [{lower:.1f}, {upper:.1f}]  {counts.median:4.0f} epochs"
            + (f"  the library is {times.median:.2f} times as fast" if name != OURS else "")
            + (f"  {missed} gave up" if missed else "")
        )


if __name__ == "__main__":
    tyro.cli(main)
