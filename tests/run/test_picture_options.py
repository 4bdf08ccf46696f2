"""Images as people have them: transparent ones, 16 bits, other sizes, each taken as is asked for, or refused."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxvae.recipes import plain
from jaxvae.run.data import DataError
from jaxvae.run.data.loading import load
from jaxvae.run.options.images import Images, load_images, protocol_of

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (20, 6, 5), np.uint8)
ORDER = np.random.RandomState(0).permutation(20)


@pytest.fixture(autouse=True)
def _prepared_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXVAE_DATA", str(tmp_path / "prepared"))


def paint(folder, images, suffix=".png", **options):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        made = image if isinstance(image, Image.Image) else Image.fromarray(image)
        made.save(folder / f"{number:03}{suffix}", **options)
    return str(folder)


def of_all(data, each=1):
    """All images in the order of their files."""
    images = np.concatenate([data.train.examples, data.valid.examples, data.test.examples])
    return images.reshape(-1, each, *images.shape[1:])[np.argsort(np.random.RandomState(0).permutation(20))]


# --- what lies behind transparent images


CLEAR = np.concatenate([np.repeat(GREY[..., None], 3, axis=3) // 2, GREY[:, ::-1, :, None]], axis=3)  # RGBA


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
@pytest.mark.parametrize("alpha", ["drop", "white", "black"])
def test_transparent_images_are_taken_as_asked_for(tmp_path, alpha, suffix):
    lossless = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    own = paint(tmp_path / "own", CLEAR, suffix, **lossless)
    with pytest.raises(DataError, match=r"is transparent .*--data.alpha white or black, .*--data.alpha drop"):
        load(own)
    found = of_all(load(own, alpha=alpha))[:, 0].astype(float)
    colour, opacity = CLEAR[..., :3].astype(float), CLEAR[..., 3:] / 255
    behind = {"drop": colour, "white": 255.0, "black": 0.0}[alpha]
    expected = colour if alpha == "drop" else opacity * colour + (1 - opacity) * behind
    np.testing.assert_allclose(found, expected, atol=1.0)  # Pillow's rounding


def test_grey_images_stay_grey_behind_their_transparency(tmp_path):
    pairs = np.stack([GREY, np.full_like(GREY, 255)], axis=3)
    found = load(paint(tmp_path / "own", [Image.fromarray(pair) for pair in pairs]), alpha="white")
    np.testing.assert_array_equal(of_all(found)[:, 0, ..., 0], GREY)
    palette = Image.new("P", (5, 6), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    own = paint(tmp_path / "palette", [palette] * 20, transparency=1)
    with pytest.raises(DataError, match="is transparent"):
        load(own)
    assert np.all(load(own, alpha="white").train.examples == 255)
    np.testing.assert_array_equal(load(own, alpha="drop").train.examples[0, 0, 0], [0, 0, 255])


# --- more than 8 bits


DEEP = RANDOM.integers(0, 65536, (20, 6, 5)).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_are_read_with_all_their_digits(tmp_path, suffix):
    data = load(paint(tmp_path / "own", DEEP, suffix))
    assert data.train.examples.dtype == np.float32
    np.testing.assert_allclose(of_all(data)[:, 0, ..., 0], DEEP / 65535, rtol=1e-6)


def test_images_of_eight_and_of_sixteen_bits_have_one_scale(tmp_path):
    own = tmp_path / "own"
    paint(own, DEEP)
    for number in range(10):
        Image.fromarray(np.repeat(GREY[number, ..., None], 3, axis=2)).save(own / f"{number:03}.png")
    found = of_all(load(str(own)))[:, 0]
    assert found.shape == (20, 6, 5, 3)
    np.testing.assert_allclose(found[:10, ..., 1], GREY[:10] / 255, rtol=1e-6)
    np.testing.assert_allclose(found[10:, ..., 2], DEEP[10:] / 65535, rtol=1e-6)


def test_floats_of_a_tiff_are_pixels_where_they_lie_between_zero_and_one(tmp_path):
    floats = (DEEP / 65535).astype(np.float32)
    np.testing.assert_array_equal(of_all(load(paint(tmp_path / "own", floats, ".tiff")))[:, 0, ..., 0], floats)
    with pytest.raises(DataError, match=r"holds numbers from .*: scale them to \[0, 1\]"):
        load(paint(tmp_path / "other", 3 * floats, ".tiff"))
    with pytest.raises(DataError, match=r"more than 16 bits: save it as 16-bit grey"):
        load(paint(tmp_path / "long", [DEEP[0].astype(np.int32) * 9] * 20, ".tiff"))


def test_sixteen_bits_in_colour_are_said_to_be_cut(tmp_path, capfd):
    own = paint(tmp_path / "own", np.repeat(GREY[..., None], 3, axis=3))
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, axis=1).astype(">u2").tobytes() for row in DEEP[3])
    header = struct.pack(">IIBBBBB", 5, 6, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "own" / "003.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    found = of_all(load(own))
    assert "003.png has 16 bits in colour, of which the upper 8 are read" in capfd.readouterr().err
    np.testing.assert_allclose(found[3, 0, ..., 0], DEEP[3] / 257, atol=1)


# --- other sizes


def test_images_of_other_sizes_are_resized_where_that_is_asked_for(tmp_path):
    own = tmp_path / "own"
    sizes = [(40, 60), (90, 30), (24, 24), (33, 71)] * 5  # height, width
    images = [RANDOM.integers(0, 256, size, np.uint8) for size in sizes]
    paint(own, images)
    with pytest.raises(DataError, match=r"bring all images to one size, by --data.resize 64 .*--data.patches 64"):
        load(str(own))
    data = load(str(own), resize=24)
    expected = [ImageOps.fit(Image.fromarray(image), (24, 24), Image.Resampling.LANCZOS) for image in images]
    np.testing.assert_array_equal(of_all(data)[:, 0, ..., 0], np.stack(expected))
    np.testing.assert_array_equal(of_all(data)[2, 0, ..., 0], images[2])  # of that size already
    # the middle square: of a wide image that is bright at both ends nothing bright is left
    wide = np.full((10, 50), 255, np.uint8)
    wide[:, 15:35] = 9
    assert np.all(load(paint(tmp_path / "wide", [wide] * 20), resize=8).train.examples == 9)


def test_deep_images_are_resized_too_and_stay_between_zero_and_one(tmp_path):
    steps = np.zeros((20, 16, 16), np.uint16)
    steps[:, :, 8:] = 65535
    found = load(paint(tmp_path / "own", steps), resize=12).train.examples
    assert found.shape == (16, 12, 12, 1)
    assert found.min() == 0
    assert found.max() == 1
    assert found.mean() == pytest.approx(0.5, abs=1e-3)


def test_patches_tile_their_image_and_lie_in_its_part_with_its_class(tmp_path):
    own = tmp_path / "own"
    for kind, count in (("bird", 12), ("cat", 8)):
        paint(own / kind, [np.full((9, 13), 20 * (kind == "cat") + n, np.uint8) for n in range(count)])
    data = load(str(own), patches=4)  # two by three of them, and a rest
    assert data.train.examples.shape == (16 * 6, 4, 4, 1)
    parts = [{int(value) for value in split.examples[:, 0, 0, 0]} for split in (data.train, data.valid, data.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 20
    for split in (data.train, data.valid, data.test):
        assert np.all((split.examples[:, 0, 0, 0] >= 20) == (split.labels == 1))
        assert len(split.labels) == len(split.examples)
    one = RANDOM.integers(0, 256, (9, 13), np.uint8)
    found = of_all(load(paint(tmp_path / "one", [one] * 20), patches=4), each=6)[0, ..., 0]
    np.testing.assert_array_equal(
        np.concatenate([np.concatenate(list(row), axis=1) for row in (found[:3], found[3:])]), one[:8, :12]
    )
    with pytest.raises(DataError, match=r"13x9, smaller than a patch of 10: give smaller --data.patches"):
        load(str(own), patches=10)


def test_other_wishes_make_other_arrays_and_the_same_ones_are_decoded_once(tmp_path):
    own = paint(tmp_path / "own", [RANDOM.integers(0, 256, (16, 16), np.uint8) for _ in range(20)])
    first = load(own, resize=8).train.examples
    kept = sorted((tmp_path / "prepared").rglob("*.npy"))
    np.testing.assert_array_equal(load(own, resize=8).train.examples, first)
    assert sorted((tmp_path / "prepared").rglob("*.npy")) == kept
    assert load(own, resize=4).train.examples.shape[1:] == (4, 4, 1)
    assert load(own).train.examples.shape[1:] == (16, 16, 1)


def test_the_options_are_in_the_protocol_and_are_for_folders_alone(tmp_path):
    own = paint(tmp_path / "own", [RANDOM.integers(0, 256, (16, 12), np.uint8) for _ in range(20)])
    config = plain.Config(data=Images(own, resize=8, patches=4))
    assert load_images(config).train.examples.shape == (64, 4, 4, 1)
    said = protocol_of(config)
    assert (said["resize"], said["patches"], "alpha" in said) == (8, 4, False)
    with pytest.raises(DataError, match=r"--data.resize 8 is for a folder of images, and digits is none"):
        load_images(replace(config, data=Images("digits", resize=8)))
