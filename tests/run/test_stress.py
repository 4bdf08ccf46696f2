"""The long half of the faults: fifty kills, full disks of many sizes, and the memory of two hundred epochs."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from live_run import REPOSITORY, STEPS_PER_EPOCH, images_for, kill, rows, start, wait_for

from jaxvae.run.data import DataError
from jaxvae.run.data.loading import load
from jaxvae.run.folder.opening import open_run

SOURCE = Path(os.environ.get("JAXVAE_DATA_SOURCE") or REPOSITORY.parent / "shared" / "data")
pytestmark = pytest.mark.stress
KILLS = 50
EPOCHS = 3 * KILLS  # between two kills lie one or two


def assert_same(left, right):
    """Bit for bit the same parameters, after the same log."""
    a, b = open_run(left), open_run(right)
    assert a.step == b.step
    for one, other in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_array_equal(one, other)
    assert rows(left) == rows(right)


def until_it_ends(process):
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, (out, err)


def test_fifty_kills_at_any_moment_change_no_bit(tmp_path):
    folder, generator = images_for(tmp_path) / "killed", random.Random(0)
    checkpoints = folder / "checkpoints"

    def saved():
        return max([0, *(int(path.name) for path in checkpoints.glob("*") if path.name.isdigit())])

    hits = {"start": 0, "step": 0, "save": 0}
    while sum(hits.values()) < KILLS:
        hit = generator.choices(list(hits), [1, 4, 4])[0]
        before = saved()
        process = start(folder, *(["--resume"] if (folder / "config.json").exists() else []), epochs=EPOCHS)
        if hit == "start":
            time.sleep(generator.uniform(0, 6))
        else:  # once it has got further than the one before it
            wait_for(process, lambda before=before: saved() > before)
        if hit == "step":
            time.sleep(generator.uniform(0, 0.5))
        elif hit == "save":
            wait_for(process, lambda: any(checkpoints.glob("*.orbax-checkpoint-tmp")))
            time.sleep(generator.uniform(0, 0.03))
        assert process.poll() is None, process.communicate()
        assert saved() >= before
        kill(process)
        hits[hit] += 1
    assert min(hits.values()) > 0
    assert 0 < saved() < EPOCHS * STEPS_PER_EPOCH
    until_it_ends(start(folder, "--resume", epochs=EPOCHS))
    until_it_ends(start(tmp_path / "whole", epochs=EPOCHS))
    assert open_run(folder).step == EPOCHS * STEPS_PER_EPOCH
    assert_same(tmp_path / "whole", folder)


@pytest.mark.parametrize("kibibytes", [1100, 1700, 1800, 2700, 2800])
def test_a_full_disk_ends_the_command_with_a_sentence(kibibytes, tmp_path):
    """The disk fills in the first save, in the second, in the log: the process ends, and says so once."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = f"size={kibibytes}k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(disk)], capture_output=True).returncode:
        pytest.skip("no permission to mount")
    try:
        options = [
            "--epochs",
            "30",
            "--evaluation.num-samples",
            "0",
            "--checkpoints.seconds",
            "0",
            "--checkpoints.keep",
            "9",
        ]
        arguments = [sys.executable, "-m", "jaxvae", "train", *options, "--runs", str(disk), "--name", "run"]
        done = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
        assert done.returncode == 2, done
        assert "Traceback" not in done.stderr
        assert done.stderr.count("error: ") == 1
        assert "No space left on device" in done.stderr
        if any(path.name.isdigit() for path in (disk / "run" / "checkpoints").iterdir()):
            assert open_run(disk / "run").step % 12 == 0
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        until_it_ends(subprocess.Popen([*arguments, "--resume"], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True))
        assert open_run(disk / "run").step == 30 * 12
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.skipif(not (SOURCE / "frey_faces").is_dir(), reason="needs the originals of frey_faces")
@pytest.mark.parametrize("kibibytes", [50, 500, 1500, 2000])
def test_a_full_disk_leaves_no_half_of_a_data_set(kibibytes, tmp_path):
    """The disk fills while TensorFlow Datasets prepares it, or while its arrays are written."""
    whole = load("frey_faces", source=SOURCE, folder=tmp_path / "large")
    disk = tmp_path / "disk"
    disk.mkdir()
    size = f"size={kibibytes}k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(disk)], capture_output=True).returncode:
        pytest.skip("no permission to mount")
    try:
        for _ in range(2):
            with pytest.raises(DataError, match=r"frey_faces.* cannot be"):
                load("frey_faces", source=SOURCE, folder=disk)
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        again = load("frey_faces", source=SOURCE, folder=disk)
        np.testing.assert_array_equal(again.train.examples, whole.train.examples)
        np.testing.assert_array_equal(again.test.examples, whole.test.examples)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("seconds", "allowed_megabytes"), [(0, 25), (1000, 5)], ids=["saving always", "not saving"])
def test_memory_is_flat_over_two_hundred_epochs(seconds, allowed_megabytes, tmp_path):
    """Measured: 12 MB where every epoch is saved, of which a state is 0.8; 0.7 MB where none is."""
    arguments = f"--epochs 400 --evaluation.num-samples 0 --checkpoints.seconds {seconds} --runs {tmp_path} --name run"
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxvae", "train", *arguments.split()], cwd=REPOSITORY, stderr=subprocess.DEVNULL
    )

    def megabytes_at(epoch):
        wait_for(process, lambda: len(rows(tmp_path / "run")) >= epoch)
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    first, last = megabytes_at(50), megabytes_at(250)
    kill(process)
    assert last - first < allowed_megabytes
