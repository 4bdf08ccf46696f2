"""Large arrays of a person's own stay on the disk."""

import tracemalloc

import numpy as np
import pytest
from own_files import of_all

from jaxvae.run.data import DataError
from jaxvae.run.data.loading import load


@pytest.fixture(autouse=True)
def _prepared_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path / "prepared"))


@pytest.fixture
def large(monkeypatch):
    """Arrays above 10 kB are large; NumPy tells tracemalloc what it takes."""
    monkeypatch.setattr("jaxvae.run.data.arrays.LARGE", 10_000)
    monkeypatch.setattr("jaxvae.run.data.own_splits.CHUNK", 100_000)
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_of_ones_own_is_never_in_memory(tmp_path, large, dtype, order):
    images = np.random.default_rng(0).integers(0, 256, (5000, 28, 28), np.uint8)
    images = images if dtype == np.uint8 else (images / dtype(255)).astype(dtype)
    np.save(tmp_path / "own.npy", np.asarray(images, order=order))
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    data = load(str(tmp_path / "own.npy"))
    assert tracemalloc.get_traced_memory()[1] - before < 1_000_000  # of 3.9 million to 31 million bytes
    assert isinstance(data.train.examples, np.memmap)
    assert data.train.examples.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    np.testing.assert_array_equal(of_all(data)[..., 0], images.astype(data.train.examples.dtype))

    kept = list((tmp_path / "prepared").rglob("*.npy"))
    load(str(tmp_path / "own.npy"))
    assert list((tmp_path / "prepared").rglob("*.npy")) == kept  # made once
    np.save(tmp_path / "own.npy", images[:1000])
    np.testing.assert_array_equal(of_all(load(str(tmp_path / "own.npy")))[..., 0], of_all(data)[:1000, ..., 0])


@pytest.mark.parametrize("way", ["static", "threshold"])
def test_large_images_are_binarised_on_disk_and_as_in_memory(tmp_path, large, way, monkeypatch):
    np.save(tmp_path / "own.npy", np.random.default_rng(0).integers(0, 256, (5000, 28, 28), np.uint8))
    data = load(str(tmp_path / "own.npy"), binarize=way)
    assert isinstance(data.train.examples, np.memmap)
    files = {path for path in (tmp_path / "prepared").rglob("*") if path.is_file()}
    assert {path.suffix for path in files} == {".npy"}  # nothing but the shuffled array has a name
    monkeypatch.setattr("jaxvae.run.data.arrays.LARGE", 10**9)
    small = load(str(tmp_path / "own.npy"), binarize=way)
    assert not isinstance(small.train.examples, np.memmap)
    np.testing.assert_array_equal(of_all(small), of_all(data))


def test_without_room_on_the_disk_it_is_a_sentence(tmp_path, large, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    np.save(tmp_path / "own.npy", np.random.default_rng(0).integers(0, 256, (500, 28, 28), np.uint8))
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(DataError, match=r"own-.*.npy cannot be written .*No space left.*: make room"):
        load(str(tmp_path / "own.npy"))
    monkeypatch.undo()
