"""`load`: any data set, by name."""

import difflib
import os
from pathlib import Path

from jaxvae.run.data import arrays, binarization
from jaxvae.run.data.dataset import DataError, Dataset, Split
from jaxvae.run.data.digits import digits
from jaxvae.run.data.protocols import SIDES, STANDARD, Rows, Standard, sprite_rows


def load(
    name: str,
    *,
    split: str | None = None,
    binarize: str = "none",
    source: Path | None = None,
    folder: Path | None = None,
    alpha: str | None = None,
    resize: int | None = None,
    patches: int | None = None,
) -> Dataset:
    """A data set, split by a named protocol.

    The first time, a standard data set is prepared with TensorFlow Datasets, from originals in a folder or downloaded,
    and left as one array for each split; from then on those are memory-mapped. Every file's SHA-256 is verified
    before it is used, and originals are never written to.

    Args:
        name: one of
            - "digits", "mnist", "fashion_mnist", "binarized_mnist", "omniglot", "frey_faces" (see `protocols`);
            - "sprites", "sprites_64" (see `sprites`), which are rendered the first time;
            - "tfds:NAME", a data set that TensorFlow Datasets has prepared already (see `prepared`);
            - a path to a `.npy` or `.npz` file (see `own_arrays`);
            - a path to a folder of images (see `own_images`).
        split: the protocol's name; None takes the data set's first, which validates where it can.
        binarize: "none", "static", "dynamic" or "threshold" (see `binarization.binarized`).
        source: the folder of the originals, or the folder above it; None takes JAXVAE_DATA_SOURCE, and where that is
            not set either, downloads. For "tfds:NAME" it is the data_dir; None takes TFDS_DATA_DIR or
            ~/tensorflow_datasets.
        folder: where prepared data and arrays are kept; None takes JAXVAE_DATA or else ~/.cache/jaxvae.
        alpha: what lies behind transparent images of a folder: "drop" (their colours alone), "white" or "black".
        resize: the size that the shorter side of a folder's images is brought to; their middle square is cut out.
        patches: the size of the squares that a folder's images are cut into.

    Returns:
        The data set: images uint8 in 0..255, or float32 in [0, 1] for users' float arrays.

    Raises:
        DataError: for everything that can be expected to go wrong; one sentence that says what to do.

    Example:
        >>> load("digits").train.examples.shape
        (1297, 8, 8, 1)
        >>> load("digits", split="60k/10k")
        Traceback (most recent call last):
        ...
        jaxvae.run.data.dataset.DataError: digits has no split '60k/10k': choose one of 1297/200/300.
    """
    binarization.check(name, binarize)
    place = Path(folder or os.environ.get("JAXVAE_DATA") or "~/.cache/jaxvae").expanduser()
    for option, value in (("alpha", alpha), ("resize", resize), ("patches", patches)):
        if value is not None and not Path(name).expanduser().is_dir():
            raise DataError(f"--data.{option} {value} is for a folder of images, and {name} is none: leave it out.")
    if name in STANDARD:
        given = source or os.environ.get("JAXVAE_DATA_SOURCE")
        dataset = _standard(name, split, Path(given).expanduser() if given else None, place)
    elif name.startswith("tfds:"):
        from jaxvae.run.data.prepared import prepared

        dataset = prepared(name, split, source, place)
    elif Path(name).expanduser().is_dir():
        from jaxvae.run.data.own_images import own_images
        from jaxvae.run.data.pictures import Wanted

        dataset = own_images(Path(name).expanduser(), split, place, Wanted(alpha, resize, patches))
    elif Path(name).suffix.lower() in (".csv", ".tsv", ".txt"):
        raise DataError(
            f"{name} is a text file, and images are wanted: a kind of its own is made of tables (jaxvae --help)."
        )
    elif Path(name).expanduser().is_file():
        from jaxvae.run.data.own_arrays import own_arrays

        dataset = own_arrays(Path(name).expanduser(), split, place)
    else:
        close = difflib.get_close_matches(name, STANDARD, n=1)
        meant = f"did you mean {close[0]!r}, " if close else ""
        raise DataError(
            f"There is no data set {name!r}: {meant}or one of {', '.join(STANDARD)}, tfds:NAME, a .npy or .npz file "
            "or a folder of images?"
        )
    return binarization.binarized(dataset, binarize, place / "arrays")


def _standard(name: str, split: str | None, source: Path | None, folder: Path) -> Dataset:
    standard = STANDARD[name]
    split = split or next(iter(standard.splits))
    if split not in standard.splits:
        raise DataError(f"{name} has no split {split!r}: choose one of {', '.join(standard.splits)}.")
    if name in SIDES:
        from jaxvae.run.data.sprites import split_of

        of_part = [split_of(name, sprite_rows(part), folder) for part in ("train", "valid", "test")]
        return Dataset(name, split, of_part[0], of_part[1], of_part[2])
    stored = {"whole": digits()} if name == "digits" else _arrays(name, standard, source, folder)

    def part(rows: Rows) -> Split:
        images, labels = stored[rows[0]]
        return Split(images[rows[1]], None if labels is None else labels[rows[1]])

    train, valid, test = standard.splits[split]
    return Dataset(name, split, part(train), None if valid is None else part(valid), part(test))


def _arrays(name: str, standard: Standard, source: Path | None, folder: Path) -> dict[str, Split]:
    place = folder / "arrays" / name / standard.version
    stored = _stored(standard, place)
    if stored is None:
        try:
            with arrays.locked(folder / "arrays" / f"{name}.lock"):
                stored = _stored(standard, place)  # another process may have made them meanwhile
                if stored is None:
                    from jaxvae.run.data.preparation import prepare  # imports TensorFlow Datasets

                    prepare(name, place, source, folder)
                    stored = _stored(standard, place)
        except OSError as error:
            raise DataError(
                f"{name} cannot be prepared in {folder} ({error}): choose another folder with folder= or JAXVAE_DATA."
            ) from error
    if stored is None:
        raise DataError(f"{name}: the arrays in {place} cannot be read back: delete that folder and run again.")
    return stored


def _stored(standard: Standard, place: Path) -> dict[str, Split] | None:
    stored = {}
    for part, shape in standard.shapes.items():
        images = arrays.read(place / f"{part}-images.npy", shape)
        labels = arrays.read(place / f"{part}-labels.npy", shape[:1]) if standard.labelled else None
        if images is None or (standard.labelled and labels is None):
            return None
        stored[part] = Split(images, labels)
    return stored
