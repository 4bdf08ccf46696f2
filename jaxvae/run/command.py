"""What every command line of the library shares: options from a dataclass, errors as sentences, compiled code kept."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxvae.run.choice import parse
from jaxvae.run.failures import sentence_of


def command(
    main: Callable[[Any], int | None], options: type, *, program: str | None = None, words: Sequence[str] | None = None
) -> None:
    """Run a function as a command, and end the process with its exit code.

    Args:
        main: a function of the options; what it returns is the exit code, None for 0.
        options: the dataclass that the command line fills; its docstrings are the help.
        program: its name, for the help; by default that of the module that runs.
        words: of the command line; by default those of the process.

    An expected failure prints its sentence to stderr and ends with 2; XLA's compiled programs are kept in
    ~/.cache/jaxvae/xla (or JAX_COMPILATION_CACHE_DIR), so that the second run starts at once.
    """
    keep_compiled_programs()
    hush_orbax()
    try:
        given = sys.argv[1:] if words is None else words
        sys.exit(main(parse(options, given, program=program or _program())) or 0)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def keep_compiled_programs() -> None:
    """Turn on JAX's persistent compilation cache, unless the environment already says where it is."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache" / "jaxvae" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def hush_orbax() -> None:
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
