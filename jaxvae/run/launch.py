"""A training run from its options to its report."""

import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from jaxvae.model import VAE
from jaxvae.run import RunError, build, config, config_check, evaluate, hosts, train
from jaxvae.run.data import Dataset
from jaxvae.run.figures import images
from jaxvae.run.folder import config_file, lock, opening
from jaxvae.run.hosts import Hosts
from jaxvae.run.report import report


@dataclass(frozen=True)
class Options(config.Config):
    """Train a variational auto-encoder, evaluate it, and write a report into a run folder."""

    runs: Path = Path("runs")
    """Where run folders are made."""
    name: str | None = None
    """The run's name; by default the data set, the network and the time."""
    resume: bool = False
    """Go on with the run of that name from its latest checkpoint, bit for bit as if it had never stopped."""
    devices: int | Literal["all"] | None = None
    """How many devices share every batch, or all there are; the numbers are those of one, but for rounding. By default
    one, or all that several processes have."""
    hosts: Hosts = field(default_factory=Hosts)
    """Several processes."""


def main(options: Options) -> int:
    """Train, evaluate, draw, report.

    Args:
        options: of the command line.

    Returns:
        The exit code: 0, 1 where the loss diverged, 128 + the signal's number where a signal stopped the run.
    """
    settings = config.Config(**{name: getattr(options, name) for name in config.Config.__dataclass_fields__})
    config_check.check(settings)
    hosts.join(options.hosts)
    place, settings = _agreed(options, settings)
    devices = _devices(options, settings)
    with hosts.watched(f"start all of them again with --name {place.name} --resume, and nothing is lost"):
        return _train(options, settings, place, devices)


def _train(options: Options, settings: config.Config, place: Path, devices: list[jax.Device]) -> int:
    """All that `main` does once it is known where, on what and with whom."""
    dataset = hosts.together(lambda: _data(settings))
    model = build.model_of(settings, dataset.train.images.shape[1:])
    with ExitStack() as held:
        hosts.together(
            lambda: held.enter_context(_begun(options, settings, place, dataset)) if hosts.is_first() else None
        )
        return _run(settings, place, model, dataset, devices)


@contextmanager
def _begun(options: Options, settings: config.Config, place: Path, dataset: Dataset) -> Iterator[None]:
    """The run's folder, begun or gone on with, and no other process in it."""
    place.mkdir(parents=True, exist_ok=True)
    with lock.alone_in(place):
        if not options.resume:
            if (place / "config.json").exists():
                raise RunError(f"{place} was begun by another process at the same time: give another --name")
            line = shlex.join(["python", "-m", "experiments.train", *sys.argv[1:]])
            config_file.write(settings, place / "config.json", command=line)
        opening.write_json(place / "shape.json", dataset.train.images.shape[1:])
        print(f"{dataset.name}: {len(dataset.train.images):,} training images; the run is {place}", flush=True)
        yield


def _run(settings: config.Config, place: Path, model: VAE, dataset: Dataset, devices: list[jax.Device]) -> int:
    """Train, evaluate, draw, report; only the first of several processes writes."""
    try:
        trained = train.train(settings, place, model, dataset, devices=devices)
    except train.Diverged as error:
        print(
            f"error: {error}. The last good checkpoint is kept in {place / 'checkpoints'}; "
            "try a lower --optimizer.lr, or --optimizer.clip 1",
            file=sys.stderr,
        )
        return 1
    if trained.stopped_by is not None:
        step = int(np.ravel(trained.state.step)[0])
        print(f"stopped and saved at step {step}; go on with --name {place.name} --resume")
        return 128 + trained.stopped_by

    params = opening.evaluated_params(trained.state)
    speed = {
        "devices": len(devices),
        "processes": jax.process_count(),
        "wall_seconds": trained.seconds,
        "images_per_second": trained.images_per_second,
    }
    result = evaluate.result(settings, model, params, dataset, speed, devices=devices)
    if not hosts.is_first():
        return 0
    opening.write_json(place / "result.json", result)
    first = params if settings.num_seeds == 1 else jax.tree.map(lambda leaf: leaf[0], params)
    images.draw(place, settings, model, first, dataset)
    page = report.write(place)
    _print_result(result)
    print(f"report: {page}")
    return 0


