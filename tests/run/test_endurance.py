"""Faults of the world around a training run: nothing is lost, and one sentence says what happened.

Runs that are killed are in test_resume.py, damaged checkpoints in test_checkpoints.py, damaged and missing data in
test_data.py; test_stress.py goes on for minutes.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import jax
import numpy as np
import pytest
from live_run import images_for, kill, rows, start, wait_for
from rows import first

import jaxvae
from jaxvae.cli import main
from jaxvae.run import RunError
from jaxvae.run.data import arrays
from jaxvae.run.figures import gallery
from jaxvae.run.folder import lock
from jaxvae.run.folder.logs import Log
from jaxvae.run.folder.opening import open_run

EPOCHS = 4  # of twelve steps


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Optax itself mixes Python floats with integer counts, which strict promotion forbids."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def train(monkeypatch, capfd):
    """The command, in this process and without pictures: its exit code and what it says on stderr."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # the command sets its own
    for picture in ("reconstructions", "samples", "latent_scatter"):
        monkeypatch.setattr(gallery, picture, lambda *arguments, **options: None)

    def run(folder, *more):
        arguments = f"--epochs {EPOCHS} --evaluation.num-samples 0 --checkpoints.seconds 0".split()
        arguments += ["--runs", str(folder.parent), "--name", folder.name, *more]
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["train", *arguments])
        return ended.value.code, said(capfd.readouterr().err)

    return run


def said(err):
    """What stderr holds beside the progress bar."""
    lines = [line for line in err.replace("\r", "\n").splitlines() if line and not line.startswith("training:")]
    assert not any("Traceback" in line for line in lines), err
    return lines


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def whole(runs, train):
    """The run that no fault meets."""
    if not (runs / "whole").exists():
        assert train(runs / "whole") == (0, [])
    return runs / "whole"


@pytest.fixture
def stopped(runs, train, monkeypatch):
    """The same run, stopped half-way by SIGTERM, with two checkpoints."""
    folder, write = runs / f"stopped-{random.getrandbits(40)}", Log.write

    def stopping(log, row):
        write(log, row)
        if row["step"] == 24:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Log, "write", stopping)
    assert train(folder) == (128 + signal.SIGTERM, [])
    monkeypatch.setattr(Log, "write", write)
    assert steps_in(folder) == {12, 24}
    return folder


def steps_in(folder):
    return {int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit()}


def assert_same(left, right):
    """Bit for bit the same parameters, after the same log."""
    a, b = open_run(left), open_run(right)
    assert a.step == b.step
    for one, other in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_array_equal(one, other)
    assert rows(left) == rows(right)


# --- disks


