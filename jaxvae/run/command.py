"""What every command line of the library shares: options from a dataclass, errors as sentences, compiled code kept."""

import errno
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import tyro

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


def command(main: Callable[[Any], int | None], options: type) -> None:
    """Run a function as a command, and end the process with its exit code.

    Args:
        main: a function of the options; what it returns is the exit code, None for 0.
        options: the dataclass that the command line fills; its docstrings are the help.

    An expected failure prints its sentence to stderr and ends with 2; XLA's compiled programs are kept in
    ~/.cache/jaxvae/xla (or JAX_COMPILATION_CACHE_DIR), so that the second run starts at once.
    """
    keep_compiled_programs()
    _hush_orbax()
    try:
        sys.exit(main(tyro.cli(options, prog=_program())) or 0)
    except (RunError, DataError, OSError) as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def sentence_of(error: BaseException) -> str | None:
    """What an expected failure says to the user.

    Args:
        error: any.

    Returns:
        A sentence; None where the failure is not expected, and a traceback is in order.
    """
    if isinstance(error, RunError | DataError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}: {DISK_ERRORS[error.errno]} and try again"
    return None


def keep_compiled_programs() -> None:
    """Turn on JAX's persistent compilation cache, unless the environment already says where it is."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "jaxvae" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _hush_orbax() -> None:
    """Orbax logs a trace of every error that it also raises, and warns that what is read is not written."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    def report(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":  # tensorstore's threads go on where Orbax has given up
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = report


def _program() -> str | None:
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name}" if spec else None
