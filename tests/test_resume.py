"""A run that is killed, at any moment, goes on bit for bit as if it had never stopped."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae.run.checkpoints import Checkpoints
from jaxvae.run.folder import open_run

REPOSITORY = Path(__file__).parents[1]
EPOCHS = 8


def start(folder: Path, *more: str) -> subprocess.Popen:
    """Eight epochs of 80 steps, each long enough to be hit, saved after every one."""
    arguments = {
        "--data": folder.parent / "images.npy",
        "--epochs": EPOCHS,
        "--batch-size": 10,
        "--objective.bound": "iwae",
        "--objective.num-samples": 50,
        "--evaluation.num-samples": 0,
        "--checkpoints.seconds": 0,
        "--runs": folder.parent,
        "--name": folder.name,
    }
    options = [str(part) for pair in arguments.items() for part in pair]
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.train", *options, *more],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(folder: Path) -> list[str]:
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def wait_for(process: subprocess.Popen, happened) -> None:
    deadline = time.monotonic() + 240
    while not happened():
        assert process.poll() is None, f"the run ended before it was hit: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing interrupts."""
    runs = tmp_path_factory.mktemp("runs")
    images = np.random.default_rng(0).integers(0, 256, (1000, 12, 12), dtype=np.uint8)
    np.save(runs / "images.npy", images)
    process = start(runs / "whole")
    assert process.wait(timeout=300) == 0, process.communicate()
    return runs / "whole"


def assert_same(left: Path, right: Path) -> None:
    a, b = open_run(left), open_run(right)
    assert a.step == b.step == EPOCHS * 80
    for one, other in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_array_equal(one, other)
    assert rows(left) == rows(right)
    results = [json.loads((folder / "result.json").read_text())["test_elbo"] for folder in (left, right)]
    assert results[0] == results[1]


def test_a_run_that_is_killed_and_stopped_in_every_way_is_the_run_that_nothing_interrupts(whole):
    folder = whole.parent / "interrupted"
    checkpoints = folder / "checkpoints"

    # kill -9 in the middle of an epoch
    process = start(folder)
    wait_for(process, lambda: len(rows(folder)) >= 1)
    time.sleep(0.05)
    kill(process)
    assert not (folder / "result.json").exists()

    # kill -9 in the middle of a save
    process = start(folder, "--resume")
    wait_for(process, lambda: len(rows(folder)) >= 2 and any(checkpoints.glob("*.orbax-checkpoint-tmp")))
    kill(process)

    for epochs, number in ((3, signal.SIGTERM), (4, signal.SIGINT)):
        process = start(folder, "--resume")
        wait_for(process, lambda epochs=epochs: len(rows(folder)) >= epochs)
        process.send_signal(number)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 128 + number
        assert "stopped and saved at step" in out
        assert "Traceback" not in err
        saved = Checkpoints(checkpoints, writable=False).latest()
        assert saved == json.loads(rows(folder)[-1])["step"] < EPOCHS * 80

    resumed = start(folder, "--resume")
    assert resumed.wait(timeout=300) == 0, resumed.communicate()
    assert_same(whole, folder)


def kill(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()
