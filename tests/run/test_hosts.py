"""Two real processes train one run: the numbers are those of one, and a killed process costs nothing."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae.recipes import plain
from jaxvae.run import RunError, evaluate, hosts, launch, refusals
from jaxvae.run.folder import config_file
from jaxvae.run.folder.opening import open_run
from jaxvae.run.hosts import Hosts
from jaxvae.run.recipe import Asked
from jaxvae.run.train import train

ROOT = Path(__file__).parents[2]
EPOCHS = 6
ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}


def free_port() -> int:
    with socket.socket() as anyone:
        anyone.bind(("127.0.0.1", 0))
        return anyone.getsockname()[1]


def options(folder: Path) -> dict:
    return {
        "--data": folder.parent / "images.npy",
        "--epochs": EPOCHS,
        "--batch-size": 8,
        "--objective.bound": "iwae",
        "--objective.num-samples": 20,
        "--evaluation.num-samples": 20,
        "--checkpoints.seconds": 0,
        "--runs": folder.parent,
        "--name": folder.name,
    }


def pair(folder: Path, *more: str) -> list[subprocess.Popen]:
    """The same command in two processes; the second is told what it is by its environment."""
    coordinator = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "jaxvae", "train", *map(str, sum(options(folder).items(), ())), *more]
    named = [*command, "--hosts.coordinator", coordinator, "--hosts.processes", "2", "--hosts.index", "0"]
    told = {"JAX_COORDINATOR_ADDRESS": coordinator, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
    keep = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen(named, env=ENVIRONMENT, **keep),
        subprocess.Popen(command, env=ENVIRONMENT | told, **keep),
    ]


def finish(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """(exit code, output, errors) of each."""
    try:
        said = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


def rows(folder: Path) -> list[dict]:
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def killed_and_resumed(folder: Path, *more: str) -> None:
    """The second process is killed in the middle; both are started again."""
    processes = pair(folder, *more)
    deadline = time.monotonic() + 240
    while len(rows(folder)) < 2:
        assert processes[0].poll() is None, processes[0].communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGKILL)
    (code, _, errors), _ = finish(processes)
    assert code == 1
    assert "another process is lost" in errors, errors
    assert f"--name {folder.name} --resume, and nothing is lost" in errors
    assert "Traceback" not in errors
    assert 2 <= len(rows(folder)) < EPOCHS
    for code, _, errors in finish(pair(folder, *more, "--resume")):
        assert code == 0, errors
    assert len(rows(folder)) == EPOCHS


def trained_alone(like: Path, folder: Path) -> dict:
    """The numbers of the same run in this process, with the data on the device."""
    kind, config = config_file.read(like / "config.json")
    config = replace(config, data=replace(config.data, stream="no"))
    dataset = kind.data(config)
    folder.mkdir()
    with jax.numpy_dtype_promotion("standard"):
        recipe, course = refusals.recipe_of(kind, config, dataset), config.course()
        trained = train(recipe, course, dataset, folder=folder, show=None)
        return evaluate.result(recipe, course, trained.params, dataset, Asked(20, None), protocol={})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    images = np.random.default_rng(0).integers(0, 256, (250, 12, 12), dtype=np.uint8)
    np.save(folder / "images.npy", images)  # 80 percent of them are trained on
    return folder


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_train_the_model_of_one(runs):
    killed_and_resumed(runs / "run", "--data.stream", "yes")
    bounds = trained_alone(runs / "run", runs / "alone")
    for one, other in zip(rows(runs / "run"), rows(runs / "alone"), strict=True):
        for name in ("step", "train_bound", "valid_bound"):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-3)
    found = json.loads((runs / "run" / "result.json").read_text())
    assert found["protocol"]["processes"] == found["protocol"]["devices"] == 2
    np.testing.assert_allclose(found["test_nll"], bounds["test_nll"], rtol=1e-3)


@pytest.mark.slow
def test_a_killed_process_leaves_no_trace_bit_for_bit(runs):
    (runs / "bits").mkdir()
    (runs / "bits" / "images.npy").symlink_to(runs / "images.npy")
    killed_and_resumed(runs / "bits" / "run")
    for code, _, errors in finish(pair(runs / "bits" / "whole")):
        assert code == 0, errors
    assert rows(runs / "bits" / "run") == rows(runs / "bits" / "whole")
    params = [jax.tree.leaves(open_run(runs / "bits" / name).params) for name in ("run", "whole")]
    for one, other in zip(*params, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_both_processes_refuse_what_the_first_one_finds(runs):
    (runs / "taken").mkdir()
    for code, _, errors in finish(pair(runs / "taken")):
        assert code == 2
        assert "taken exists already: give --resume to go on with it, or another --name" in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (Hosts(coordinator="127.0.0.1:1"), "--hosts.processes is missing"),
        (Hosts(processes=2, index=0), "--hosts.coordinator is missing"),
        (Hosts(coordinator="127.0.0.1:1", processes=2, index=2), "--hosts.index 2 must lie between 0 and 1"),
    ],
)
def test_hosts_that_are_not_named_are_refused(given, sentence):
    with pytest.raises(RunError, match=sentence):
        hosts.join(given)


def test_a_variable_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(RunError, match="JAX_PROCESS_ID='first' must be a number"):
        launch.run(plain.KIND, launch.options_of(plain.KIND)(hosts=Hosts(coordinator="127.0.0.1:1")))


def test_one_process_agrees_with_itself():
    assert hosts.is_first()
    assert hosts.decided(lambda: "so") == "so"
    assert hosts.together(lambda: 3) == 3
    assert hosts.any_of(True)
    assert not hosts.any_of(False)
    with pytest.raises(ZeroDivisionError), hosts.watched("start again"):
        _ = 1 / 0


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(OSError(errno.EROFS, os.strerror(errno.EROFS), "runs/a"), "runs/a: Read-only"), (KeyError("a"), "KeyError: 'a'")],
)
def test_what_goes_wrong_in_the_first_process_is_told_to_all(monkeypatch, error, sentence):
    """The others wait for its answer: they get the sentence, and none a silence."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(hosts, "same", lambda tree: tree)

    def decide():
        raise error

    with pytest.raises(RunError, match=sentence):
        hosts.decided(decide)
