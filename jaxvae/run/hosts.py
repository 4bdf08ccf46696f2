"""One run in several processes, on one host or on many: JAX's own runtime joins them, the first one writes."""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxvae.run import RunError
from jaxvae.run.data import DataError
from jaxvae.run.failures import sentence_of

HEARTBEAT_SECONDS = 30  # after which a process that is silent is given up
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Hosts:
    """Train one run in several processes, each started with the same command line."""

    join: bool = False
    """Join the other processes that Slurm, Kubernetes, Open MPI or a TPU pod has started; implied by the options
    below, which name them where nothing else does (also: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
    JAX_PROCESS_ID)."""
    coordinator: str | None = None
    """ADDRESS:PORT of the first process, as the others reach it."""
    processes: int | None = None
    """How many there are."""
    index: int | None = None
    """Which of them this one is, counted from 0."""


def join(hosts: Hosts) -> None:
    """Join the other processes, where there are any; before anything else of JAX.

    Args:
        hosts: of the command line.

    Raises:
        RunError: the options do not name the processes, or the others do not come.
    """
    coordinator = hosts.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    processes = _number(hosts.processes, "JAX_NUM_PROCESSES")
    index = _number(hosts.index, "JAX_PROCESS_ID")
    given = {"coordinator": coordinator, "processes": processes, "index": index}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == 3 and not hosts.join:
        return
    if 0 < len(missing) < 3 and not hosts.join:
        raise RunError(
            f"--hosts.{missing[0]} is missing: give the coordinator's ADDRESS:PORT, how many processes there are and "
            "which this is, or --hosts.join alone where Slurm, Kubernetes, Open MPI or a TPU pod starts them"
        )
    if processes is not None and index is not None and not 0 <= index < processes:
        raise RunError(f"--hosts.index {index} must lie between 0 and {processes - 1}, for {processes} processes")
    try:
        jax.distributed.initialize(coordinator, processes, index, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(f"the processes of this run did not find each other ({reason})") from None


def _number(given: int | None, variable: str) -> int | None:
    text = os.environ.get(variable)
    if given is not None or text is None:
        return given
    if not text.isdigit():
        raise RunError(f"{variable}={text!r} must be a number")
    return int(text)


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def together(function: Callable[[], Answer]) -> Answer:
    """What a function finds in this process, once it has found something in every process.

    Args:
        function: of this process alone; it may raise a RunError or a DataError.

    Returns:
        Its answer.

    Raises:
        RunError, DataError: its own refusal, or a RunError where another process refused.
    """
    answer, refusal = None, None
    try:
        answer = function()
    except (RunError, DataError) as error:
        refusal = error
    refused = [index for index, no in enumerate(_of_each(refusal is not None)) if no]
    if refusal is not None:
        raise refusal
    if refused:
        raise RunError(f"process {refused[0]} cannot take part: see what it says")
    return answer  # type: ignore[return-value]


def decided(decide: Callable[[], str]) -> str:
    """What the first process decides, for all.

    Args:
        decide: called in the first process alone; it may fail.

    Returns:
        Its answer, in every process.

    Raises:
        RunError: what went wrong in it, in every process.
    """
    if jax.process_count() == 1:
        return decide()
    text = ""
    if is_first():
        try:
            text = "+" + decide()
        except Exception as error:  # the others wait for an answer, whatever went wrong
            text = "-" + (sentence_of(error) or f"the first process failed: {type(error).__name__}: {error}")
    length = int(same(np.array(len(text.encode()))))
    letters = np.frombuffer(text.encode().ljust(length, b" "), np.uint8) if is_first() else np.zeros(length, np.uint8)
    text = bytes(same(letters)).decode()
    if text[0] == "-":
        raise RunError(text[1:])
    return text[1:]


def same(tree: Any) -> Any:
    """A tree of arrays as the first process has it.

    Args:
        tree: of arrays of the same shapes in every process.

    Returns:
        The first process's tree, in every process.
    """
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def any_of(flag: bool) -> bool:
    """Whether the flag is raised in any process."""
    return any(_of_each(flag))


def _of_each(flag: bool) -> list[bool]:
    return [flag] if jax.process_count() == 1 else multihost_utils.process_allgather(np.array(flag)).tolist()


@contextmanager
def watched(hint: str) -> Iterator[None]:
    """End this process at once when it fails among others: at a usual end JAX's runtime waits for all of them.

    Args:
        hint: how to go on when another process is lost.
    """
    try:
        yield
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        sentence, code = sentence_of(error), 2
        # XLA's failures begin with the name of their status; some reach Python as a ValueError.
        if isinstance(error, jax.errors.JaxRuntimeError | ValueError) and re.match("[A-Z_]+: ", str(error)):
            reason = str(error).strip().splitlines()[0]
            sentence, code = f"another process is lost, or this one failed ({reason}); {hint}", 1
        if sentence is None:
            traceback.print_exc()
            code = 1
        else:
            print(f"error: {sentence}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
