"""A run that is killed, at any moment, goes on bit for bit as if it had never stopped."""

import json
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from live_run import STEPS_PER_EPOCH, images_for, kill, rows, start, wait_for

from jaxvae.run.folder.checkpoints import Checkpoints
from jaxvae.run.folder.opening import open_run

EPOCHS = 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing interrupts."""
    folder = images_for(tmp_path_factory.mktemp("runs")) / "whole"
    process = start(folder, epochs=EPOCHS)
    assert process.wait(timeout=300) == 0, process.communicate()
    return folder


def assert_same(left: Path, right: Path, *, epochs: int = EPOCHS) -> None:
    a, b = open_run(left), open_run(right)
    assert a.step == b.step == epochs * STEPS_PER_EPOCH
    for one, other in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_array_equal(one, other)
    assert rows(left) == rows(right)


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
        assert saved == json.loads(rows(folder)[-1])["step"] < EPOCHS * STEPS_PER_EPOCH

    resumed = start(folder, "--resume")
    assert resumed.wait(timeout=300) == 0, resumed.communicate()
    assert_same(whole, folder)
    results = [json.loads((run / "result.json").read_text())["test_elbo"] for run in (whole, folder)]
    assert results[0] == results[1]


@pytest.mark.slow
def test_a_run_on_two_devices_that_is_stopped_is_the_run_that_is_not(tmp_path):
    images_for(tmp_path)

    def run_to_the_last_checkpoint(folder, *more):
        process = start(folder, *more, epochs=3, devices=2)
        wait_for(process, (folder / "checkpoints" / str(3 * STEPS_PER_EPOCH)).exists)
        kill(process)  # what is left is pictures

    run_to_the_last_checkpoint(tmp_path / "whole")
    process = start(tmp_path / "stopped", epochs=3, devices=2)
    wait_for(process, lambda: len(rows(tmp_path / "stopped")) >= 1)
    process.terminate()
    assert process.wait(timeout=240) == 128 + signal.SIGTERM, process.communicate()
    assert len(rows(tmp_path / "stopped")) < 3
    run_to_the_last_checkpoint(tmp_path / "stopped", "--resume")
    assert_same(tmp_path / "whole", tmp_path / "stopped", epochs=3)
