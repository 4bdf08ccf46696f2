"""What option classes are made of: their fields, the unions among these, and the members of a union by their names."""

import ast
import copy
import dataclasses
import difflib
import functools
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import tyro


class Everyday:
    """The marker of an option that `--help` shows: `latent: Annotated[int, EVERYDAY] = 20`."""

    def __repr__(self) -> str:
        return "EVERYDAY"


EVERYDAY = Everyday()


class Field(NamedTuple):
    """A field of an option class."""

    name: str
    hint: Any  # its type, without Annotated
    marks: tuple[Any, ...]  # what stood in Annotated
    default: Any  # an instance; tyro.MISSING where there is none
    text: str  # its docstring on one line

    @property
    def members(self) -> dict[str, type]:
        """The members of a union by their names, none where it is no union of dataclasses."""
        return members_of(self.hint)

    @property
    def group(self) -> type | None:
        """The dataclass of a nested group that is no union."""
        return self.hint if dataclasses.is_dataclass(self.hint) and isinstance(self.hint, type) else None

    @property
    def positional(self) -> bool:
        """Whether it is given without a flag."""
        return tyro.conf.Positional in self.marks

    def flags(self, prefix: str) -> list[str]:
        """How it is spelled on a command line: its flag, its aliases, and how a switch is turned off.

        Args:
            prefix: the dotted path of the class that it is a field of, "" at the top.
        """
        path = joined(prefix, self.name)
        aliases = [alias for mark in self.marks for alias in getattr(mark, "aliases", None) or ()]
        off = [flag_of(joined(prefix, f"no-{self.name}"))] if self.hint is bool else []
        return [] if self.positional else [flag_of(path), *aliases, *off]


def joined(path: str, name: str) -> str:
    """The dotted path of a field within the part of a configuration at a path."""
    return f"{path}.{name}" if path else name


def flag_of(path: str) -> str:
    """The flag of a dotted path.

    >>> flag_of("model.mean_bias")
    '--model.mean-bias'
    """
    return "--" + path.replace("_", "-")


def listed(name: Any, names: Collection[str]) -> str:
    """The names that there are, and the one that is meant by a name that is not among them."""
    near = difflib.get_close_matches(str(name), list(names), 1)
    return ", ".join(names) + (f": perhaps {near[0]}" if near else "")


def named(kind: type) -> str:
    """The name of a member of a union: its own class attribute `word`, or its class name in kebab-case.

    >>> class VonMisesFisher: ...
    >>> class IAF: ...
    >>> class Free:
    ...     word = "free-form"
    >>> named(VonMisesFisher), named(IAF), named(Free)
    ('von-mises-fisher', 'iaf', 'free-form')
    """
    if kind is types.NoneType:
        return "none"
    own = vars(kind).get("word")
    is_option = dataclasses.is_dataclass(kind) and "word" in [item.name for item in dataclasses.fields(kind)]
    if isinstance(own, str) and not is_option:
        return own
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", kind.__name__).lower()


@functools.cache
def members_of(hint: Any) -> dict[str, type]:
    """The members of a union of dataclasses by their names, in the order of the union.

    Args:
        hint: a type, without Annotated.

    Returns:
        Name -> class, "none" -> NoneType where None is one of them; empty where the type is no such union.

    Raises:
        TypeError: two members have one name, which is a mistake of their author.
    """
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return {}
    parts = typing.get_args(hint)
    kinds = [part for part in parts if part is not types.NoneType]
    if not all(isinstance(part, type) and dataclasses.is_dataclass(part) for part in kinds):
        return {}
    found = {named(part): part for part in parts}
    if len(found) < len(parts):
        raise TypeError(f"two of {', '.join(part.__name__ for part in parts)} have one name: give them a `word` each")
    return found


def fields_of(value: Any) -> Iterator[Field]:
    """The fields of an option class, or of an instance, whose values are then the defaults.

    Args:
        value: a dataclass, or an instance of one.

    Yields:
        The fields that its constructor takes, in order.
    """
    kind = value if isinstance(value, type) else type(value)
    for field in _fields(kind):
        if not isinstance(value, type):
            yield field._replace(default=getattr(value, field.name))
        elif isinstance(field.default, _Made):
            yield field._replace(default=field.default.make())
        else:
            yield field


class _Made(NamedTuple):
    """A default that is made anew each time."""

    make: Any


@functools.cache
def _fields(kind: type) -> tuple[Field, ...]:
    hints, texts = typing.get_type_hints(kind, include_extras=True), documented(kind)
    return tuple(_field(item, hints[item.name], texts) for item in dataclasses.fields(kind) if item.init)


