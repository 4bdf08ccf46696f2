"""Three small trained models as files to download: `python -m experiments.release`, or `make release-models`.

Each is trained, exported with its card, loaded again and compared, and packed: NAME.zip, and the sums of all of them in
SHA256SUMS. They are files of a release, and no part of the repository.
"""

import hashlib
import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from experiments.new_folder import new_folder
from jaxvae.recipes import plain, sequence, vq
from jaxvae.run import RunError, launch, refusals
from jaxvae.run.command import command
from jaxvae.run.folder.opening import load, open_run
from jaxvae.run.options import likelihoods, networks
from jaxvae.run.options.images import Images
from jaxvae.run.recipe import Kind
from jaxvae.run.settings import Evaluation, Optimizer
from jaxvae.run.share.export import export

LICENCE = "apache-2.0"
COSINE = Optimizer(lr=2e-3, schedule="cosine")
MODELS: dict[str, tuple[Kind, Any]] = {
    "mnist-vae": (
        plain.KIND,
        plain.Config(
            data=Images("mnist"),
            model=plain.Model(networks.Small(width=400), latent=20, mean_bias=True),
            optimizer=COSINE,
            epochs=40,
            batch_size=128,
            evaluation=Evaluation(num_samples=1000, examples=1000),
        ),
    ),
    "fashion-vq": (
        vq.KIND,
        vq.Config(
            data=Images("fashion_mnist"),
            model=vq.Model(networks.Conv(maps=(16, 32)), latent=16, codes=128, likelihood=likelihoods.GaussianShared()),
            optimizer=Optimizer(lr=1e-3, schedule="cosine"),
            epochs=6,
        ),
    ),
    "chorales-markov": (
        sequence.KIND,
        sequence.Config(
            model=sequence.Model(sequence.DeepMarkov(), latent=32),
            optimizer=Optimizer(lr=2e-3, clip=10.0),
            epochs=100,
            patience=15,
        ),
    ),
}


@dataclass(frozen=True)
class Options:
    """Train the models of a release, export them with their cards, and pack them."""

    only: tuple[Literal["mnist-vae", "fashion-vq", "chorales-markov"], ...] = ()
    """Which of them; by default all."""
    epochs: int | None = None
    """Train for so many in place of each model's own."""
    folder: Path = Path("runs/release")
    """Where the files go; it must not exist."""


def main(options: Options) -> int | None:
    """Train, export, compare, pack.

    Args:
        options: of the command line.

    Returns:
        The exit code of a run that stopped, else None.
    """
    if options.epochs is not None and options.epochs < 1:
        raise RunError(f"--epochs {options.epochs} must be at least 1")
    chosen = {name: MODELS[name] for name in options.only or MODELS}
    if options.epochs is not None:
        chosen = {name: (kind, replace(config, epochs=options.epochs)) for name, (kind, config) in chosen.items()}
    for _, config in chosen.values():
        refusals.check(config)
    place = new_folder(options.folder)
    for name, (kind, config) in chosen.items():
        values = {item.name: getattr(config, item.name) for item in fields(config)}
        line = f"python -m experiments.release --only {name}"
        line += "" if options.epochs is None else f" --epochs {options.epochs}"
        if code := launch.run(kind, launch.options_of(kind)(**values, runs=place / "runs", name=name), line=line):
            return code
        out = export(place / "runs" / name, place / name, licence=LICENCE)
        check(place / "runs" / name, out)
        pack(out, place / f"{name}.zip")
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(place.glob("*.zip"))}
    (place / "SHA256SUMS").write_text("".join(f"{found}  {name}\n" for name, found in sums.items()))
    for name, found in sums.items():
        print(f"  {name:<22} {(place / name).stat().st_size:>12,} bytes  SHA-256 {found[:16]}…")
    print(f"the files of the release: {place}")
    return None


def check(run: Path, out: Path) -> None:
    """Refuse an export that is not the run, bit for bit.

    Args:
        run: its folder.
        out: what was made of it.

    Raises:
        RunError: an array differs.
    """
    wanted, (_, found) = open_run(run).params, load(out)
    for one, other in zip(jax.tree.leaves(wanted), jax.tree.leaves(found), strict=True):
        if not np.array_equal(one, other):
            raise RunError(f"{out} is not {run}: an array of it differs; look at the disk, and begin again")


def pack(folder: Path, file: Path) -> None:
    """A folder as one file, the same for the same content, whenever it is made.

    Args:
        folder: with files.
        file: the .zip to write.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(f"{folder.name}/{path.name}", date_time=(2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    command(main, Options)
