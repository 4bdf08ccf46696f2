"""A trained run as a folder that travels: `jaxvae export runs/NAME OUT`."""

import json
import os
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import tyro

from jaxvae.run import RunError
from jaxvae.run.folder import about as about_file
from jaxvae.run.folder import config_file, weights
from jaxvae.run.folder.files import write_json
from jaxvae.run.folder.opening import Run, open_run
from jaxvae.run.recipe import Kind
from jaxvae.run.share.card import card

CARD, RESULT = "README.md", "result.json"
FILES = (weights.NAME, "config.json", "about.json", RESULT, CARD)  # and pictures
PLACES = ("--data.source", "--data.folder", "--runs", "--hosts.coordinator")  # of one machine, and of no other
PICTURES = ("samples", "reconstructions")


@dataclass(frozen=True)
class Options:
    """Write a trained run as a folder that travels: safetensors, config.json, and a card with its data and numbers."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    out: tyro.conf.Positional[Path]
    """The folder to make; it must not exist."""
    seed: int = 0
    """Which of the run's seeds, counted from zero, where it trained several."""
    licence: str | None = None
    """Of the weights, as SPDX writes it: apache-2.0 for instance. Without one the card says that none was given."""
    name: str | None = None
    """Of the model, on its card; by default that of the folder."""


def main(options: Options) -> None:
    """Export, and say what is there.

    Args:
        options: of the command line.
    """
    place = export(options.run, options.out, seed=options.seed, licence=options.licence, name=options.name)
    for file in sorted(place.iterdir()):
        print(f"  {file.name:<22} {file.stat().st_size:>12,} bytes")
    print(f"exported {options.run} to {place}: jaxvae.load({str(place)!r}), or jaxvae push {place} user/name")


def export(
    run: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    licence: str | None = None,
    name: str | None = None,
    kind: Kind | None = None,
) -> Path:
    """Write a trained run as a folder that travels, as a whole or not at all.

    The params are those that the run's numbers were measured with: complete, and the moving average or the best ones
    where the run keeps those. `jaxvae.load` reads the folder, without Orbax; nothing in it can execute code. Where data
    lay on this machine is left out.

    Args:
        run: its folder.
        out: the folder to make; it must not exist.
        seed: which of the run's seeds, counted from zero, where it trained several.
        licence: of the weights, as SPDX writes it; None says on the card that none was given.
        name: of the model, on its card; by default that of the folder.
        kind: of the run, where it is none of `jaxvae.recipes`.

    Returns:
        The folder.

    Raises:
        RunError: there is no such run, the folder exists already, or it cannot be written.
    """
    run, out = Path(run), Path(out)
    if out.exists():
        raise RunError(f"{out} exists already, and nothing in it is overwritten: give a folder that is not there")
    opened = open_run(run, seed=seed, kind=kind)
    beside = out.resolve().with_name(f".{out.resolve().name}.{os.getpid()}.unfinished")
    try:
        beside.mkdir(parents=True)
        _fill(opened, beside, seed, licence, name or out.resolve().name)
        beside.rename(out)
    except OSError as error:
        if isinstance(error.filename, str) and out.exists():
            raise RunError(f"{out} was made by another process at the same time: give another folder") from None
        raise RunError(f"{out} cannot be written ({error.strerror}): make room, or give another folder") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return out


def _fill(run: Run, place: Path, seed: int, licence: str | None, name: str) -> None:
    said = json.loads((run.folder / "config.json").read_text())
    result = _result(run, seed)
    # A reader of the file alone learns what it is; `step` is how long the run had trained.
    head = {"format": "jax", "library": "jaxvae", "kind": run.kind.name, "step": str(run.step)}
    written = weights.write(place / weights.NAME, run.params, head)
    config = replace(run.config, seed=run.config.seed + seed, num_seeds=1, data=_nowhere(run.config.data))
    line = _anywhere(said.get("command", ""), run.config.data.name)
    config_file.write(run.kind, config, place / "config.json", command=line, weights=written)
    about_file.write(run.about, place / "about.json", about_file.data(run.folder / "about.json"))
    if result:
        write_json(place / RESULT, result)
    pictures = _pictures(run.folder / "figures", place)
    told = json.loads((place / "config.json").read_text())
    text = card(name, told, result, licence=licence, pictures=pictures, refusal=_refusal(run))
    (place / CARD).write_text(text, encoding="utf-8")


def _refusal(run: Run) -> str | None:
    """What the model says where it draws nothing by itself, as one that is told a condition."""
    try:
        jax.eval_shape(run.model.sample, jax.random.key(0), run.params)
    except ValueError as error:
        return next(iter(str(error).splitlines()), "")
    return None


def _result(run: Run, seed: int) -> dict[str, Any]:
    """The run's numbers; of several seeds they are the means over all, as their protocol says, and this seed's own."""
    file = run.folder / RESULT
    try:
        result = json.loads(file.read_text()) if file.exists() else {}
    except ValueError as error:
        raise RunError(f"{file} cannot be read as JSON ({error}); mend or remove it") from None
    each = {
        name.removesuffix("_of_each_seed"): values for name, values in result.items() if name.endswith("_each_seed")
    }
    if not each:
        return result
    alone = {name: values[seed] for name, values in each.items()}
    protocol = result["protocol"] | {
        "seeds": [run.config.seed + seed],
        "standard_error": "not known for one of several seeds",
        "seeds_of_the_run": result["protocol"]["seeds"],
    }
    return alone | {"units": result["units"], "protocol": protocol}


def _nowhere(data: Any) -> Any:
    """The data's options without where it lay on this machine."""
    return replace(data, name=_file_name(data.name), source=None, folder=None)


def _file_name(name: str) -> str:
    """Of data that is a file or a folder here, its name alone."""
    return Path(name).name if os.sep in name and Path(name).exists() else name


def _anywhere(line: str, data: str) -> str:
    """A command line without the places of this machine."""
    words = shlex.split(line)
    kept: list[str] = []
    for index, word in enumerate(words):
        valued = index > 0 and words[index - 1] in PLACES
        if not valued and word.partition("=")[0] not in PLACES:
            kept.append(_file_name(word) if word == data else word)
    return shlex.join(kept)


def _pictures(figures: Path, place: Path) -> dict[str, str]:
    """The run's own pictures of what the model makes, copied; file -> what it shows."""
    notes = figures / "captions.json"
    captions = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
    found = {}
    for stem in PICTURES:
        file = figures / f"{stem}.png"
        if file.is_file() and stem in captions:
            shutil.copyfile(file, place / file.name)
            found[file.name] = f"{captions[stem]['title']}. {captions[stem]['caption']}"
    return found
