"""The help of a command whose options are more than a screen: a short page of everyday options, and one of all."""

import re
import shutil
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import tyro

from jaxvae.run.choice.fields import EVERYDAY, Option, begun, chosen, every_option, fields_of, flag_of, joined, named


def is_ours(config: Any) -> bool:
    """Whether tyro's own help does not serve: there are unions, or options for every day."""
    return any(option.field.members or EVERYDAY in option.field.marks for option in every_option(config))


def page(config: Any, program: str | None, description: str | None, *, everything: bool, given: Sequence[str]) -> str:
    """The text of `--help`, or of `--help-all`.

    Args:
        config: the defaults, with the members that the command line chose.
        program: the command's name.
        description: its first paragraph; by default the docstring of the configuration's class.
        everything: show every option, with a section for each member of each union.
        given: the paths of the unions of which the command line names a member: its options are shown.

    Returns:
        Lines that fit the terminal.
    """
    options = list(every_option(config))
    members = chosen(config)
    names = {path: named(type(value)) for path, value in members.items()}
    now = [option for option in options if all(names.get(path) == name for path, name in option.of)]
    everyday = [option for option in now if EVERYDAY in option.field.marks]
    positional = [option for option in now if option.field.positional]
    usage = ["usage:", program or "", "[OPTIONS]", *(shape_of(option.field.hint) for option in positional)]
    top = [_wrapped(" ".join(filter(None, usage)), 0), _wrapped(description or _said(type(config)), 0)]
    top += [_section("", "", positional)]
    if everything or not any(EVERYDAY in option.field.marks for option in options):
        return "\n\n".join(filter(None, [*top, *_sections(config)]))

    unions = [option for option in now if option.field.members]
    plain = [option for option in everyday if not option.field.members and not option.field.positional]
    shown = {option.path for option in (*positional, *plain, *unions)}
    top += [_section("options:", "", plain, brief=True), _section("choices:", "", unions, brief=True, given=given)]
    for path in given:
        own = [option for option in now if option.path.startswith(f"{path}.") and option.path not in shown]
        shown |= {option.path for option in own}
        top += [_section(f"{flag_of(path)} {names[path]}:", _said(type(members[path])), own)]
    more = len({option.path for option in options} - shown)
    return "\n\n".join(filter(None, [*top, f"{more} more options: --help-all" if more else ""]))


def _sections(config: Any, path: str = "", title: str = "options:", said: str = "", owner: str = "") -> Iterator[str]:
    """A section for the options of a group or a member, and those of the groups and members within it."""
    fields = [(joined(path, field.name), field) for field in fields_of(config)]
    yield _section(title, said, [Option(at, field, ()) for at, field in fields if not field.group and field.flags("")])
    for at, field in fields:
        if field.group:
            yield from _sections(field.default, at, f"{at}{owner}:", _said(field.group), owner)
        for name, member in field.members.items():
            if member is not types.NoneType:
                made = begun(member, like=field.default)
                yield from _sections(made, at, f"{flag_of(at)} {name}{owner}:", _said(member), f" of {name}{owner}")


def _section(
    title: str, said: str, options: Sequence[Option], *, brief: bool = False, given: Sequence[str] = ()
) -> str:
    """A title, what the class says of itself, and each option; nothing where there is neither."""
    lines = [_wrapped(said, 2), *(_entry(option, brief, option.path in given) for option in options)]
    return "\n".join(filter(None, [title, *lines])) if any(lines) else ""


def _entry(option: Option, brief: bool, is_given: bool) -> str:
    """An option's flags on a line, and what it is further in."""
    field, default = option.field, option.field.default
    if field.members:
        shape, said = "NAME", "" if default is tyro.MISSING else named(type(default))
    else:
        shape = "" if field.hint is bool else shape_of(field.hint)
        said = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    ending = "(required)" if default is tyro.MISSING else f"({'chosen' if is_given else 'default'}: {said})"
    text = re.split(r"(?<=[.?!])\s+(?=[A-Z(-])", field.text)[0] if brief else field.text
    names = f"One of {', '.join(field.members)}." if field.members else ""
    head = " ".join(filter(None, [", ".join(option.flags), shape]))
    return "\n".join([_wrapped(head, 2), _wrapped(" ".join(filter(None, [text, names, ending])), 6)])


def shape_of(hint: Any) -> str:
    """How a value is written, as tyro says it.

    >>> shape_of(int | None), shape_of(Literal["a", "b"]), shape_of(tuple[int, ...])
    ('INT|None', '{a, b}', '[INT [INT ...]]')
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return "|".join(shape_of(part) for part in args)
    if origin is Literal:
        return "{" + ", ".join(map(str, args)) + "}"
    if origin is tuple and args[1:] == (...,):
        return f"[{shape_of(args[0])} [{shape_of(args[0])} ...]]"
    if origin is tuple:
        return " ".join(shape_of(part) for part in args)
    return {types.NoneType: "None", Path: "PATH"}.get(hint, getattr(hint, "__name__", "VALUE").upper())


def _said(kind: type) -> str:
    """The first paragraph of a class's docstring; none where a dataclass made it of its fields."""
    text = (kind.__doc__ or "").strip().partition("\n\n")[0]
    return "" if text.startswith(f"{kind.__name__}(") else " ".join(text.split())


def _wrapped(text: str, indent: int) -> str:
    width = max(40, min(100, shutil.get_terminal_size().columns))
    lead = " " * indent
    further = lead if indent != 2 else lead + "    "
    return textwrap.fill(
        text, width, initial_indent=lead, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )
