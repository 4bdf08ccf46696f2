"""A training run from its options to its report, of any kind of VAE."""

import json
import math
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np

from jaxvae.run import RunError, evaluate, hosts, longer, refusals
from jaxvae.run.choice import EVERYDAY, differences, from_dict, to_dict
from jaxvae.run.choice.fields import parts
from jaxvae.run.command import command
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset
from jaxvae.run.figures import history
from jaxvae.run.folder import about as about_file
from jaxvae.run.folder import config_file, fingerprint, lock, tensorboard
from jaxvae.run.folder.files import finite, write_result
from jaxvae.run.hosts import Hosts
from jaxvae.run.kinds import names
from jaxvae.run.recipe import Asked, Kind, Recipe, about
from jaxvae.run.report import report
from jaxvae.run.report.ask import questions_of
from jaxvae.run.report.words import flat, label, measured
from jaxvae.run.train import Diverged
from jaxvae.run.train import train as trained_by


@dataclass(frozen=True)
class Place:
    """Where a run goes, and on what: what the command line has beside a kind's configuration."""

    runs: Path = Path("runs")
    """Where run folders are made."""
    name: Annotated[str | None, EVERYDAY] = None
    """The run's name; by default the data set, the network and the time."""
    resume: Annotated[bool, EVERYDAY] = False
    """Go on with the run of that name from its latest checkpoint, bit for bit as if it had never stopped. With more
    --epochs than before it goes on for longer, where its schedules do not depend on how long it is."""
    devices: int | Literal["all"] | None = None
    """How many devices share every batch, or all there are; the numbers are those of one, but for rounding. By default
    one, or all that several processes have."""
    hosts: Hosts = field(default_factory=Hosts)
    """Several processes."""


def options_of(kind: Kind) -> type:
    """The command line of a kind: its configuration and a place.

    Args:
        kind: any.

    Returns:
        A dataclass that inherits both.
    """
    return dataclass(frozen=True)(type("Options", (kind.config, Place), {"__doc__": kind.config.__doc__}))


def train(kind: Kind, words: Sequence[str] | None = None) -> None:
    """Train a kind of VAE by the command line, and end the process: what a script of your own calls.

    Args:
        kind: any.
        words: of the command line; by default those of the process.
    """
    given = list(sys.argv[1:] if words is None else words)
    program = f"jaxvae train {kind.name}" if kind.name in names() else f"python {sys.argv[0]}"
    line = shlex.join([*program.split(), *given])
    command(partial(run, kind, line=line), options_of(kind), program=program, words=given)


def run(kind: Kind, options: Any, *, line: str = "") -> int:
    """Train, evaluate, draw, report.

    Args:
        kind: of the run.
        options: of the command line, made by `options_of(kind)`.
        line: the command line, for the report.

    Returns:
        The exit code: 0, 1 where the loss diverged, 128 + the signal's number where a signal stopped the run.
    """
    config = kind.config(**{item.name: getattr(options, item.name) for item in fields(kind.config)})
    refusals.check(config)
    hosts.join(options.hosts)
    place, config = _agreed(kind, options, config, line)
    devices = _devices(options, config)
    with hosts.watched(f"start all of them again with --name {place.name} --resume, and nothing is lost"):
        return _train(kind, options, config, place, devices, line)


def _train(kind: Kind, options: Any, config: Any, place: Path, devices: list[jax.Device], line: str) -> int:
    """All that `run` does once it is known where, on what and with whom."""
    course = config.course()

    def begin() -> tuple[Dataset, Recipe]:
        if hosts.is_first():  # a word before what takes long
            print(f"reading {config.data.name}", flush=True)
        dataset = kind.data(config)
        if options.resume and hosts.is_first():
            fingerprint.check(place, dataset)
            longer.check_steps(place, kind, config, dataset)
        return dataset, refusals.recipe_of(kind, config, dataset)

    dataset, recipe = hosts.together(begin)
    with ExitStack() as held:
        entered = _begun(kind, options, config, place, dataset, line)
        hosts.together(lambda: held.enter_context(entered) if hosts.is_first() else None)
        return _run(kind, config, recipe, course, place, dataset, devices)


