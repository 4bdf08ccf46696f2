"""A person's own images and tables, in every form that people have them in: read as they are meant, or refused."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from jaxvae.recipes import class_conditional, few_labels, plain
from jaxvae.run import RunError, launch, measures, refusals
from jaxvae.run.data import DataError
from jaxvae.run.data.columns import read_text, table_of
from jaxvae.run.data.loading import load
from jaxvae.run.figures import history
from jaxvae.run.folder import logs
from jaxvae.run.options import likelihoods, networks
from jaxvae.run.options.images import Images
from jaxvae.run.settings import Evaluation

REPOSITORY = Path(__file__).parents[2]
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 5), np.uint8)


@pytest.fixture(autouse=True)
def _prepared_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path / "prepared"))


def paint(folder, images, suffix=".png", **options):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}{suffix}", **options)
    return folder


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


# --- large arrays stay on disk


@pytest.fixture
def large(monkeypatch):
    """Arrays above 10 kB are large; NumPy tells tracemalloc what it takes."""
    monkeypatch.setattr("jaxvae.run.data.arrays.LARGE", 10_000)
    monkeypatch.setattr("jaxvae.run.data.own_splits.CHUNK", 100_000)
    tracemalloc.start()
    yield
    tracemalloc.stop()


def of_all(data):
    """All images in the order of the file."""
    images = np.concatenate([data.train.examples, data.valid.examples, data.test.examples])
    return images[np.argsort(np.random.RandomState(0).permutation(len(images)))]


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


# --- numbers that there are none of: null, for which every reader of JSON has a word


def strictly(text):
    """JSON as everyone but Python reads it."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def trained_on(tmp_path, **content):
    np.savez(tmp_path / "own.npz", **content)
    options = launch.options_of(plain.KIND)(
        model=plain.Model(networks.Small(width=8), latent=2),
        data=Images(str(tmp_path / "own.npz")),
        evaluation=Evaluation(num_samples=3),
        batch_size=10,
        epochs=1,
        runs=tmp_path,
        name="run",
    )
    with jax.numpy_dtype_promotion("standard"):
        assert launch.run(plain.KIND, options) == 0
    return tmp_path / "run"


def test_one_test_example_has_no_standard_error(tmp_path, capfd):
    folder = trained_on(tmp_path, train=IMAGES, valid=IMAGES[:1], test=IMAGES[:1])
    for file in folder.rglob("*.json*"):
        for text in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            strictly(text)
    result = strictly((folder / "result.json").read_text())
    assert np.isfinite(result["test_elbo"])
    assert result["test_elbo_standard_error"] is None
    out = capfd.readouterr().out
    assert "ELBO" in out
    assert "nan" not in out + (folder / "report.html").read_text()


def test_a_number_that_is_not_finite_is_null_and_named_so(tmp_path, capfd, monkeypatch):
    """An example whose estimate overflows leaves a run with its report and not with a traceback at its end."""
    of_terms = measures.mean_terms

    def overflowing(*arguments, **more):
        found = of_terms(*arguments, **more)
        return jax.tree.map(lambda values: values * np.inf, found)

    monkeypatch.setattr(measures, "mean_terms", overflowing)
    folder = trained_on(tmp_path, train=IMAGES, test=IMAGES[:5])
    assert strictly((folder / "result.json").read_text())["test_elbo"] is None
    assert "not finite" in (folder / "report.html").read_text()
    assert "± nan" not in capfd.readouterr().out


def test_the_log_holds_null_too_and_is_drawn(tmp_path):
    log = logs.Log(tmp_path)
    log.write({"step": 1, "epoch": 0.5, "train_bound": [-3.0, float("nan")], "valid_bound": float("-inf")})
    log.write({"step": 2, "epoch": 1.0, "train_bound": [-2.0, -1.0], "valid_bound": -4.0})
    log.close()
    rows = [strictly(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["train_bound"] == [-3.0, None]
    assert rows[0]["valid_bound"] is None
    (tmp_path / "figures").mkdir()
    history.draw(tmp_path)
    assert (tmp_path / "figures" / "curves.png").exists()


# --- tables, and values that are none


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1,2\n3_4,5\n", "line 2, column 1: '3_4' is no number; write a decimal point"),
        ("3_4,5_6\n1,2\n", "line 1, column 1: '3_4' is no number; write a decimal point"),
        ("a;b\n1,5;2\n", "line 2, column 'a': '1,5' is no number; write a decimal point"),
        ("1,5;2,5\n3,5;4,5\n", "line 1, column 1: '1,5' is no number; write a decimal point"),
        ('a,b\n1,"1,234.5"\n', "'1,234.5' is no number; write a decimal point, and nothing between thousands: 1234.5"),
        ("a,b\n1,1 234\n", "'1 234' is no number; write a decimal point"),
        ("a,b\n1,\u0663\n", "'\u0663' is no number; write"),
        ("a,b\n1,2\n3,red\n", "line 3, column 'b': 'red' is no number, and line 2 has '2' there; .* --data.missing"),
        ("a,b\n1,-inf\n", "'-inf' is not finite"),
        ("a,b\n1,1e200\n", r"'1e200' is above 1e\+100, .* give the column in larger units"),
        ("a,b\n1,1e999\n", r"'1e999' is above 1e\+100"),
    ],
)
def test_what_is_no_number_says_what_to_write(tmp_path, text, sentence):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=sentence):
        table_of(read_text(tmp_path / "table.csv"))


def test_numbers_as_people_and_programs_write_them_are_read(tmp_path):
    (tmp_path / "table.csv").write_text("1, -2. ,+.5\n1e3,-1.5E-3,007\n")
    columns = table_of(read_text(tmp_path / "table.csv")).columns
    np.testing.assert_array_equal(np.stack(columns, axis=1), [[1, -2, 0.5], [1000, -0.0015, 7]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_not_to_be_scaled(tmp_path, value):
    images = IMAGES / 255.0
    images[3, 2, 1] = value
    np.save(tmp_path / "own.npy", images)
    with pytest.raises(DataError, match="put a number into every pixel that has none") as refused:
        load(str(tmp_path / "own.npy"))
    assert "scale" not in str(refused.value)


@pytest.mark.parametrize("recipe", [class_conditional, few_labels])
def test_labels_that_are_no_class_are_refused_with_what_helps(tmp_path, recipe):
    def begun(labels):
        np.savez(tmp_path / "own.npz", images=IMAGES, labels=labels)
        more = {} if recipe is class_conditional else {"labels": 2}
        model = recipe.Model(classes=2, likelihood=likelihoods.Bernoulli(), **more)
        config = recipe.Config(model=model, data=Images(str(tmp_path / "own.npz")), batch_size=4)
        return refusals.recipe_of(recipe.KIND, config, recipe.KIND.data(config))

    with pytest.raises(RunError, match="run from -1 to 1, and a class is a number from 0 on: give them such numbers"):
        begun(np.arange(40) % 3 - 1)
    with pytest.raises(RunError, match=r"run from 0 to 2, .*give --model.classes 3"):
        begun(np.arange(40) % 3)
    with jax.numpy_dtype_promotion("standard"):
        begun(np.arange(40) % 2)


# --- a run that is opened in a program of one's own


def test_a_run_is_loaded_without_a_warning(tmp_path):
    folder = trained_on(tmp_path, train=IMAGES, test=IMAGES[:5])
    code = (
        "import logging, sys, jaxvae\n"
        "model, params = jaxvae.load(sys.argv[1])\n"
        "logging.getLogger('absl').warning('absl speaks on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr.splitlines()) == ("", ["WARNING:absl:absl speaks on"])