def _field(item: dataclasses.Field, hint: Any, texts: dict[str, str]) -> Field:
    marks: tuple[Any, ...] = ()
    while typing.get_origin(hint) is typing.Annotated:
        hint, marks = hint.__origin__, marks + hint.__metadata__
    default: Any = tyro.MISSING
    if item.default is not dataclasses.MISSING:
        default = item.default
    elif item.default_factory is not dataclasses.MISSING:
        default = _Made(item.default_factory)
    elif isinstance(hint, type) and dataclasses.is_dataclass(
        hint
    ):  # a group without a default has those of its own fields
        default = _Made(functools.partial(begun, hint))
    help_of_mark = [text for mark in marks if isinstance(text := getattr(mark, "help", None), str)]
    return Field(item.name, hint, marks, default, (help_of_mark or [texts.get(item.name, "")])[0])


def begun(kind: type, like: Any = None) -> Any:
    """An instance with every default, tyro.MISSING for the fields that have none, not checked by `__post_init__`.

    Args:
        kind: an option class, or NoneType.
        like: handed back where it is of that very class: the default of the field where the instance will stand.
    """
    if kind is types.NoneType:
        return None
    if type(like) is kind:
        return like
    made: Any = object.__new__(kind)
    for field in fields_of(kind):
        object.__setattr__(made, field.name, field.default)
    return made


def with_value(config: Any, name: str, value: Any) -> Any:
    """A copy with one field replaced, not checked by `__post_init__`, for what is not complete."""
    made = copy.copy(config)
    object.__setattr__(made, name, value)
    return made


def parts(config: Any, path: str = "") -> Iterator[tuple[str, Any, Field | None]]:
    """A configuration and all groups and chosen members within it, from the outside in.

    Args:
        config: an option class's instance.
        path: where it stands in another.

    Yields:
        (dotted path, instance, the field that holds it), None for the field of the configuration itself.
    """
    if not path:
        yield "", config, None
    for field in fields_of(config):
        if field.members or field.group:
            here = joined(path, field.name)
            yield here, field.default, field
            if dataclasses.is_dataclass(field.default):
                yield from parts(field.default, here)


class Option(NamedTuple):
    """What can be given on a command line, where the members that it belongs to are chosen."""

    path: str  # dotted
    field: Field
    of: tuple[tuple[str, str], ...]  # (path of a union, name of its member), from the outside in

    @property
    def flags(self) -> list[str]:
        """Its spellings."""
        return self.field.flags(self.path.rpartition(".")[0])


def every_option(config: Any, path: str = "", of: tuple[tuple[str, str], ...] = ()) -> Iterator[Option]:
    """Every option of a configuration, of the members that were not chosen too.

    Args:
        config: the instance that holds the defaults.
        path: where it stands in another.
        of: the members that it is part of.
    """
    for field in fields_of(config):
        here = joined(path, field.name)
        if not field.group:
            yield Option(here, field, of)
        elif dataclasses.is_dataclass(field.default):
            yield from every_option(field.default, here, of)
        for name, member in field.members.items():
            if member is not types.NoneType:
                yield from every_option(begun(member, like=field.default), here, (*of, (here, name)))


def chosen(config: Any) -> dict[str, Any]:
    """The members that were chosen.

    Args:
        config: a configuration.

    Returns:
        The dotted path of every union -> the instance there.
    """
    return {path: value for path, value, field in parts(config) if field and field.members}


def members(kind: type, path: str) -> dict[str, type]:
    """What can be chosen at a path.

    Args:
        kind: the type of a configuration.
        path: dotted; it may lead through members of unions.

    Returns:
        Name -> class; empty where there is no union.
    """
    head, _, rest = path.partition(".")
    field = next((field for field in _fields(kind) if field.name == head), None) if kind is not types.NoneType else None
    if field is None:
        return {}
    if not rest:
        return field.members
    inner = field.members.values() or ([field.group] if field.group else [])
    return {name: member for part in inner for name, member in members(part, rest).items()}


@functools.cache
def documented(kind: type) -> dict[str, str]:
    """The docstrings under the fields of a class, its parents' too, each on one line."""
    found: dict[str, str] = {}
    for part in reversed(kind.__mro__[:-1]):
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        except (OSError, TypeError, SyntaxError):  # made without a file, or its docstrings are outdented
            continue
        lines = body.body if isinstance(body, ast.ClassDef) else []
        for line, below in itertools.pairwise(lines):
            match line, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found
