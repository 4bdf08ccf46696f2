"""A configuration as JSON: `config.json` of a run folder, with the kind of VAE and the version that wrote it."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxvae.run import RunError
from jaxvae.run.choice import from_dict, to_dict
from jaxvae.run.folder.files import write_json
from jaxvae.run.kinds import kind_of
from jaxvae.run.recipe import Kind

BESIDE = ("kind", "version", "command", "weights")  # what stands beside the configuration's own fields


def write(kind: Kind, config: Any, path: Path, *, command: str, weights: str | None = None) -> None:
    """Write `config.json`, as a whole or not at all.

    Args:
        kind: of the run.
        config: of the run.
        path: the file.
        command: the command line that began the run; it is shown in the report.
        weights: the SHA-256 of the weights beside it, where the folder is an exported one.
    """
    beside = {"kind": kind.name, "version": version("jaxvae"), "command": command}
    beside |= {} if weights is None else {"weights": weights}
    write_json(path, beside | to_dict(config))


def commands(path: Path) -> str:
    """The command lines that a run was begun with and went on for longer with, as `write` was given them.

    Args:
        path: the file, which `read` has read.

    Returns:
        The lines; "" where there are none.
    """
    return str(json.loads(path.read_text()).get("command", ""))


def weights(path: Path) -> str | None:
    """The SHA-256 that the weights of an exported folder were written with.

    Args:
        path: of `config.json`, which `read` can read.

    Returns:
        The sum; None where the file has none.
    """
    return json.loads(path.read_text()).get("weights")


def read(path: Path, kind: Kind | None = None) -> tuple[Kind, Any]:
    """Read `config.json`.

    Args:
        path: the file.
        kind: of the run, where it is none of this library's.

    Returns:
        The kind and the configuration.

    Raises:
        RunError: the file is missing, is no JSON, names no kind, or has fields that this version does not know.
    """
    try:
        values = json.loads(path.read_text())
        name = values["kind"]
    except OSError as error:
        raise RunError(f"{path.parent} is no run folder: {path.name} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is no configuration of this version of jaxvae: {error!r}") from None
    kind = kind or kind_of(name, place=path.parent)
    if kind.name != name:
        raise RunError(f"{path.parent} is a run of the kind {name}, not {kind.name}: give its own kind")
    try:
        return kind, from_dict(kind.config, {field: values[field] for field in values if field not in BESIDE})
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is no configuration of this version of jaxvae: {error}") from None
