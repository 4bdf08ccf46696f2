"""One image file as pixels: which way up, how deep, what lies behind its transparent parts, of which size."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from jaxvae.run.data.dataset import DataError
from jaxvae.run.data.image_folders import FORMS

SIDEWAYS = (5, 6, 7, 8)  # of the eight orientations of EXIF
GREY, COLOUR = {"1", "L"}, {"RGB", "P", "YCbCr", "CMYK"}
DEEP = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}  # grey, of more than 8 bits
CLEAR = {"LA", "La", "PA", "RGBA", "RGBa"}
DEEPEST = 65535
BEHIND = {"white": 255, "black": 0}


class Wanted(NamedTuple):
    """What is made of image files, where they are not taken as they are."""

    alpha: str | None = None  # "drop", "white" or "black"; None refuses transparent images
    resize: int | None = None  # the shorter side is brought to it, and the middle square is cut out
    patches: int | None = None  # squares of this size, side by side from the top left, each an example


class Seen(NamedTuple):
    """What a file holds, by its header."""

    width: int  # upright
    height: int
    colour: bool
    deep: bool  # more than 8 bits


def seen(file: Path, wanted: Wanted) -> Seen:
    """Look at the header of a file.

    Args:
        file: an image.
        wanted: of it.

    Returns:
        What it holds.

    Raises:
        DataError: it cannot be read, or not as it is wanted.
    """
    with opened(file) as image:
        if image.format == "TIFF":
            image.load()  # Pillow turns a TIFF by itself, here
        width, height = image.size
        if image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS:
            width, height = height, width
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # a JPEG with the camera's own preview
            raise DataError(f"{file} holds {frames} pictures: save each in a file of its own.")
        clear = image.mode in CLEAR or "transparency" in image.info
        if clear and wanted.alpha is None:
            raise DataError(
                f"{file} is transparent ({image.mode}): say what lies behind it by --data.alpha white or black, or "
                "take its colours alone by --data.alpha drop."
            )
        if image.mode not in GREY | COLOUR | DEEP | CLEAR or (clear and image.mode in DEEP):
            raise DataError(f"{file} is of the kind {image.mode}: save it as grey or RGB, of 8 or 16 bits.")
        if image.mode in ("I", "F") and image.format not in ("PNG", "TIFF", "PPM"):
            raise DataError(f"{file} is of the kind {image.mode}: save it as grey or RGB, of 8 or 16 bits.")
        colour = image.mode in COLOUR | {"PA", "RGBA", "RGBa"}
        return Seen(width, height, colour, image.mode in DEEP)


def is_deeper_than_read(file: Path) -> bool:
    """Whether it has 16 bits a colour, of which Pillow reads the upper 8."""
    with opened(file) as image:
        tiles = getattr(image, "tile", None) or []
        bits = getattr(image, "tag_v2", {}).get(258, (8,))  # of a TIFF's samples
        return image.mode not in DEEP and (any(";16" in str(tile[3]) for tile in tiles) or max(bits) > 8)


def pixels_of(file: Path, wanted: Wanted, *, colour: bool, deep: bool) -> np.ndarray:
    """Decode a file.

    Args:
        file: an image.
        wanted: of it.
        colour: three channels, else one.
        deep: float32 in [0, 1], else uint8.

    Returns:
        [H, W, C], of the resized image where that is wanted, before it is cut into patches.

    Raises:
        DataError: it cannot be decoded, or its numbers lie outside of [0, 1].
    """
    with opened(file) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode in DEEP:
            values = _fitted(_unit(file, upright), wanted)[..., None]
            return np.repeat(values, 3, axis=2) if colour else values
        plain = _opaque(upright, wanted.alpha).convert("RGB" if colour else "L")
        if wanted.resize is not None:
            plain = ImageOps.fit(plain, (wanted.resize, wanted.resize), Image.Resampling.LANCZOS)
        values = np.asarray(plain).reshape(plain.height, plain.width, -1)
        return values.astype(np.float32) / np.float32(255) if deep else values


def patches_of(values: np.ndarray, size: int | None) -> np.ndarray:
    """Squares side by side from the top left; what is left over at the right and below is not taken.

    Args:
        values: [H, W, C].
        size: of a patch; None for the whole image.

    Returns:
        [P, size, size, C], row by row.

    Example:
        >>> patches_of(np.arange(24).reshape(4, 6, 1), 2)[1].ravel().tolist()
        [2, 3, 8, 9]
    """
    if size is None:
        return values[None]
    rows, columns, channels = values.shape[0] // size, values.shape[1] // size, values.shape[2]
    cut = values[: rows * size, : columns * size].reshape(rows, size, columns, size, channels)
    return cut.transpose(0, 2, 1, 3, 4).reshape(rows * columns, size, size, channels)


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """An image file, to be read; whatever goes wrong in it is told with its name."""
    try:
        # By an open file: by a path, Pillow maps a TIFF that lies sideways into memory row for column.
        with file.open("rb") as content, Image.open(content) as image:
            yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{file} is not a PNG or JPEG image nor another ({FORMS}): {error}. Replace it or take it out."
        ) from error
    except Exception as error:  # Pillow has a dozen kinds for what can be wrong in a file
        raise DataError(
            f"{file} cannot be decoded ({type(error).__name__}: {error}): save it anew, without the texts and the "
            "previews that a program has put into it, or take it out."
        ) from error


def _opaque(image: Image.Image, alpha: str | None) -> Image.Image:
    """The image in front of a background, or its colours where they are transparent too."""
    if image.mode not in CLEAR and "transparency" not in image.info:
        return image
    grey = image.mode in ("L", "1", "LA", "La")
    clear = image.convert("RGBA")
    if alpha in BEHIND:
        behind = Image.new("RGBA", clear.size, (BEHIND[alpha],) * 3 + (255,))
        clear = Image.alpha_composite(behind, clear)
    opaque = clear.convert("RGB")
    return opaque.convert("L") if grey else opaque


def _unit(file: Path, image: Image.Image) -> np.ndarray:
    """[H, W] float32 in [0, 1] of an image of more than 8 bits."""
    values = np.asarray(image)
    if image.mode != "F":
        if values.min() < 0 or values.max() > DEEPEST:
            raise DataError(
                f"{file} holds whole numbers from {values.min()} to {values.max()}, more than 16 bits: save it as "
                "16-bit grey."
            )
        return values.astype(np.float32) / np.float32(DEEPEST)
    if not (values.min() >= 0 and values.max() <= 1):
        raise DataError(f"{file} holds numbers from {values.min()} to {values.max()}: scale them to [0, 1].")
    return values.astype(np.float32)


def _fitted(values: np.ndarray, wanted: Wanted) -> np.ndarray:
    if wanted.resize is None:
        return values
    size = (wanted.resize, wanted.resize)
    return np.clip(np.asarray(ImageOps.fit(Image.fromarray(values), size, Image.Resampling.LANCZOS)), 0, 1)
