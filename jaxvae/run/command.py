"""What every command line of the library shares: options from a dataclass, errors as sentences, compiled code kept."""

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


def command(main: Callable[[Any], int | None], options: type) -> None:
    """Run a function as a command, and end the process with its exit code.

    Args:
        main: a function of the options; what it returns is the exit code, None for 0.
        options: the dataclass that the command line fills; its docstrings are the help.

    An expected failure prints its sentence to stderr and ends with 2; XLA's compiled programs are kept in
    ~/.cache/jaxvae/xla (or JAX_COMPILATION_CACHE_DIR), so that the second run starts at once.
    """
    keep_compiled_programs()
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns that what is opened for reading is not written
    try:
        sys.exit(main(tyro.cli(options, prog=_program())) or 0)
    except (RunError, DataError) as error:
        sys.exit(_complain(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def keep_compiled_programs() -> None:
    """Turn on JAX's persistent compilation cache, unless the environment already says where it is."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "jaxvae" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _complain(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


def _program() -> str | None:
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name}" if spec else None
