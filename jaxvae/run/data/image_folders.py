"""What lies in a folder of images: the files of each part, and their classes."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxvae.run.data.dataset import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pbm"}
FORMS = "PNG, JPEG, WebP, TIFF, BMP, GIF or PNM"
# Pictures too, that would be missed without a word.
UNREAD = {".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg", ".dng", ".cr2", ".nef", ".exr", ".dcm"}
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
WHOLE = "whole"  # the one part of a folder that is not split yet


class Listed(NamedTuple):
    """The images of one part."""

    files: list[Path]
    classes: list[str] | None  # of each file, the name of its folder; None where they lie in no folders of classes


def listed(path: Path) -> dict[str, Listed]:
    """The images below a folder, part by part.

    Args:
        path: of the folder.

    Returns:
        Of a folder with subfolders called train and test, and val or none: "train", "valid" and "test". Of any other:
        `WHOLE`.

    Raises:
        DataError: there are no images, or they lie where it is not clear what they are.
    """
    _check_files(path)
    named = _parts(path)
    if len(named) < 2:
        return {WHOLE: _part(path)}
    if beside := [*_images(path), *(folder for folder in _folders(path) if folder not in named.values())]:
        raise DataError(
            f"{path} holds {beside[0].name} beside the parts {', '.join(map(_name, named.values()))}: move it into one "
            "of them, or away."
        )
    if missing := {"train", "test"} - named.keys():
        raise DataError(
            f"{path} holds the parts {', '.join(map(_name, named.values()))} and none called {missing.pop()}: a split "
            "has train and test, and val or none; name the folders so, or put all images together."
        )
    return {part: _part(folder) for part, folder in named.items()}


def labels_of(parts: Mapping[str, Listed]) -> dict[str, np.ndarray | None]:
    """Classes as numbers from 0 on, in the order of the names that all parts have together.

    Args:
        parts: of a folder.

    Returns:
        Of each part [N] int32, or None where its images have no classes.
    """
    names = sorted({name for part in parts.values() for name in part.classes or ()})
    number = {name: index for index, name in enumerate(names)}
    return {
        part: None if found.classes is None else np.array([number[name] for name in found.classes], np.int32)
        for part, found in parts.items()
    }


def _check_files(path: Path) -> None:
    """Refuses pictures that nothing here reads, and says which other files are passed over."""
    inside = (file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file())
    others = [file for file in inside if file.suffix.lower() not in SUFFIXES and not _is_hidden(file)]
    if unread := [file for file in others if file.suffix.lower() in UNREAD]:
        raise DataError(
            f"{path} holds {_counted(unread)}, which cannot be read here: save as {FORMS}, or take out what is no part "
            "of the data."
        )
    if others:
        print(f"note: {path} holds {_counted(others)}, passed over as no image", file=sys.stderr)


def _counted(files: list[Path]) -> str:
    return str(files[0]) + (f" and {len(files) - 1} more such" if len(files) > 1 else "")


def _is_hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _parts(path: Path) -> dict[str, Path]:
    """The subfolders that are named as parts, and hold images somewhere."""
    named: dict[str, Path] = {}
    for folder in _folders(path):
        part = PARTS.get(folder.name.lower())
        if part is not None and part in named:
            raise DataError(
                f"{path} holds {named[part].name} and {folder.name}, the same part twice: keep one of them."
            )
        if part is not None:
            named[part] = folder
    return {part: named[part] for part in ("train", "valid", "test") if part in named}


def _part(path: Path) -> Listed:
    """The images in a folder itself, or those in its subfolders, which are classes."""
    loose = _images(path)
    classes = {folder: _images(folder) for folder in _folders(path)}
    if not loose and not classes:
        raise DataError(
            f"{path} holds no PNG or JPEG images nor others ({FORMS}), nor do its subfolders: name the folder that "
            "does."
        )
    if not classes:
        return Listed(loose, None)
    if loose:
        raise DataError(
            f"{path} holds images beside subfolders with images: move {loose[0].name} and its like into a subfolder, "
            "which is a class."
        )
    for folder in classes:
        if deeper := _folders(folder):
            raise DataError(
                f"{deeper[0]} holds images below {folder}, where a class is one folder of images: move them up, or "
                "name the folder whose subfolders are the classes."
            )
    pairs = [(file, folder.name) for folder, files in classes.items() for file in files]
    return Listed([file for file, _ in pairs], [name for _, name in pairs])


def _folders(path: Path) -> list[Path]:
    """The subfolders that hold images somewhere, hidden ones left out."""
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return [
        folder
        for folder in folders
        if any(_is_image(file) and not _is_hidden(file.relative_to(path)) for file in folder.rglob("*"))
    ]


def _images(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if _is_image(entry))


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _name(path: Path) -> str:
    return path.name
