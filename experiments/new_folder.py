"""A folder for the results of an experiment that belongs to no run."""

from pathlib import Path

from jaxvae.run import RunError


def new_folder(path: Path) -> Path:
    """Make a folder that was not there.

    Args:
        path: of the folder; its parents are made too.

    Returns:
        The path.

    Raises:
        RunError: something is there already, or the folder cannot be made.

    Example:
        >>> import tempfile
        >>> new_folder(Path(tempfile.mkdtemp()) / "results").is_dir()
        True
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise RunError(f"{path} exists already, and nothing in it is overwritten: give another --folder") from None
    except OSError as error:
        raise RunError(f"{path} cannot be made ({error.strerror}): give another --folder") from None
    return path