@pytest.fixture
def mount(tmp_path):
    """Mounts a folder of its own, with the options of `mount`; a test that may not is skipped."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mounted(*options):
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no permission to mount: {done.stderr.strip()}")
        return folder

    if shutil.which("mount") is None or sys.platform != "linux":
        pytest.skip("needs the `mount` of Linux")
    yield mounted
    while subprocess.run(["umount", "--lazy", str(folder)], capture_output=True).returncode == 0:
        pass


@pytest.mark.slow
def test_a_disk_that_is_full_costs_no_checkpoint(mount, train, whole):
    disk = mount("-t", "tmpfs", "-o", "size=1600k", "none")  # room for one checkpoint
    code, lines = train(disk / "run")
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert "No space left on device" in lines[0]
    assert "make room" in lines[0]
    assert steps_in(disk / "run") == {12}
    assert train(disk / "run", "--resume")[0] == 2  # nothing has changed
    assert steps_in(disk / "run") == {12}
    mount("-o", "remount,size=16m")
    assert train(disk / "run", "--resume") == (0, [])
    assert_same(whole, disk / "run")


def test_data_that_does_not_fit_on_the_disk_is_not_taken_for_whole(mount):
    disk = mount("-t", "tmpfs", "-o", "size=1m", "none")
    place = disk / "arrays" / "large.npy"

    def write(size):
        with arrays.written(place, (size,), np.uint8) as array:
            array[:] = 7

    with pytest.raises(OSError, match="No space left"):  # and not SIGBUS, the end of a process that fills a memory map
        write(2_000_000)
    assert arrays.read(place) is None
    assert list(place.parent.iterdir()) == []
    write(500_000)
    assert np.all(arrays.read(place) == 7)


def test_a_folder_that_cannot_be_written_gets_a_sentence_and_is_read(mount, train, stopped):
    runs = mount("--bind", str(stopped.parent))
    mount("-o", "remount,ro,bind")
    for folder, more in ((runs / stopped.name, ["--resume"]), (runs / "new", [])):
        code, lines = train(folder, *more)
        assert code == 2
        assert len(lines) == 1
        assert "Read-only file system: choose a folder that can be written to" in lines[0]
    assert not (runs / "new").exists()
    assert open_run(runs / stopped.name).step == 24


def test_planted_nans_are_refused_before_a_folder_is_made(train, tmp_path):
    images = np.random.default_rng(0).uniform(size=(500, 6, 5))
    images[321, 4, 3] = np.nan
    np.save(tmp_path / "images.npy", images)
    code, lines = train(tmp_path / "run", "--data", str(tmp_path / "images.npy"))
    assert code == 2
    assert len(lines) == 1
    assert "values from nan" in lines[0]
    assert not (tmp_path / "run").exists()


# --- the clock


def test_a_clock_that_is_set_back_changes_nothing(train, whole, stopped, monkeypatch):
    month, now = 30 * 24 * 3600, time.time
    for path in stopped.rglob("*"):
        os.utime(path, (now() + month, now() + month))
    monkeypatch.setattr(time, "time", lambda: now() - month)
    assert train(stopped, "--resume") == (0, [])
    assert steps_in(stopped) == {36, 48}
    assert_same(whole, stopped)


# --- damaged checkpoints


@pytest.mark.parametrize("damage", first(1, ["flipped", "cut"]))
def test_a_run_goes_on_from_its_last_good_checkpoint(damage, train, whole, stopped, capfd):
    newest = stopped / "checkpoints" / "24"
    path = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content if damage == "flipped" else content[: len(content) // 3])

    before = sorted(stopped.rglob("*"))
    assert jaxvae.load(stopped)
    assert "going on from step 12" in capfd.readouterr().err
    assert sorted(stopped.rglob("*")) == before

    code, lines = train(stopped, "--resume")
    assert code == 0
    assert len(lines) == 1
    assert f"warning: the checkpoint {newest} is damaged" in lines[0]
    assert_same(whole, stopped)


# --- two processes


@pytest.mark.slow
def test_of_two_runs_in_one_folder_one_is_refused(train, tmp_path):
    folder = images_for(tmp_path) / "run"
    both = [start(folder, epochs=300) for _ in range(2)]
    with ExitStack() as ended:
        for process in both:
            ended.callback(process.kill)
        _one_is_refused(folder, both, train)


def _one_is_refused(folder, both, train):
    while all(process.poll() is None for process in both):
        time.sleep(0.05)
    refused, living = sorted(both, key=lambda process: process.poll() is None)
    err = refused.communicate()[1]
    assert refused.returncode == 2, err
    assert any(words in err for words in ("another process is writing", "by another process", "exists already")), err
    said(err)

    wait_for(living, lambda: len(rows(folder)) >= 1)
    code, lines = train(folder, "--resume", "--epochs", "300", "--data", str(folder.parent / "images.npy"))
    assert code == 2
    assert len(lines) == 1
    assert "another process is writing to" in lines[0]
    with pytest.raises(RunError, match=f"to {folder}: wait until it has ended"), lock.alone_in(folder):
        pass
    assert living.poll() is None
    kill(living)
    with lock.alone_in(folder):  # the dead hold no locks
        pass


def test_a_process_killed_before_it_began_the_run_leaves_no_run(train, tmp_path):
    (tmp_path / "run").mkdir()
    for name in (lock.NAME, "config.json.tmp"):
        (tmp_path / "run" / name).write_text("")
    code, lines = train(tmp_path / "run", "--resume")
    assert (code, len(lines)) == (2, 1)
    assert "there is no run" in lines[0]
    assert train(tmp_path / "run", "--epochs", "1") == (0, [])


def test_a_file_system_without_locks_is_no_reason_to_stop(tmp_path, monkeypatch):
    import errno
    import fcntl

    def unlockable(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unlockable)
    with lock.alone_in(tmp_path):
        pass
