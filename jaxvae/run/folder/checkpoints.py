"""Checkpoints through Orbax: atomic, asynchronous, verified when read, and nothing in them that can run."""

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as orbax

from jaxvae.run import RunError
from jaxvae.run.folder import checksums


class Checkpoints:
    """The checkpoints of one run, each the whole training state."""

    def __init__(self, folder: Path, *, keep: int = 1, writable: bool = True):
        """Open the folder, made where it is missing.

        Args:
            folder: where the checkpoints lie.
            keep: how many of the latest remain.
            writable: False opens them for reading only.
        """
        if writable:
            folder.mkdir(parents=True, exist_ok=True)
        # Of several processes that train a run one reads and writes it, and Orbax need not wait for the others.
        me = jax.process_index()
        alone = orbax.options.MultiprocessingOptions(primary_host=me, active_processes={me})
        with _hushed():
            options = orbax.CheckpointManagerOptions(
                max_to_keep=keep,
                create=False,
                read_only=not writable,
                cleanup_tmp_directories=writable,
                multiprocessing_options=alone,
            )
        self._folder, self._writable = folder, writable
        registry = orbax.handlers.DefaultCheckpointHandlerRegistry()
        handler = _Summed(multiprocessing_options=alone)
        for arguments in (orbax.args.StandardSave, orbax.args.StandardRestore):
            registry.add("default", arguments, handler)
        with _hushed():
            self._manager = orbax.CheckpointManager(folder.absolute(), options=options, handler_registry=registry)

    def latest(self) -> int | None:
        """The number of steps taken at the latest complete checkpoint; None where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any) -> None:
        """Begin to save; the copy is taken at once, the writing goes on beside the training.

        Args:
            step: the number of steps taken.
            state: a tree of arrays.

        Raises:
            RunError: this checkpoint or the one before it cannot be written, because the disk is full for instance.
        """
        if step != self._manager.latest_step():
            with self._writing():
                self._manager.save(step, args=orbax.args.StandardSave(jax.device_get(state)), force=True)

    def restore(self, like: Any) -> Any:
        """The latest state that is whole.

        Damaged checkpoints are passed over, and named on stderr. Where the folder is open for writing they are renamed
        too: their steps will be saved again.

        Args:
            like: a state of the same structure, or `jax.eval_shape` of one.

        Returns:
            The state.

        Raises:
            RunError: there is no checkpoint, or none is whole.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        if not steps:
            raise RunError(f"{self._folder} holds no complete checkpoint; train the run first")
        damaged: dict[int, str] = {}
        for step in steps:
            try:
                state = self._verified(step, like)
            except Exception as error:  # orbax, tensorstore and json each raise their own kinds for a damaged file
                damaged[step] = _reason(error)
                continue
            self._pass_over(damaged, step)
            return state
        reasons = "; ".join(f"step {step}: {reason}" for step, reason in damaged.items())
        raise RunError(f"no checkpoint in {self._folder} can be read ({reasons}); train the run again")

    def _verified(self, step: int, like: Any) -> Any:
        """The state of one step, after its files are found to be as they were written."""
        checksums.verify(self._folder / str(step) / "default")
        shapes = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(lambda: like))
        with _hushed():
            return jax.tree.map(jnp.asarray, self._manager.restore(step, args=orbax.args.StandardRestore(shapes)))

    def _pass_over(self, damaged: dict[int, str], good: int) -> None:
        for step, reason in damaged.items():
            sentence = f"the checkpoint {self._folder / str(step)} is damaged ({reason}): going on from step {good}"
            if self._writable:
                aside = self._folder / f"damaged-{step}"
                shutil.rmtree(aside, ignore_errors=True)
                (self._folder / str(step)).rename(aside)
                sentence += f"; it is {aside} now, which nothing reads"
            print(f"warning: {sentence}", file=sys.stderr)
        if damaged and self._writable:
            self._manager.reload()

    def close(self) -> None:
        """Wait for the writing to end, and let go of the folder.

        Raises:
            RunError: the last checkpoint cannot be written.
        """
        with self._writing():
            self._manager.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What goes wrong in writing, as a sentence."""
        try:
            yield
        except Exception as error:  # orbax and tensorstore each raise their own kinds for a full disk
            raise RunError(
                f"a checkpoint cannot be written to {self._folder} ({_reason(error)}): the last good one is kept; "
                "make room if the disk is full, and go on with --resume"
            ) from error


class _Summed(orbax.StandardCheckpointHandler):
    """Orbax's own, with the checksums of its files in the same atomic commit: it misses flipped bits in arrays."""

    def finalize(self, directory: Any) -> None:
        super().finalize(directory)
        checksums.write(Path(directory))


@contextmanager
def _hushed() -> Iterator[None]:
    """Orbax warns that what is opened for reading is not written, and logs errors that it also raises."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    """What went wrong, in one line; tensorstore's lines of several paths are cut to what the system said."""
    if code := re.search(r"os_error_code='(\d+)'", str(error)):
        return os.strerror(int(code[1]))
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
