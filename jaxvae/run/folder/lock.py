"""One process at a time in a run folder."""

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jaxvae.run import RunError
from jaxvae.run.data import arrays

NAME = "lock"
BEFORE_A_RUN = {
    NAME,
    "about.json.tmp",
    "about.json",
    "config.json.tmp",
}  # all that one killed at its start has


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a run folder; however this one ends, it keeps them out no longer.

    Args:
        folder: of a run; it exists.

    Raises:
        RunError: another process is in it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(arrays.locked(folder / NAME, wait=False))
        except BlockingIOError:
            raise RunError(
                f"another process is writing to {folder}: wait until it has ended, or give another --name"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            # The file system, of some clusters, has no locks: then nobody is kept out, and the run goes on as well.
        yield