def _devices(options: Options, settings: config.Config) -> list[jax.Device]:
    """The devices that the options ask for, of all processes."""
    there = jax.devices()
    several = jax.process_count() > 1
    asked = options.devices or ("all" if several else 1)
    count = len(there) if asked == "all" else asked
    if several and count != len(there):
        raise RunError(
            f"--devices {count} leaves out some of the {len(there)} devices that these {jax.process_count()} processes "
            "have: leave it out, or hide devices from a process (CUDA_VISIBLE_DEVICES)"
        )
    if not 1 <= count <= len(there):
        raise RunError(f"--devices {count} must be between 1 and {len(there)}, the devices of this machine, or all")
    if settings.batch_size % (count * settings.accumulate):
        each = count * settings.accumulate
        raise RunError(
            f"--batch-size {settings.batch_size} must be a multiple of the {count} devices that share it"
            f"{f', times --accumulate {settings.accumulate}' if settings.accumulate > 1 else ''}: "
            f"{max(1, settings.batch_size // each) * each} for instance"
        )
    if count > 1 and settings.num_seeds > 1:
        raise RunError(f"--num-seeds {settings.num_seeds} trains its seeds on one device: leave out --devices")
    return there[:count]


def _agreed(options: Options, settings: config.Config) -> tuple[Path, config.Config]:
    """`_run_folder` as the first process finds it, which alone reads and writes the folder."""

    def decide() -> str:
        place, found = _run_folder(options, settings)
        return json.dumps([str(place), config_file.to_text(found)])

    place, found = json.loads(hosts.decided(decide))
    return Path(place), config_file.from_text(found)


def _data(settings: config.Config) -> Dataset:
    """The data set of the run, once it is known to fit the configuration."""
    dataset = opening.data_of(settings)
    train.check_data(settings, dataset)
    return dataset


def _run_folder(options: Options, settings: config.Config) -> tuple[Path, config.Config]:
    """The run's folder, and its configuration: the stored one where the run goes on."""
    if options.name is None:
        if options.resume:
            raise RunError(f"--resume goes on with a run by its name: give --name and one of {_names(options.runs)}")
        data = Path(settings.data.name).stem.replace(":", "-")
        name = f"{data}-{settings.model.network}-{time.strftime('%Y%m%d-%H%M%S')}"
        return options.runs / name, settings
    place = options.runs / options.name
    there = {path.name for path in place.iterdir()} if place.is_dir() else set()
    killed_at_its_start = lock.NAME in there and there <= {lock.NAME, "config.json.tmp"}
    if not place.exists() or killed_at_its_start:
        if options.resume:
            raise RunError(f"there is no run {place} to resume; there are {_names(options.runs)}")
        return place, settings
    if not options.resume:
        raise RunError(f"{place} exists already: give --resume to go on with it, or another --name")
    stored = config_file.read(place / "config.json")
    given = config.differences(settings, config.Config())
    changed = [name for name in config.differences(settings, stored) if name in given]
    if changed:
        raise RunError(
            f"{place} was begun with other values of {', '.join(changed)}: leave them out, or begin a new run"
        )
    return place, stored


def _names(runs: Path) -> str:
    return ", ".join(sorted(path.parent.name for path in runs.glob("*/config.json"))) or f"no runs in {runs}"


def _print_result(result: dict) -> None:
    protocol = result["protocol"]
    print(f"{protocol['dataset']}, {protocol['split']}, binarisation {protocol['binarisation']}, test set:")
    rows = {
        "test_elbo": "ELBO",
        "test_nll": f"-log p(x), k = {protocol['nll_k']}, {protocol['nll_examples']} examples",
    }
    for name, label in rows.items():
        if name in result:
            error = result[f"{name}_standard_error"]
            print(f"  {label}: {result[name]:.2f} ± {error:.2f} nats ({protocol['standard_error']})")
