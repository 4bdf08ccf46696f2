"""Users' own folders of PNG and JPEG images."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from jaxvae.run.data import arrays
from jaxvae.run.data.dataset import DataError, Dataset, Split
from jaxvae.run.data.image_folders import WHOLE, labels_of, listed
from jaxvae.run.data.own_splits import NAME, check_split, shuffled

_GREY, _COLOUR = {"1", "L"}, {"RGB", "P", "YCbCr", "CMYK"}


def own_images(path: Path, split: str | None, folder: Path) -> Dataset:
    """The PNG and JPEG images in a folder, all of one size.

    Images lie either in the folder itself, without labels, or in its subfolders, which are the classes 0, 1, ... in
    the order of their names: split "80/10/10" (`own_splits.shuffled`). Where its subfolders are called train, test and,
    if there is one, val, and hold images in either of these ways, the split is the folder's own, "train/valid/test" or
    "train/test". Images have one channel if all are grey, else three (RGB). Hidden and other files are passed over.

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
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _decode(files: list[Path], place: Path) -> None:
    with _opened(files[0]) as image:
        size = image.size
    channels = "L"
    for file in files:  # headers only: the array's shape must be known before it is written
        with _opened(file) as image:
            if image.size != size:
                raise DataError(
                    f"{file} is {image.size[0]}x{image.size[1]} and {files[0]} is {size[0]}x{size[1]}: "
                    "bring all images to one size."
                )
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
                try:
                    values = np.asarray(image.convert(channels))
                except (OSError, SyntaxError) as error:
                    raise DataError(f"{file} cannot be decoded ({error}): replace it or take it out.") from error
                images[number] = values.reshape(shape[1:])


def _opened(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} is not a PNG or JPEG image ({error}): replace it or take it out.") from error
