"""From nothing to the first training step: a fresh process that imports, loads, compiles and steps once (W1)."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parents[1]


def measure(device: str | None) -> dict[str, dict[str, float]]:
    """The seconds of two fresh processes, from their start by the operating system.

    Returns:
        "cold", whose compilation cache is empty, and "cached", which finds what the first one has compiled; each with
        the seconds until the library was "imported", the data "loaded", and the "first_step" done.
    """
    measured = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in tqdm(("cold", "cached"), desc="start-up", leave=False):
            settings = {
                "JAX_COMPILATION_CACHE_DIR": cache,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            }
            arguments = [device] if device else []
            began = time.time()
            finished = subprocess.run(
                [sys.executable, "-m", "benchmarks.start_up", *arguments],
                cwd=ROOT,
                env=os.environ | settings,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            stages = json.loads(finished.stdout)
            measured[name] = {stage: at - began for stage, at in stages.items()}
    return measured


def main(device: str | None) -> None:
    """Take one step, and print the times at which the stages were done, in seconds since 1970."""
    import jax

    from benchmarks import workloads
    from benchmarks.pictures import binarized_mnist

    if device:
        jax.config.update("jax_default_device", jax.devices(device)[0])
    stages = {"imported": time.time()}
    data, _ = binarized_mnist(60_000)
    stages["loaded"] = time.time()
    workloads.small(data, length=1)
    stages["first_step"] = time.time()
    print(json.dumps(stages))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
