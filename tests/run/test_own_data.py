"""A person's own images: which of them train, and how their axes stand; read as they are meant, or refused."""

import numpy as np
import pytest
from own_files import IMAGES, paint

from jaxvae.run.data import DataError
from jaxvae.run.data.loading import load


@pytest.fixture(autouse=True)
def _prepared_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path / "prepared"))


# --- which images train


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "testing")])
def test_folders_called_train_val_and_test_are_the_split(tmp_path, names):
    for name, images in zip(names, (IMAGES[:20], IMAGES[20:23], IMAGES[23:25]), strict=True):
        paint(tmp_path / "own" / name, images)
    data = load(str(tmp_path / "own"))
    assert data.split == "train/valid/test"
    assert data.train.labels is None
    for split, images in ((data.train, IMAGES[:20]), (data.valid, IMAGES[20:23]), (data.test, IMAGES[23:25])):
        np.testing.assert_array_equal(split.examples[..., 0], images)
    with pytest.raises(DataError, match="choose train/valid/test"):
        load(str(tmp_path / "own"), split="80/10/10")


def test_classes_lie_in_the_parts_and_have_one_number_in_all_of_them(tmp_path):
    """The test set has no `bird`, and its `dog` is still number 2."""
    own = tmp_path / "own"
    for number, kind in enumerate(("bird", "cat", "dog")):
        paint(own / "train" / kind, IMAGES[number * 4 : number * 4 + 4])
    paint(own / "test" / "cat", IMAGES[12:14])
    paint(own / "test" / "dog", IMAGES[14:17])
    data = load(str(own))
    assert (data.split, data.valid) == ("train/test", None)
    np.testing.assert_array_equal(data.train.labels, np.repeat([0, 1, 2], 4))
    np.testing.assert_array_equal(data.test.labels, [1, 1, 2, 2, 2])
    np.testing.assert_array_equal(data.test.examples[..., 0], IMAGES[12:17])


def test_a_class_may_be_called_train(tmp_path):
    for kind in ("bus", "train"):
        paint(tmp_path / "own" / kind, IMAGES[:10])
    data = load(str(tmp_path / "own"))
    assert data.split == "80/10/10"
    assert set(data.train.labels) == {0, 1}


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (("train", "val"), "holds the parts train, val and none called test"),
        (("val", "test"), "and none called train"),
        (("train", "test", "extra"), "holds extra beside the parts train, test"),
        (("train", "test", "."), "holds 000.png beside the parts train, test"),
        (("train", "val", "valid", "test"), "holds val and valid, the same part twice"),
    ],
)
def test_parts_that_are_no_split_are_refused(tmp_path, folders, sentence):
    for folder in folders:
        paint(tmp_path / "own" / folder, IMAGES[:5])
    with pytest.raises(DataError, match=sentence):
        load(str(tmp_path / "own"))


@pytest.mark.parametrize("name", ["val", "validation"])
def test_arrays_called_val_validate(tmp_path, name):
    content = {"train": IMAGES[:20], "test": IMAGES[20:25], name: IMAGES[25:], f"{name}_labels": np.arange(15)}
    np.savez(tmp_path / "own.npz", **content)
    data = load(str(tmp_path / "own.npz"))
    assert data.split == "train/valid/test"
    np.testing.assert_array_equal(data.valid.examples[..., 0], IMAGES[25:])
    np.testing.assert_array_equal(data.valid.labels, np.arange(15))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"images": IMAGES, "label": np.arange(40)}, "holds label beside images, .* call it one of images, labels"),
        ({"x": IMAGES, "images": IMAGES}, "holds x beside images"),
        ({"train": IMAGES, "test": IMAGES, "y_train": np.arange(40)}, "holds y_train beside train, test"),
        ({"train": IMAGES, "test": IMAGES, "val": IMAGES, "valid": IMAGES}, "valid and val, the same part twice"),
    ],
)
def test_an_array_of_another_name_is_not_passed_over(tmp_path, content, sentence):
    np.savez(tmp_path / "own.npz", **content)
    with pytest.raises(DataError, match=sentence):
        load(str(tmp_path / "own.npz"))


# --- the axes of an array


@pytest.mark.parametrize("shape", [(40, 3, 32, 32), (40, 1, 28, 28), (40, 4, 6, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_channels_before_rows_are_refused(tmp_path, shape, dtype):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.save(tmp_path / "own.npy", images if dtype == np.uint8 else images / np.float32(255))
    expected = f"{shape[3]} channels, {shape[1]} pixels high: .*moveaxis.images, 1, -1. where these are {shape[2]} x"
    with pytest.raises(DataError, match=expected):
        load(str(tmp_path / "own.npy"))
    np.savez(tmp_path / "own.npz", train=images, test=images)
    with pytest.raises(DataError, match=f"train in .*own.npz has the shape .*{expected}"):
        load(str(tmp_path / "own.npz"))


@pytest.mark.parametrize(
    "shape", [(40, 32, 32, 3), (40, 8, 8, 13), (40, 3, 32, 1), (40, 64, 1, 6), (40, 4, 4, 64), (40, 3, 3, 3)]
)
def test_axes_that_stand_where_they_belong_are_taken(tmp_path, shape):
    np.save(tmp_path / "own.npy", np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    assert load(str(tmp_path / "own.npy")).train.examples.shape == (32, *shape[1:])


def test_one_colour_image_is_no_set_of_grey_ones(tmp_path):
    np.save(tmp_path / "own.npy", np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8))
    with pytest.raises(DataError, match=r"64 grey images, 3 pixels wide, .* one image in colour: .*\[64, 48, 3, 1\]"):
        load(str(tmp_path / "own.npy"))
