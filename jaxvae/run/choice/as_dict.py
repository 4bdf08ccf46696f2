"""A configuration as what JSON can hold, and back: a member of a union is `{"is": "sylvester", "flows": 8}`."""

import dataclasses
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

import tyro

from jaxvae.run.choice.fields import Field, begun, fields_of, joined, listed, named

Kind = TypeVar("Kind")
ENDLESS = ("inf", "-inf", "nan")  # as JSON holds them


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as what JSON can hold.

    Args:
        config: a dataclass's instance.

    Returns:
        Its fields: groups as dictionaries, a member of a union as `{"is": name, ...}`, a path as a string, a tuple as
        a list, a number that is not finite as its word ("-inf"), since JSON has none.
    """
    return {field.name: _plain(field.default, bool(field.members)) for field in fields_of(config)}


def _plain(value: Any, is_member: bool = False) -> Any:
    if dataclasses.is_dataclass(value):
        return ({"is": named(type(value))} if is_member else {}) | to_dict(value)
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    endless = isinstance(value, float) and not math.isfinite(value)
    return str(value) if isinstance(value, Path) or endless else value


def from_dict(kind: type[Kind], values: dict[str, Any]) -> Kind:
    """A configuration from what `to_dict` made; a field that is missing, as one of a later version, has its default.

    Args:
        kind: the dataclass.
        values: its fields.

    Returns:
        The configuration.

    Raises:
        ValueError: a field or a member that is unknown, a value of a wrong type, or a field that is missing and has no
            default: a sentence with its dotted path.
    """
    return _group(begun(kind), values, "")


def _group(base: Any, values: Any, path: str) -> Any:
    """An instance of the class of `base`, which holds the defaults."""
    if not isinstance(values, dict):
        raise ValueError(f"{path or 'the configuration'} {values!r} is not a group of options: give an object of JSON")
    fields = {field.name: field for field in fields_of(base)}
    for name in values:
        if name not in fields:
            there = listed(name, fields) if fields else "no options"
            raise ValueError(f"{joined(path, name)} is unknown: there are {there}")
    made = {}
    for name, field in fields.items():
        here = joined(path, name)
        if name in values:
            made[name] = _member(field, values[name], here) if field.members else _value(field, values[name], here)
        elif field.default is tyro.MISSING:
            raise ValueError(f"{here} is missing, and has no default")
        else:
            made[name] = _group(field.default, {}, here) if field.group else field.default
    return type(base)(**made)


def _member(field: Field, value: Any, path: str) -> Any:
    name = "none" if value is None else value.get("is") if isinstance(value, dict) else None
    if name is None:
        raise ValueError(f'{path} {value!r} is not a member of {", ".join(field.members)}: give {{"is": NAME, ...}}')
    if name not in field.members:
        raise ValueError(f"{path} {name} is none of {listed(name, field.members)}")
    kind = field.members[name]
    if kind is types.NoneType:
        return None
    return _group(begun(kind, like=field.default), {key: value[key] for key in value if key != "is"}, path)


def _value(field: Field, value: Any, path: str) -> Any:
    if field.group:
        return _group(begun(field.group, like=field.default), value, path)
    try:
        return _converted(field.hint, value)
    except TypeError:
        raise ValueError(f"{path} {value!r} is not {_expected(field.hint)}") from None


def _converted(hint: Any, value: Any) -> Any:
    """A value of a plain type from JSON; TypeError where it is none."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        for part in args:
            try:
                return _converted(part, value)
            except TypeError:
                continue
    elif origin is Literal:
        if any(value == part and type(value) is type(part) for part in args):
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            kinds = [args[0]] * len(value) if args[1:] == (...,) else args
            if len(kinds) == len(value):
                return tuple(_converted(kind, part) for kind, part in zip(kinds, value, strict=True))
    elif hint is Path:
        return Path(value)  # TypeError for a number
    elif hint is float and (type(value) is int or (isinstance(value, str) and value in ENDLESS)):
        return float(value)
    elif hint is Any or (isinstance(value, hint) and (hint is bool or not isinstance(value, bool))):
        return value
    raise TypeError


def _expected(hint: Any) -> str:
    """A plain type in words."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_expected(part) for part in args)
    if origin is Literal:
        return f"one of {', '.join(map(repr, args))}" if len(args) > 1 else repr(args[0])
    if origin is tuple:
        return "a list of " + ", ".join("..." if part is ... else _expected(part) for part in args)
    words = {types.NoneType: "None", int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
    return words.get(hint, "a path" if hint is Path else f"of {getattr(hint, '__name__', hint)}")
