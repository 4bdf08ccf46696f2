"""Checkpoints through Orbax: atomic, asynchronous, the latest few kept, and nothing in them that can run."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as orbax

from jaxvae.run import RunError


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
        options = orbax.CheckpointManagerOptions(
            max_to_keep=keep, create=False, read_only=not writable, multiprocessing_options=alone
        )
        self._folder = folder
        self._manager = orbax.CheckpointManager(folder.absolute(), options=options)

    def latest(self) -> int | None:
        """The number of steps taken at the latest complete checkpoint; None where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any) -> None:
        """Begin to save; the copy is taken at once, the writing goes on beside the training.

        Args:
            step: the number of steps taken.
            state: a tree of arrays.
        """
        if step != self._manager.latest_step():
            self._manager.save(step, args=orbax.args.StandardSave(jax.device_get(state)), force=True)

    def restore(self, like: Any) -> Any:
        """The latest state.

        Args:
            like: a state of the same structure, or `jax.eval_shape` of one.

        Returns:
            The state.

        Raises:
            RunError: there is no checkpoint, or it is damaged.
        """
        step = self.latest()
        if step is None:
            raise RunError(f"{self._folder} holds no complete checkpoint; train the run first")
        try:
            shapes = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(lambda: like))
            return jax.tree.map(jnp.asarray, self._manager.restore(step, args=orbax.args.StandardRestore(shapes)))
        except Exception as error:  # orbax, tensorstore and json each raise their own kinds for a damaged file
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RunError(
                f"the checkpoint {self._folder / str(step)} cannot be read ({reason}); "
                f"remove that folder to go on from the one before it, or train the run again"
            ) from error

    def finish(self) -> None:
        """Wait for the writing to end."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for the writing to end, and let go of the folder."""
        self._manager.close()
