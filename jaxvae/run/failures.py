"""What expected failures say to a person."""

import errno

from jaxvae.run import RunError
from jaxvae.run.data import DataError

DISK_ERRORS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EIO: "check the disk",
}

# What the extra "train" installs, as it is imported.
EXTRA = {
    *(
        "tyro",
        "orbax",
        "grain",
        "array_record",
        "tensorflow_datasets",
        "tensorboardX",
        "matplotlib",
        "sklearn",
        "PIL",
        "safetensors",
    ),
}


def sentence_of(error: BaseException) -> str | None:
    """What an expected failure says to the user.

    Args:
        error: any.

    Returns:
        A sentence; None where the failure is not expected, and a traceback is in order.
    """
    if isinstance(error, RunError | DataError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRA:
        return f"{error.name} is not installed, and this needs it: pip install 'jaxvae[train]'"
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}: {DISK_ERRORS[error.errno]} and try again"
    return None
