"""Users' own folders of PNG and JPEG images."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from jaxvae.run.data import arrays
from jaxvae.run.data.dataset import DataError, Dataset, Split
from jaxvae.run.data.own_splits import NAME, check_split, shuffled

_SUFFIXES = {".png", ".jpg", ".jpeg"}
_GREY, _COLOUR = {"1", "L"}, {"RGB", "P", "YCbCr", "CMYK"}


def own_images(path: Path, split: str | None, folder: Path) -> Dataset:
    """The PNG and JPEG images in a folder, all of one size, split "80/10/10" (`own_splits.shuffled`).

    Images lie either in the folder itself, without labels, or in its subfolders, which are the classes 0, 1, ... in
    the order of their names. They have one channel if all are grey, else three (RGB). Hidden and other files are passed
    over.

    The images are decoded once, into one array below `folder`, in which their paths, sizes and times of change are
    remembered: when a file changes they are decoded again.

    Args:
        path: of the folder.
        split: the split's name, or None.
        folder: where the array is kept.

    Returns:
        The data set, called by the folder's name, its images memory-mapped.

    Raises:
        DataError: if there are no images, or they differ in size, or one cannot be read.
    """
    check_split(str(path), split, NAME)
    files, labels = _listed(path)
    train, valid, test = shuffled(len(files), str(path))
    order = np.concatenate([train, valid, test])

    place = folder / "arrays" / "own" / f"{path.resolve().name}-{_fingerprint(files)}.npy"
    images = arrays.read(place)
    if images is None:
        try:
            _decode([files[number] for number in order], place)
        except OSError as error:
            raise DataError(
                f"{path} cannot be decoded into {place} ({error}): choose another folder with folder= or JAXVAE_DATA."
            ) from error
        images = arrays.read(place)
    if images is None or len(images) != len(files):
        raise DataError(f"{place} cannot be read back: delete it and run again.")

    def part(start: int, stop: int) -> Split:
        return Split(images[start:stop], None if labels is None else labels[order[start:stop]])

    first, second = len(train), len(train) + len(valid)
    return Dataset(path.resolve().name, NAME, part(0, first), part(first, second), part(second, len(files)))


def _listed(path: Path) -> tuple[list[Path], np.ndarray | None]:
    loose = _images(path)
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    classes = {entry: _images(entry) for entry in folders}
    if not loose and not any(classes.values()):
        raise DataError(f"{path} holds no PNG or JPEG images, nor do its subfolders: name the folder that does.")
    if not any(classes.values()):
        return loose, None
    if loose:
        raise DataError(
            f"{path} holds images beside subfolders with images: move {loose[0].name} and its like into a subfolder, "
            "which is a class."
        )
    classes = {entry: files for entry, files in classes.items() if files}
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(files) for files in classes.values()])
    return [file for files in classes.values() for file in files], labels


def _images(path: Path) -> list[Path]:
    return sorted(
        entry
        for entry in path.iterdir()
        if entry.suffix.lower() in _SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )


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
