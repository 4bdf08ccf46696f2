"""Users' own folders of images."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from jaxvae.run.data import arrays
from jaxvae.run.data.dataset import DataError, Dataset, Split
from jaxvae.run.data.image_folders import FORMS, WHOLE, labels_of, listed
from jaxvae.run.data.own_splits import NAME, check_split, shuffled

DECODER = 2  # counts up when the same files come out as other arrays
SIDEWAYS = (5, 6, 7, 8)  # of the eight orientations of EXIF
_GREY, _COLOUR = {"1", "L"}, {"RGB", "P", "YCbCr", "CMYK"}


def own_images(path: Path, split: str | None, folder: Path) -> Dataset:
    """The images in a folder (PNG, JPEG, WebP, TIFF, BMP, GIF, PNM), all of one size.

    Images lie either in the folder itself, without labels, or in its subfolders, which are the classes 0, 1, ... in
    the order of their names: split "80/10/10" (`own_splits.shuffled`). Where its subfolders are called train, test and,
    if there is one, val, and hold images in either of these ways, the split is the folder's own, "train/valid/test" or
    "train/test". Images are turned upright where their EXIF says how, and have one channel if all are grey, else
    three (RGB). Hidden files are passed over, and so are others that are no pictures, which a note on stderr tells.

    The images are decoded once, into one array below `folder`, in which their paths, sizes and times of change are
    remembered: when a file changes they are decoded again.

    Args:
        path: of the folder.
        split: the split's name, or None.
        folder: where the array is kept.

    Returns:
        The data set, called by the folder's name, its images memory-mapped.

    Raises:
        DataError: if there are no images, or they differ in size, or one cannot be read, or it is not clear which
            of them train.
    """
    parts = listed(path)
    labels = labels_of(parts)
    known = NAME if WHOLE in parts else "/".join(parts)
    check_split(str(path), split, known)
    files = [file for part in parts.values() for file in part.files]
    if WHOLE in parts:
        rows = dict(zip(("train", "valid", "test"), shuffled(len(files), str(path)), strict=True))
        files = [files[number] for order in rows.values() for number in order]
        whole = labels[WHOLE]
        labels = {part: None if whole is None else whole[order] for part, order in rows.items()}
        lengths = {part: len(order) for part, order in rows.items()}
    else:
        lengths = {part: len(found.files) for part, found in parts.items()}

    place = folder / "arrays" / "own" / f"{path.resolve().name}-{_fingerprint(files)}.npy"
    images = arrays.read(place)
    if images is None:
        try:
            _decode(files, place)
        except OSError as error:
            raise DataError(
                f"{path} cannot be decoded into {place} ({error}): choose another folder with folder= or JAXVAE_DATA."
            ) from error
        images = arrays.read(place)
    if images is None or len(images) != len(files):
        raise DataError(f"{place} cannot be read back: delete it and run again.")

    ends = dict(zip(lengths, np.cumsum(list(lengths.values())).tolist(), strict=True))
    made = {part: Split(images[end - lengths[part] : end], labels[part]) for part, end in ends.items()}
    return Dataset(path.resolve().name, known, made["train"], made.get("valid"), made["test"])


def _fingerprint(files: list[Path]) -> str:
    digest = hashlib.sha256(f"{DECODER}\n".encode())
    for file in files:
        status = file.stat()
        digest.update(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _decode(files: list[Path], place: Path) -> None:
    with _opened(files[0]) as image:
        size = _upright_size(image)
    channels = "L"
    for file in files:  # headers only: the array's shape must be known before it is written
        with _opened(file) as image:
            found = _upright_size(image)
            if found != size:
                raise DataError(
                    f"{file} is {found[0]}x{found[1]} and {files[0]} is {size[0]}x{size[1]}: bring all images to one "
                    "size."
                )
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a JPEG with the camera's own preview
                raise DataError(f"{file} holds {frames} pictures: save each in a file of its own.")
            if image.mode not in _GREY | _COLOUR or "transparency" in image.info:
                raise DataError(
                    f"{file} is of the kind {image.mode}, transparent or deeper than 8 bits: save it as 8-bit grey or "
                    "RGB."
                )
            if image.mode in _COLOUR:
                channels = "RGB"
    width, height = size
    shape = (len(files), height, width, len(channels))
    with arrays.written(place, shape, np.uint8) as images:
        for number, file in enumerate(tqdm(files, f"Decoding {place.stem}", unit=" images", disable=None)):
            with _opened(file) as image:
                values = np.asarray(_upright(image).convert(channels))
            images[number] = values.reshape(shape[1:])


def _upright(image: Image.Image) -> Image.Image:
    """The image as people see it: a camera that is held sideways writes its pixels sideways, and says so."""
    image.load()  # Pillow turns a TIFF by itself, here
    return ImageOps.exif_transpose(image)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of the upright image, from its header."""
    if image.format == "TIFF":
        image.load()
    width, height = image.size
    return (height, width) if image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS else (width, height)


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """An image file, to be read; whatever goes wrong in it is told with its name."""
    try:
        # By an open file: by a path, Pillow maps a TIFF that lies sideways into memory row for column.
        with file.open("rb") as opened, Image.open(opened) as image:
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
