"""Which peers a workload runs beside, and how their scripts are started."""

import functools
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.peers import Peer, PeerFailed, importable


class Rival(NamedTuple):
    """A peer's script."""

    name: str
    module: str  # its interpreter must have it
    script: str
    arguments: tuple[str, ...] = ()


TRAINING = (
    Rival("eager PyTorch with a DataLoader", "torch", "torch_vae.py"),
    Rival("torch.compile with fused Adam", "torch", "torch_vae.py", ("--compiled",)),
    Rival("pythae's trainer", "pythae", "pythae_trainer.py"),
    Rival("NumPyro's SVI in a fori_loop", "numpyro", "numpyro_svi.py"),
    Rival("Flax's example style", "flax", "flax_example.py"),
)
LIKELIHOOD = (Rival("eager PyTorch", "torch", "torch_likelihood.py"),)


def rivals_of(name: str, num_samples: int, chunk: int) -> list[Rival]:
    """The peers of a workload.

    Args:
        name: of the workload: W1, "W2 k=5", W3; another has none.
        num_samples: k of W3.
        chunk: draws that W3 holds at once.

    Returns:
        Them, with the arguments that make their arithmetic that of the workload.
    """
    if name == "W1":
        return list(TRAINING)
    if name.startswith("W2 k="):
        same = ("--network", "iwae", "--num-samples", name.removeprefix("W2 k="), "--batch-size", "100")
        return [rival._replace(arguments=(*rival.arguments, *same)) for rival in TRAINING]
    if name == "W3":
        same_draws = ("--num-samples", str(num_samples), "--chunk", str(chunk))
        return [rival._replace(arguments=(*rival.arguments, *same_draws)) for rival in LIKELIHOOD]
    return []


@functools.cache
def interpreter_of(module: str, peer_python: Path) -> Path | None:
    """The interpreter that has a module: the one that was named, or else this one, or none."""
    for python in dict.fromkeys((peer_python, Path(sys.executable))):
        if importable(python, module):
            return python
    return None


def without(module: str, peer_python: Path) -> str:
    """Why a peer does not run."""
    return f"no {module} in {peer_python} (name another interpreter by --peer-python)"


def open_rivals(
    rivals: list[Rival], data: np.ndarray, platform: str, peer_python: Path, open_peers: ExitStack
) -> dict[str, Peer]:
    """Start the peers that are installed, on the same pictures and the same kind of device, warmed up by a repetition.

    Args:
        rivals: made by `rivals_of`.
        data: [N, 28, 28, 1] uint8.
        platform: cpu, gpu or tpu.
        peer_python: an interpreter that has the peers.
        open_peers: ends them.

    Returns:
        name -> the running peer. One that fails is left out, with a word.
    """
    running: dict[str, Peer] = {}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npy"
        np.save(images, data.reshape(len(data), -1))
        for rival in rivals:
            python = interpreter_of(rival.module, peer_python)
            if python is None:
                print(f"skipping {rival.name}: {without(rival.module, peer_python)}")
                continue
            device = {"gpu": "cuda" if rival.module in ("torch", "pythae") else "gpu"}.get(platform, platform)
            arguments = ["--images", str(images), "--device", device, *rival.arguments]
            try:
                peer = open_peers.enter_context(Peer(python, rival.script, arguments))
                peer()
            except PeerFailed as failure:
                print(f"skipping {rival.name}: {failure}")
            else:
                running[rival.name] = peer
    return running
