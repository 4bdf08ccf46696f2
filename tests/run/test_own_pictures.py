"""Folders of a person's own pictures: which way up, of which form, and none that is missed without a word."""

import subprocess
import sys

import numpy as np
import pytest
from own_files import IMAGES, REPOSITORY, of_all, paint
from PIL import Image, PngImagePlugin

from jaxvae.run.data import DataError
from jaxvae.run.data.loading import load


@pytest.fixture(autouse=True)
def _prepared_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path / "prepared"))


# --- folders of images: which way up, which files


UPRIGHT = {  # the orientation that EXIF states -> the stored pixels as people see them
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_are_turned_upright(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    own = paint(tmp_path / "own", IMAGES[:10], suffix, exif=exif)
    upright = np.stack([UPRIGHT[orientation](image) for image in IMAGES[:10]])
    for number, image in enumerate(upright):  # beside others, that were held so
        Image.fromarray(np.ascontiguousarray(image)).save(own / f"upright-{number}{suffix}")
    data = load(str(own))
    rows = np.random.RandomState(0).permutation(20)
    images = np.concatenate([data.train.examples, data.valid.examples, data.test.examples])[np.argsort(rows)]
    np.testing.assert_array_equal(images[:10, ..., 0], upright)
    np.testing.assert_array_equal(images[10:, ..., 0], upright)


def test_a_photograph_held_sideways_is_turned_too(tmp_path):
    stored = np.zeros((16, 32), np.uint8)
    stored[:, 16:] = 255  # bright on the right; upright, with orientation 6, below
    exif = Image.Exif()
    exif[0x0112] = 6
    paint(tmp_path / "own", [stored] * 10, ".jpg", exif=exif)
    images = load(str(tmp_path / "own")).train.examples
    assert images.shape == (8, 32, 16, 1)
    assert images[:, :16].max() < 50 < 200 < images[:, 16:].min()


def damaged(file, how):
    """The same file with a fault in it."""
    image = Image.open(file)
    if how == "a long text":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("comment", "x" * 3_000_000, zip=True)
        image.save(file, pnginfo=texts)
    elif how == "a bomb":
        Image.new("1", (20_000, 20_000)).save(file)
    else:
        content = file.read_bytes()
        where = content.index(b"IDAT")
        file.write_bytes(content[: where + 12] + b"\xff" * 8 + content[where + 20 :])


@pytest.mark.parametrize("how", ["a long text", "a bomb", "other bytes"])
def test_whatever_is_wrong_in_a_file_is_told_with_its_name(tmp_path, how):
    own = paint(tmp_path / "own", IMAGES[:10])
    damaged(own / "007.png", how)
    with pytest.raises(DataError, match=r"007.png (cannot be decoded|is not a PNG)"):
        load(str(own))
    assert not list((tmp_path / "prepared").rglob("*.npy"))


def test_at_the_command_line_a_bad_file_is_one_sentence(tmp_path):
    own = paint(tmp_path / "own", IMAGES[:10])
    damaged(own / "007.png", "a long text")
    done = subprocess.run(
        [sys.executable, "-m", "jaxvae", "data", str(own)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"error: {own / '007.png'} cannot be decoded" in done.stderr


def test_an_archive_with_damaged_bytes_is_told_with_its_name(tmp_path):
    place = tmp_path / "own.npz"
    np.savez_compressed(place, images=IMAGES)
    content = place.read_bytes()
    for first in range(60, len(content) - 200, 97):
        place.write_bytes(content[:first] + b"\xff\x00\xff\x00" + content[first + 4 :])
        with pytest.raises(DataError, match=r"own.npz (cannot be read|holds)"):
            load(str(place))


# --- no picture is missed without a word


def test_images_of_every_form_are_read(tmp_path, capfd):
    own = tmp_path / "own"
    forms = [".png", ".webp", ".TIFF", ".tif", ".bmp", ".gif", ".pgm"]
    for suffix in forms:
        paint(own / suffix[1:].lower(), IMAGES[:3], suffix, **({"lossless": True} if suffix == ".webp" else {}))
    data = load(str(own))
    images, labels = of_all(data), np.concatenate([data.train.labels, data.valid.labels, data.test.labels])
    assert sorted(labels) == sorted([*range(7)] * 3)
    for image in images:
        assert any(np.array_equal(image, np.repeat(one[..., None], 3, axis=2)) for one in IMAGES[:3])
    assert "note" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["cats/a.heic", "cats/b.HEIC"], r"holds cats/a.heic and 1 more such, which cannot be read here"),
        (["cats/black/a.png"], r"cats/black holds images below .*cats, where a class is one folder"),
        (["dogs/old/rex/a.png"], r"dogs/old holds images below .*dogs"),
    ],
)
def test_pictures_that_would_be_missed_are_refused(tmp_path, files, sentence):
    own = paint(tmp_path / "own" / "cats", IMAGES[:20]).parent
    paint(own / "dogs", IMAGES[20:])
    for file in files:
        (own / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[0]).save(own / file, "PNG")
    with pytest.raises(DataError, match=sentence):
        load(str(own))


def test_several_pictures_in_one_file_are_refused(tmp_path):
    own = paint(tmp_path / "own", IMAGES[:10])
    pages = [Image.fromarray(image) for image in IMAGES[:3]]
    pages[0].save(own / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"pages.tif holds 3 pictures"):
        load(str(own))


def test_other_files_are_passed_over_and_named_and_hidden_ones_are_not(tmp_path, capfd):
    own = paint(tmp_path / "own", IMAGES[:20])
    for name in (".DS_Store", ".thumbnails/a.heic", "labels.csv", "readme.txt"):
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_text("")
    assert load(str(own)).train.size == 16
    assert f"note: {own} holds labels.csv and 1 more such, passed over as no image" in capfd.readouterr().err