@contextmanager
def _begun(kind: Kind, options: Any, config: Any, place: Path, dataset: Dataset, line: str) -> Iterator[None]:
    """The run's folder, begun or gone on with, and no other process in it."""
    place.mkdir(parents=True, exist_ok=True)
    with lock.alone_in(place):
        if not options.resume:
            if (place / "config.json").exists():
                raise RunError(f"{place} was begun by another process at the same time: give another --name")
            # A folder with a config.json is a run: it tells what it was begun on, which --resume never rewrites but for
            # the epochs.
            about_file.write(about(dataset), place / "about.json", fingerprint.fingerprint(dataset))
            config_file.write(kind, config, place / "config.json", command=line)
        elif config_file.read(place / "config.json", kind)[1].epochs != config.epochs:
            lines = f"{config_file.commands(place / 'config.json')} && {line}"
            config_file.write(kind, config, place / "config.json", command=lines)
        print(f"{dataset.name}: {dataset.train.size:,} training examples; the run is {place}", flush=True)
        print(f"watch it: {tensorboard.line(place)}", flush=True)
        yield


def _run(
    kind: Kind,
    config: Any,
    recipe: Recipe,
    course: Course,
    place: Path,
    dataset: Dataset,
    devices: list[jax.Device],
) -> int:
    """Train, evaluate, draw, report; only the first of several processes writes."""
    try:
        trained = trained_by(recipe, course, dataset, folder=place, devices=devices)
    except Diverged as error:
        kept = any((place / "checkpoints").glob("[0-9]*"))
        good = f"The last good checkpoint is kept in {place / 'checkpoints'}" if kept else "There is no checkpoint yet"
        print(f"error: {error}. {good}; try a lower --optimizer.lr, or --optimizer.clip 1", file=sys.stderr)
        return 1
    if trained.stopped_by is not None:
        step = int(np.ravel(trained.state.step)[0])
        print(f"stopped and saved at step {step}; go on with --name {place.name} --resume")
        return 128 + trained.stopped_by

    asked = Asked(config.evaluation.num_samples, config.evaluation.examples, devices, "" if hosts.is_first() else None)
    protocol = {
        "seeds": config.seeds,
        "precision": config.precision,
        "steps": int(np.ravel(trained.state.step)[0]),
        "devices": len(devices),
        "processes": jax.process_count(),
        "wall_seconds": trained.seconds,
        "examples_per_second": trained.examples_per_second,
    }
    if course.patience is not None:
        protocol |= {"patience": course.patience, "best_epoch": trained.best_epoch}
    result = evaluate.result(recipe, course, trained.params, dataset, asked, protocol=protocol)
    if not hosts.is_first():
        return 0
    write_result(place / "result.json", result)
    figures = place / "figures"
    figures.mkdir(exist_ok=True)
    history.draw(place)
    first = trained.params if course.num_seeds == 1 else jax.tree.map(lambda leaf: leaf[0], trained.params)
    recipe.draw(figures, first, dataset)
    numbers = {name: result[name] for name in result["units"]}
    options = {name: value for name, value in flat(to_dict(config)) if name != "data.source"}
    tensorboard.record(place, protocol["steps"], options, finite(numbers), sorted(figures.glob("*.png")))
    page = report.write(place)
    _print_result(result)
    print(f"report: {page}")
    _print_next(kind, place)
    return 0


def _devices(options: Any, config: Any) -> list[jax.Device]:
    """The devices that the options ask for, of all processes."""
    there = jax.devices()
    several = jax.process_count() > 1
    asked = options.devices or ("all" if several else 1)
    count = len(there) if isinstance(asked, str) else asked
    if several and count != len(there):
        raise RunError(
            f"--devices {count} leaves out some of the {len(there)} devices that these {jax.process_count()} processes "
            "have: leave it out, or hide devices from a process (CUDA_VISIBLE_DEVICES)"
        )
    if not 1 <= count <= len(there):
        raise RunError(f"--devices {count} must be between 1 and {len(there)}, the devices of this machine, or all")
    # What takes a batch in parts takes a device's share of it so.
    taken = [part for _, option, _ in parts(config) if (part := getattr(option, "takes_in_parts", None))]
    each = count * math.prod(number for _, number in taken)
    if count > 1 and config.batch_size % each:
        times = "".join(f", times {flag} {number}" for flag, number in taken)
        raise RunError(
            f"--batch-size {config.batch_size} must be a multiple of the {count} devices that share it{times}: "
            f"{max(1, config.batch_size // each) * each} for instance"
        )
    if count > 1 and config.num_seeds > 1:
        raise RunError(f"--num-seeds {config.num_seeds} trains its seeds on one device: leave out --devices")
    return there[:count]


