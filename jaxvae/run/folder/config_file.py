"""A configuration as JSON: `config.json` of a run folder."""

import dataclasses
import json
import os
import types
import typing
from pathlib import Path
from typing import Any, Literal

from jaxvae.run import RunError
from jaxvae.run.config import Config

# Runs of an older version do not have them, and did without.
LATER = {"stream", "accumulate", "remat", "precision", "structure", "classes", "quadrants", "layers", "codes"} | {
    *("posterior", "flows", "amortised", "prior", "components", "alpha", "elbo_share", "groups", "intervals"),
    *("cycle_epochs", "free_bits", "capacity", "encoder_steps", "encoder_epochs"),
    *("pixel_condition", "pixel_radius", "pixel_layers", "width", "inference_steps", "temperature"),
}


def write(config: Config, path: Path, *, command: str) -> None:
    """Write `config.json`, as a whole or not at all.

    Args:
        config: of a run.
        path: the file.
        command: the command line that began the run; it is shown in the report, and not read back.
    """
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(json.dumps(json.loads(to_text(config)) | {"command": command}, indent=2) + "\n")
    os.replace(beside, path)


def to_text(config: Config) -> str:
    """A configuration as JSON.

    Args:
        config: of a run.

    Returns:
        The text.
    """
    return json.dumps(dataclasses.asdict(config), default=str)


def from_text(text: str) -> Config:
    """A configuration from JSON; what an older version did not have (`LATER`) takes its default.

    Args:
        text: made by `to_text`.

    Returns:
        The configuration.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    values = json.loads(text)
    return _from_dict(Config, {name: values[name] for name in values if name != "command"})


def read(path: Path) -> Config:
    """Read `config.json`.

    Args:
        path: the file.

    Returns:
        The configuration.

    Raises:
        RunError: the file is missing, is no JSON, lacks fields, or has some that this version does not know.
    """
    try:
        return from_text(path.read_text())
    except OSError as error:
        raise RunError(f"{path.parent} is no run folder: {path.name} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is no configuration of this version of jaxvae: {error}") from None


def _from_dict(kind: type, values: dict[str, Any]) -> Any:
    """A dataclass from JSON, with no field that is not its own, none missing but a later one, each of its own type."""
    hints = typing.get_type_hints(kind)
    wrong = (set(values) ^ {item.name for item in dataclasses.fields(kind)}) - (LATER - set(values))
    if wrong:
        raise ValueError(f"unknown or missing fields {sorted(wrong)}")
    return kind(**{name: _convert(hints[name], value) for name, value in values.items()})


def _convert(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return _from_dict(typing.cast(type, hint), value)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):  # a Literal | None is of the older kind
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
        return None if value is None else _convert(hint, value)
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise ValueError(f"{value!r} is none of {typing.get_args(hint)}")
        return value
    if hint is Path:
        return Path(value)
    if hint is float and isinstance(value, int):
        return float(value)
    if not isinstance(value, hint):
        raise ValueError(f"{value!r} is not {hint.__name__}")
    return value
