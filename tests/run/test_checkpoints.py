"""Checkpoints that a disk has damaged are found out and passed over, and never read as if they were good."""

import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.run import RunError
from jaxvae.run.folder import checksums
from jaxvae.run.folder.checkpoints import Checkpoints


def state_at(step):
    """A state that is another at every step."""
    return {"weights": jnp.arange(3000.0) * step, "count": jnp.array(step, jnp.int32)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two checkpoints."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    checkpoints = Checkpoints(folder, keep=2)
    for step in (10, 20):
        checkpoints.save(step, state_at(step))
    checkpoints.close()
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of them, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "checkpoints"))


def restored(folder, *, writable=False):
    checkpoints = Checkpoints(folder, keep=2, writable=writable)
    try:
        state = checkpoints.restore(state_at(0))
    finally:
        checkpoints.close()
    step = int(state["count"])
    np.testing.assert_array_equal(state["weights"], state_at(step)["weights"])
    return step


def flip(path, position):
    """Turn one bit over."""
    content = bytearray(path.read_bytes())
    content[position] ^= 16
    path.write_bytes(content)


def largest(folder):
    """The file that holds the arrays."""
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_flipped_bit_in_any_file_is_found_out_or_does_no_harm(saved, folder):
    generator = np.random.default_rng(0)
    harmless = set()
    for path in sorted(path for path in (saved / "20").rglob("*") if path.is_file()):
        name = path.relative_to(saved)
        flip(folder / name, int(generator.integers(path.stat().st_size)))
        if restored(folder) == 20:
            harmless.add(path.name)
        shutil.copyfile(path, folder / name)
    assert harmless <= {"_CHECKPOINT_METADATA", "commit_success.txt"}  # which hold nothing of the state


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "missing"])
def test_a_damaged_checkpoint_is_passed_over_and_named(damage, folder, capfd):
    path = largest(folder / "20")
    content = path.read_bytes()
    if damage == "flipped":
        flip(path, len(content) // 2)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    before = files_of(folder)
    assert restored(folder) == 10
    printed = capfd.readouterr().err
    assert printed.startswith(f"warning: the checkpoint {folder / '20'} is damaged (")
    assert path.name in printed
    assert printed.endswith("going on from step 10\n")
    assert printed.count("\n") == 1
    assert files_of(folder) == before  # what is open for reading is not written


def test_training_goes_on_from_the_one_before_it_and_saves_its_step_again(folder, capfd):
    flip(largest(folder / "20"), 100)
    assert restored(folder, writable=True) == 10
    assert f"it is {folder / 'damaged-20'} now" in capfd.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"10", "damaged-20"}
    checkpoints = Checkpoints(folder, keep=2)
    for step in (20, 30):
        checkpoints.save(step, state_at(step))
    checkpoints.close()
    assert restored(folder) == 30
    assert {path.name for path in folder.iterdir()} == {"20", "30", "damaged-20"}
    assert capfd.readouterr().err == ""


def test_without_a_good_one_it_is_refused_and_nothing_is_moved(folder):
    for step in ("10", "20"):
        flip(largest(folder / step), 100)
    before = files_of(folder)
    with pytest.raises(RunError, match=r"no checkpoint in .* can be read \(step 20: .*; step 10: .*\); train the run"):
        restored(folder, writable=True)
    assert files_of(folder) == before


def test_checkpoints_of_an_earlier_version_have_no_checksums_and_are_read(folder):
    for path in list(folder.rglob(checksums.NAME)):
        path.unlink()
    assert restored(folder) == 20


def test_every_file_has_its_checksum(folder):
    for step in ("10", "20"):
        place = folder / step / "default"
        checksums.verify(place)
        for path in [path for path in place.rglob("*") if path.is_file()]:
            if path.name not in (checksums.NAME, "commit_success.txt"):
                flip(path, 0)
                with pytest.raises(ValueError, match=f"{path.name} is not as it was written"):
                    checksums.verify(place)
                flip(path, 0)
        checksums.verify(place)


def test_what_a_killed_save_has_left_is_cleared_away(folder):
    shutil.copytree(folder / "20", folder / "30.orbax-checkpoint-tmp")
    assert restored(folder) == 20
    assert (folder / "30.orbax-checkpoint-tmp").exists()
    checkpoints = Checkpoints(folder, keep=2)
    checkpoints.save(40, state_at(40))  # Orbax clears away beside the work, and waits for it before it saves
    checkpoints.close()
    assert restored(folder) == 40
    assert not (folder / "30.orbax-checkpoint-tmp").exists()
