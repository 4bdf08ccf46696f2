"""A training run in a process of its own, to be hit while it lives."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[2]
STEPS_PER_EPOCH = 80


def images_for(runs: Path) -> Path:
    """The folder of runs, with the images that they train on."""
    np.save(runs / "images.npy", np.random.default_rng(0).integers(0, 256, (1000, 12, 12), dtype=np.uint8))
    return runs


def start(folder: Path, *more: str, epochs: int = 8, devices: int = 1) -> subprocess.Popen:
    """Epochs of 80 steps, each long enough to be hit, saved after every one; devices are made of one processor."""
    arguments = {
        "--data": folder.parent / "images.npy",
        "--epochs": epochs,
        "--batch-size": 10,
        "--objective.bound": "iwae",
        "--objective.num-samples": 50,
        "--evaluation.num-samples": 0,
        "--checkpoints.seconds": 0,
        "--runs": folder.parent,
        "--name": folder.name,
        "--devices": devices,
    }
    several = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    options = [str(part) for pair in arguments.items() for part in pair]
    return subprocess.Popen(
        [sys.executable, "-m", "jaxvae", "train", *options, *more],
        cwd=REPOSITORY,
        env=os.environ | (several if devices > 1 else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(folder: Path) -> list[str]:
    """The lines of the run's log."""
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def wait_for(process: subprocess.Popen, happened) -> None:
    """Wait until something has happened to a run that lives."""
    deadline = time.monotonic() + 240
    while not happened():
        assert process.poll() is None, f"the run ended before it was hit: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.001)


def kill(process: subprocess.Popen) -> None:
    """Kill -9."""
    process.kill()
    process.communicate()
