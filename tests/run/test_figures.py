import json
import re
import statistics
import subprocess
import sys
from contextlib import contextmanager
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from jaxvae.run.figures import curves, gallery, images, page


@pytest.fixture
def random():
    return np.random.default_rng(0)


def read(path):
    """A figure's pixels, after the checks that every figure must pass."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert round(image.info["dpi"][0]) == 150
        note = json.loads(path.with_name("captions.json").read_text())[path.stem]
        assert (note["title"], note["caption"]) == (image.info["Title"], image.info["Description"])
        assert note["title"]
        drawn = path.with_suffix(".svg").read_text()
        assert not re.search("http|script|<style|#ffffff|#1f2328", drawn)
        ElementTree.fromstring(drawn)
        left, top, width, height = map(float, re.match(r'<svg viewBox="([^"]*)">', drawn)[1].split())
        assert (left, top) == (0, 0)
        assert width / height == pytest.approx(image.width / image.height, rel=1e-3)
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[:, :8] == 255).all(), "the left margin is not white"
    assert (pixels[:, -8:] == 255).all(), "the right margin is not white"
    assert (pixels[-8:] == 255).all(), "the lower margin is not white"
    return pixels, note["caption"]


def block(pixels, colour):
    """Rows and columns of the smallest rectangle that holds a colour."""
    found = (pixels == colour).all(axis=-1)
    assert found.any(), f"there is no pixel of colour {colour}"
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    return (rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)


def flat(count, colour, height=4, width=3):
    return np.broadcast_to(np.array(colour) / 255, (count, height, width, 3)).astype(np.float32)


def test_a_reconstruction_lies_right_below_its_original(tmp_path):
    blue, green = (10, 20, 200), (10, 200, 20)
    originals = np.concatenate([flat(1, blue), flat(1, (255, 255, 255))])
    means = np.concatenate([flat(1, green), flat(1, (255, 255, 255))])
    gallery.reconstructions(tmp_path / "reconstructions.png", originals, means)
    pixels, _ = read(tmp_path / "reconstructions.png")
    (top, middle), across = block(pixels, blue)
    (start, end), below = block(pixels, green)
    assert across == below
    assert 0 < start - middle < 20
    assert middle - top == end - start
    assert (middle - top) / (across[1] - across[0]) == pytest.approx(4 / 3, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 8, 8, 1), (13, 8, 8, 1), (40, 28, 20, 3), (3, 200, 9, 1), (2, 6, 6, 5)])
def test_images_of_every_size_and_number_can_be_drawn(tmp_path, random, shape):
    images = random.random(shape)
    gallery.reconstructions(tmp_path / "pairs.png", images, images[::-1])
    gallery.samples(tmp_path / "samples.png", images, title="Samples", caption="Look.")
    assert read(tmp_path / "pairs.png")[0].std() > 10
    assert read(tmp_path / "samples.png")[0].std() > 10


def test_what_was_binarised_stands_below_what_it_was(tmp_path):
    grey, seen, mean = (10, 20, 200), (10, 200, 20), (200, 20, 10)
    gallery.reconstructions(tmp_path / "x.png", flat(2, seen), flat(2, mean), grey=flat(2, grey))
    pixels, caption = read(tmp_path / "x.png")
    tops = [block(pixels, colour)[0][0] for colour in (grey, seen, mean)]
    assert tops == sorted(tops)
    assert "its pixels drawn as zeros and ones" in caption
    stored = np.full((3, 4, 4, 1), 100, np.uint8)
    zeros = np.zeros((3, 4, 4, 1), np.float32)
    np.testing.assert_allclose(images._binarised_from(stored, zeros), 100 / 255, rtol=1e-6)
    assert images._binarised_from(stored, stored / np.float32(255)) is None, "seen as they are"
    assert images._binarised_from(np.zeros((3, 4, 4, 1), np.uint8), zeros) is None, "zeros and ones already"


def test_a_figure_of_charts_knows_its_panels_and_one_of_pictures_none(tmp_path):
    steps = np.arange(5)
    terms = {"KL": {"train": (steps, steps + 1.0)}, "reconstruction": {"train": (steps, -steps - 9.0)}}
    gallery.learning_curves(tmp_path / "curves.png", {"train": (steps, -steps - 1.0)}, terms=terms)
    gallery.reconstructions(tmp_path / "pairs.png", np.zeros((3, 4, 4, 1)), np.ones((3, 4, 4, 1)))
    notes = json.loads((tmp_path / "captions.json").read_text())
    assert notes["pairs"]["parts"] == []
    with Image.open(tmp_path / "curves.png") as image:
        pixels = np.asarray(image.convert("L")).astype(float)
    inside = np.zeros(pixels.shape, bool)
    for left, top, wide, high in notes["curves"]["parts"]:
        rows = slice(int(top * len(pixels)), int((top + high) * len(pixels)) + 1)
        inside[rows, int(left * pixels.shape[1]) : int((left + wide) * pixels.shape[1]) + 1] = True
    assert len(notes["curves"]["parts"]) == 3
    assert (pixels[~inside] == 255).all(), "every ink lies in a panel"


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        ([-9.0, -8, -7], "The bound on validation data is at its highest at the end"),
        ([-9.0, -7, -7.5], "was highest at 1 of 2, and ends 0.50 nats below. At the end train lies 1.50 nats above"),
        ([-9.0, -5, -5.5], "and ends 0.50 nats below. At the end train lies 0.50 nats below validation."),
        ([-9.0, -5, np.nan], "was highest at 1 of 2, and ends not finite. Every point"),
        ([np.nan] * 3, "Higher is better."),
    ],
)
def test_the_caption_of_the_curves_says_what_they_do(held_out, said, tmp_path):
    bounds = {"train": (np.arange(3), np.array([-9.0, -7, -6])), "validation": (np.arange(3), np.array(held_out))}
    gallery.learning_curves(tmp_path / "curves.png", bounds)
    assert said in json.loads((tmp_path / "captions.json").read_text())["curves"]["caption"]


def test_a_figure_that_stands_alone_carries_its_words_and_one_of_a_report_does_not(tmp_path):
    for name, alone in (("alone", True), ("told", False)):
        with page.page(tmp_path / f"{name}.png", "A title", "A caption.", width=page.WIDE, height=50, alone=alone):
            pass
    with Image.open(tmp_path / "alone.png") as alone, Image.open(tmp_path / "told.png") as told:
        assert np.asarray(alone.convert("L")).min() < 100
        assert np.asarray(told.convert("L")).min() == 255
    assert not (tmp_path / "alone.svg").exists()


def test_samples_fill_rows_from_the_left_in_a_squarish_grid(tmp_path):
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250)]
    images = np.concatenate([flat(1, colour, 8, 8) for colour in colours])
    gallery.samples(tmp_path / "samples.png", images, title="Five", caption="Look.")
    pixels, _ = read(tmp_path / "samples.png")
    places = [block(pixels, colour) for colour in colours]
    corners = [(rows[0], columns[0]) for rows, columns in places]
    assert corners == sorted(corners), "reading order"
    assert len({top for top, _ in corners}) == 3
    assert len({left for _, left in corners}) == 2


def test_what_is_left_out_is_said(tmp_path):
    gallery.samples(tmp_path / "samples.png", np.zeros((300, 2, 2, 1)), title="Many", caption="Look.")
    assert "The first 256 of 300." in read(tmp_path / "samples.png")[1]


@pytest.mark.parametrize("factor", [1, 3, 2.5, 0.5])
def test_a_picture_keeps_its_mean_and_sharp_pixels_at_every_scale(factor):
    board = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((2, 2)))
    rgb, _, _ = page.pictures(board[None, :, :, None].astype(np.float32))
    side = int(16 * factor)
    canvas = page.mosaic(rgb, 1, (side, side), 0)
    assert canvas.shape == (side, side, 4)
    assert (canvas[..., 3] == 255).all()
    assert canvas[..., :3].mean() == pytest.approx(127.5, abs=1)
    if float(2 * factor).is_integer():
        wanted = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((int(2 * factor),) * 2))
        np.testing.assert_array_equal(canvas[..., 0], 255 * wanted)


def test_tables_become_strips_on_one_scale_for_data_and_reconstruction(tmp_path):
    table = np.linspace(-3, 5, 12).reshape(1, 12, 1, 1)
    gallery.reconstructions(tmp_path / "pairs.png", table, np.full_like(table, 5.0))
    pixels, caption = read(tmp_path / "pairs.png")
    assert "12 numbers: dark −3, bright 5." in caption
    ends = [np.rint(255 * np.array(matplotlib.colormaps["viridis"](end)[:3])).astype(int) for end in (0.0, 1.0)]
    (_, data_end), (left, _) = block(pixels, ends[0])
    (_, bottom), across = block(pixels, ends[1])
    assert across[0] == left, "the constant 5 is bright across its whole strip"
    assert bottom > data_end


def test_pixels_that_are_not_finite_are_painted_and_counted(tmp_path):
    images = np.zeros((1, 4, 4, 1))
    images[0, 1, 2] = np.nan
    gallery.samples(tmp_path / "samples.png", images, title="One", caption="Look.")
    pixels, caption = read(tmp_path / "samples.png")
    block(pixels, page.NOT_FINITE)
    assert "Painted orange: 1 of 16 pixels" in caption


def test_manifold_draws_z1_to_the_right_and_z2_upwards(tmp_path):
    grid = np.zeros((3, 3, 4, 4, 3))
    grid[0, 0] = np.array([250, 0, 0]) / 255  # low z1, low z2
    grid[0, 2] = np.array([0, 250, 0]) / 255  # high z1, low z2
    grid[2, 0] = np.array([0, 0, 250]) / 255  # low z1, high z2
    gallery.manifold(tmp_path / "manifold.png", grid, quantile_range=(0.05, 0.95))
    pixels, _ = read(tmp_path / "manifold.png")
    (low_rows, low_columns), (right_rows, right_columns), (up_rows, up_columns) = (
        block(pixels, colour) for colour in [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    )
    assert low_rows == right_rows
    assert low_columns == up_columns
    assert right_columns[0] > low_columns[1]
    assert up_rows[1] < low_rows[0]


def test_manifold_labels_are_the_gaussian_quantiles(tmp_path, monkeypatch):
    seen = {}
    original = gallery.page

    def spy(path, title, caption, **sizes):
        @contextmanager
        def wrapped():
            with original(path, title, caption, **sizes) as place:

                def remember(*box):
                    seen["axes"] = place(*box)
                    return seen["axes"]

                yield remember

        return wrapped()

    monkeypatch.setattr(gallery, "page", spy)
    gallery.manifold(tmp_path / "manifold.png", np.zeros((5, 5, 4, 4, 1)), quantile_range=(0.1, 0.9))
    labels = [text.get_text().replace("−", "-") for text in seen["axes"].get_xticklabels()]
    back = [statistics.NormalDist().cdf(float(label)) for label in labels]
    np.testing.assert_allclose(back, [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.003)
    assert [text.get_text().replace("−", "-") for text in seen["axes"].get_yticklabels()] == labels


@pytest.mark.parametrize("shape", [(1, 1, 8, 8, 1), (4, 4, 28, 20, 3), (3, 3, 7, 1, 1), (40, 40, 28, 28, 1)])
def test_manifolds_of_every_size_can_be_drawn(tmp_path, random, shape):
    gallery.manifold(tmp_path / "manifold.png", random.random(shape), quantile_range=(0.02, 0.98))
    assert read(tmp_path / "manifold.png")[0].std() > 10


@pytest.mark.parametrize(
    ("codes", "labels", "says"),
    [
        (np.random.default_rng(1).normal(size=(200, 1)), np.arange(200) % 3, "How often"),
        (np.random.default_rng(1).normal(size=(200, 2)), np.arange(200) % 10, "posterior mean of one example"),
        (np.random.default_rng(1).normal(size=(200, 5)), None, "of 5 dimensions"),
        (np.random.default_rng(1).normal(size=(200, 5)), np.arange(200) % 50, "50 classes: colours repeat"),
        (np.zeros((50, 8)), np.zeros(50), "All codes coincide"),
        (np.ones((1, 4)), None, "fewer than three"),
        (np.full((4, 3), np.nan), None, "Left out: 4 of 4 codes"),
    ],
)
def test_codes_of_every_kind_can_be_drawn(tmp_path, codes, labels, says):
    gallery.latent_scatter(tmp_path / "latent.png", codes, labels, method="pca")
    assert says in read(tmp_path / "latent.png")[1]


def test_the_plane_is_that_of_largest_variance(random):
    rotation, _ = np.linalg.qr(random.normal(size=(6, 6)))
    codes = random.normal(size=(4000, 6)) * np.array([3.0, 2.0, 0.1, 0.1, 0.1, 0.1]) @ rotation
    points, names, _ = gallery._plane(codes, "pca")
    # The same numbers from the eigenvalues of the covariance.
    eigenvalues = np.linalg.eigvalsh(np.cov(codes.T))[::-1]
    np.testing.assert_allclose(points.var(axis=0, ddof=1), eigenvalues[:2], rtol=1e-6)
    for name, share in zip(names, eigenvalues[:2] / eigenvalues.sum(), strict=True):
        assert f"{share:.0%} of variance" in name


@pytest.mark.slow
def test_tsne_separates_two_distant_clusters(random):
    codes = np.concatenate([random.normal(size=(30, 5)), random.normal(size=(30, 5)) + 30])
    points, _, _ = gallery._plane(codes, "tsne")
    first, second = points[:30], points[30:]
    apart = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    assert apart > 2 * max(first.std(), second.std())


def test_limits_hide_the_first_steps_and_say_so_but_keep_modest_curves_whole():
    steps = np.arange(100)
    squashing = -90.0 - 10 * np.exp(-steps / 20) - 500 * (steps == 0)
    low, high, outside = curves._limits([squashing[None]])
    assert outside
    assert -120 < low < squashing[5:].min()
    assert high > squashing.max()
    low, high, outside = curves._limits([np.linspace(-100.0, -90, 50)[None]])
    assert not outside
    assert low < -100
    assert high > -90


def test_the_band_is_one_standard_error_around_the_mean(random):
    values = random.normal(size=(4, 7))
    axes = Figure().subplots()
    curves._draw_curve(axes, "train", np.arange(7), values, "#000000")
    (band,) = axes.collections
    vertices = band.get_paths()[0].vertices
    for step in range(7):
        column = vertices[vertices[:, 0] == step][:, 1]
        error = np.sqrt(np.sum((values[:, step] - values[:, step].mean()) ** 2) / 3 / 4)
        assert column.min() == pytest.approx(values[:, step].mean() - error)
        assert column.max() == pytest.approx(values[:, step].mean() + error)
    assert len(axes.lines) == 5, "a thin line for each seed and the mean"


def test_curves_of_every_kind_can_be_drawn(tmp_path, random):
    epochs = np.arange(30)
    seeds = -90 + random.normal(size=(3, 30))
    curves = {"train": (epochs, seeds), "$\\x_validation_": (epochs[::5], seeds[0, ::5])}
    terms = {"KL": {"train": (epochs, -seeds)}, "log-likelihood": {"train": (epochs, 2 * seeds)}}
    gallery.learning_curves(tmp_path / "curves.png", curves, terms=terms, step_name="step")
    assert "mean over 3 seeds" in read(tmp_path / "curves.png")[1]
    broken = np.array([-9.0, np.nan, -np.inf])
    gallery.learning_curves(tmp_path / "broken.png", {"train": (np.arange(3), broken)})
    assert "Left out: 2 of 3 values" in read(tmp_path / "broken.png")[1]
    gallery.learning_curves(tmp_path / "one.png", {"train": (np.array([1]), np.array([-5.0]))})
    pixels, _ = read(tmp_path / "one.png")
    block(pixels, (0x00, 0x72, 0xB2))


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda p: gallery.reconstructions(p, np.zeros((2, 4, 4, 1)), np.zeros((3, 4, 4, 1))), "needs its own mean"),
        (lambda p: gallery.samples(p, np.zeros((4, 4)), title="", caption=""), r"must be \[N, H, W, C\]"),
        (lambda p: gallery.samples(p, np.zeros((0, 4, 4, 1)), title="", caption=""), "at least one"),
        (lambda p: gallery.samples(p, np.zeros((1, 4, 4, 1), np.uint8), title="", caption=""), "divide bytes by 255"),
        (lambda p: gallery.manifold(p, np.zeros((2, 3, 4, 4, 1)), quantile_range=(0.1, 0.9)), r"\[n, n, H, W, C\]"),
        (lambda p: gallery.manifold(p, np.zeros((2, 2, 4, 4, 1)), quantile_range=(0, 1)), r"inside \(0, 1\)"),
        (lambda p: gallery.latent_scatter(p, np.zeros((3, 2)), np.zeros(4), method="pca"), r"labels \[N\]"),
        (lambda p: gallery.latent_scatter(p, np.zeros((3, 2)), None, method="umap"), '"pca" or "tsne"'),
        (lambda p: gallery.learning_curves(p, {}), "no curve to draw"),
        (lambda p: gallery.learning_curves(p, {"a": (np.arange(3), np.zeros(4))}), r"steps \[T\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_sentence_and_leaves_no_file(tmp_path, draw, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw(tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "file"
    page.write_atomically(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(page.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        page.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_captions_collect_and_nothing_global_changes(tmp_path):
    before = dict(matplotlib.rcParams)
    (tmp_path / "captions.json").write_text("{half a fi")
    for name in ("a", "b"):
        gallery.samples(tmp_path / f"{name}.png", np.zeros((1, 2, 2, 1)), title=f"Title {name}", caption="ζ & $1.")
    captions = json.loads((tmp_path / "captions.json").read_text(encoding="utf-8"))
    assert {name: note["title"] for name, note in captions.items()} == {"a": "Title a", "b": "Title b"}
    assert captions["a"]["caption"] == "ζ & $1."
    assert dict(matplotlib.rcParams) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg", "captions.json"]


@pytest.mark.slow
def test_pyplot_is_not_imported():
    code = "import sys, jaxvae.run.figures, jaxvae.run.report; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
