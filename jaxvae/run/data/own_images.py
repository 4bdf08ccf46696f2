"""Users' own folders of images."""

import hashlib
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jaxvae.run.data import arrays
from jaxvae.run.data.dataset import DataError, Dataset, Split
from jaxvae.run.data.image_folders import WHOLE, labels_of, listed
from jaxvae.run.data.own_splits import NAME, check_split, shuffled
from jaxvae.run.data.pictures import Seen, Wanted, is_deeper_than_read, patches_of, pixels_of, seen

DECODER = 3  # counts up when the same files come out as other arrays


def own_images(path: Path, split: str | None, folder: Path, wanted: Wanted = Wanted()) -> Dataset:  # noqa: B008
    """The images in a folder (PNG, JPEG, WebP, TIFF, BMP, GIF, PNM), all of one size.

    Images lie either in the folder itself, without labels, or in its subfolders, which are the classes 0, 1, ... in
    the order of their names: split "80/10/10" (`own_splits.shuffled`). Where its subfolders are called train, test and,
    if there is one, val, and hold images in either of these ways, the split is the folder's own, "train/valid/test" or
    "train/test". Images are turned upright where their EXIF says how, and have one channel if all are grey, else
    three (RGB). They are uint8; if one has 16 bits, or holds floats in [0, 1], all are float32 in [0, 1]. Hidden files
    are passed over, and so are others that are no pictures, which a note on stderr tells.

    Images of other sizes are taken where they are to be resized, or cut into patches: all patches of an image are
    in one part of the split, and have its class.

    The images are decoded once, into one array below `folder`, in which their paths, sizes and times of change are
    remembered: when a file changes they are decoded again.

    Args:
        path: of the folder.
        split: the split's name, or None.
        folder: where the array is kept.
        wanted: what is made of transparent images, and of images of other sizes.

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

    place = folder / "arrays" / "own" / f"{path.resolve().name}-{_fingerprint(files, wanted)}.npy"
    images, counts = arrays.read(place), arrays.read(place.with_suffix(".counts.npy"))
    if images is None or counts is None:
        try:
            _decode(files, place, wanted)
        except OSError as error:
            raise DataError(
                f"{path} cannot be decoded into {place} ({error}): choose another folder with folder= or JAXVAE_DATA."
            ) from error
        images, counts = arrays.read(place), arrays.read(place.with_suffix(".counts.npy"))
    if images is None or counts is None or len(counts) != len(files) or len(images) != counts.sum():
        raise DataError(f"{place} cannot be read back: delete it and run again.")

    made, first = {}, 0
    for part, length in lengths.items():
        of_files = counts[first : first + length]
        start, own = int(counts[:first].sum()), labels[part]
        made[part] = Split(
            images[start : start + int(of_files.sum())], None if own is None else np.repeat(own, of_files)
        )
        first += length
    return Dataset(path.resolve().name, known, made["train"], made.get("valid"), made["test"])


def _fingerprint(files: list[Path], wanted: Wanted) -> str:
    digest = hashlib.sha256(f"{DECODER} {tuple(wanted)}\n".encode())
    for file in files:
        status = file.stat()
        digest.update(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _decode(files: list[Path], place: Path, wanted: Wanted) -> None:
    """Write all images, and how many examples each file gives."""
    headers = [seen(file, wanted) for file in files]  # the array's shape must be known before it is written
    counts = _counts(files, headers, wanted)
    colour, deep = any(header.colour for header in headers), any(header.deep for header in headers)
    cut = [file for file in files if is_deeper_than_read(file)]
    if cut:
        more = f" and {len(cut) - 1} more have" if len(cut) > 1 else " has"
        print(f"note: {cut[0]}{more} 16 bits in colour, of which the upper 8 are read", file=sys.stderr)
    side = wanted.patches or wanted.resize
    height, width = (side, side) if side else (headers[0].height, headers[0].width)
    shape = (int(counts.sum()), height, width, 3 if colour else 1)
    with arrays.written(place, shape, np.float32 if deep else np.uint8) as images:
        first = 0
        for file, count in zip(
            tqdm(files, f"Decoding {place.stem}", unit=" images", disable=None), counts, strict=True
        ):
            values = patches_of(pixels_of(file, wanted, colour=colour, deep=deep), wanted.patches)
            images[first : first + count] = values
            first += count
    with arrays.written(place.with_suffix(".counts.npy"), counts.shape, counts.dtype) as stored:
        stored[:] = counts


def _counts(files: list[Path], headers: list[Seen], wanted: Wanted) -> np.ndarray:
    """[N] how many examples each file gives."""
    counts = np.ones(len(files), np.int64)
    for number, (file, header) in enumerate(zip(files, headers, strict=True)):
        width, height = (wanted.resize, wanted.resize) if wanted.resize else (header.width, header.height)
        if wanted.patches is not None:
            counts[number] = (width // wanted.patches) * (height // wanted.patches)
            if not counts[number]:
                raise DataError(
                    f"{file} is {width}x{height}, smaller than a patch of {wanted.patches}: give smaller "
                    "--data.patches, or take it out."
                )
        elif (width, height) != (first := _size(headers[0], wanted)):
            raise DataError(
                f"{file} is {width}x{height} and {files[0]} is {first[0]}x{first[1]}: bring all images to one size, by "
                "--data.resize 64 for instance, or cut them by --data.patches 64."
            )
    return counts


def _size(header: Seen, wanted: Wanted) -> tuple[int, int]:
    return (wanted.resize, wanted.resize) if wanted.resize else (header.width, header.height)