def _agreed(kind: Kind, options: Any, config: Any, line: str) -> tuple[Path, Any]:
    """`_run_folder` as the first process finds it, which alone reads and writes the folder."""

    def decide() -> str:
        place, found = _run_folder(kind, options, config, line)
        return json.dumps([str(place), to_dict(found)])

    place, found = json.loads(hosts.decided(decide))
    return Path(place), from_dict(kind.config, found)


def _run_folder(kind: Kind, options: Any, config: Any, line: str) -> tuple[Path, Any]:
    """The run's folder, and its configuration: the stored one where the run goes on, with more epochs where asked."""
    if options.name is None:
        if options.resume:
            raise RunError(f"--resume goes on with a run by its name: give --name and one of {_names(options.runs)}")
        data = Path(config.data.name).stem.replace(":", "-")
        words = filter(None, (data, kind.name, time.strftime("%Y%m%d-%H%M%S")))
        return options.runs / "-".join(words), config
    place = options.runs / options.name
    there = {path.name for path in place.iterdir()} if place.is_dir() else set()
    killed_at_its_start = lock.NAME in there and there <= lock.BEFORE_A_RUN
    if not place.exists() or killed_at_its_start:
        if options.resume:
            raise RunError(f"there is no run {place} to resume; there are {_names(options.runs)}")
        return place, config
    if not options.resume:
        raise RunError(f"{place} exists already: give --resume to go on with it, or another --name")
    _, stored = config_file.read(place / "config.json", kind)
    # A value that is the default is given where the command line has it.
    typed = {word.partition("=")[0].replace("_", "-") for word in shlex.split(line) if word.startswith("--")}
    given = {*differences(config, kind.config()), *typed}
    changed = [name for name in differences(config, stored) if name in given]
    if others := [name for name in changed if name != "--epochs"]:
        raise RunError(
            f"{place} was begun with other values of {', '.join(others)}: leave them out, or begin a new run"
        )
    if not changed:
        return place, stored
    longer.check(place, stored, config.epochs)
    return place, replace(stored, epochs=config.epochs)


def _names(runs: Path) -> str:
    return ", ".join(sorted(path.parent.name for path in runs.glob("*/config.json"))) or f"no runs in {runs}"


def _print_next(kind: Kind, place: Path) -> None:
    """What such a run may be asked: how likely test data is, where that is a question about it."""
    questions = list(questions_of(kind.name, str(place)))
    first = [question for question in questions if question.name == "likelihood"] or questions
    if first:
        print(f"ask it next: {first[0].line} (and more: jaxvae --help)")


def _print_result(result: dict[str, Any]) -> None:
    """The numbers, all of them logarithms of densities, so that neighbouring lines have one sign."""
    protocol = result["protocol"]
    print(f"{protocol['dataset']}, {protocol['split']}, test set, ± one standard error {protocol['standard_error']}:")
    for name, unit in result["units"].items():
        value, error = result[name], result[f"{name}_standard_error"]
        turned = name.startswith("test_nll") and unit.startswith("nats")
        number, spread = measured(math.nan if value is None else -value if turned else value, error)
        said = label(name).replace("NLL", "log p(x)") if turned else label(name)
        beside = f" (NLL {measured(value, error)[0]})" if turned else ""
        print(f"  {said}: {' '.join(filter(None, (number, spread, unit)))}{beside}")
    for warning in result.get("warnings", ()):
        print(f"warning: {warning}", file=sys.stderr)
