"""Options as nested frozen dataclasses, of which some fields are unions: a member is chosen by its name.

On a command line `--model.posterior sylvester --model.posterior.flows 8`, in any order; in JSON
`{"model": {"posterior": {"is": "sylvester", "flows": 8}}}`. Tyro's own subcommands refuse an option of another group
behind one of theirs: here the members are chosen first, and tyro parses the rest for the members that were.
"""

import dataclasses
import difflib
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from jaxvae.run import RunError
from jaxvae.run.choice import help as helping
from jaxvae.run.choice.as_dict import from_dict, to_dict
from jaxvae.run.choice.fields import (
    EVERYDAY,
    Field,
    Option,
    begun,
    chosen,
    every_option,
    fields_of,
    flag_of,
    joined,
    listed,
    members,
    named,
    parts,
    with_value,
)

__all__ = ["EVERYDAY", "chosen", "differences", "from_dict", "members", "named", "parse", "to_dict"]

Kind = TypeVar("Kind")


def parse(kind: type[Kind], argv: Sequence[str], *, program: str | None, description: str | None = None) -> Kind:
    """A configuration from a command line.

    Args:
        kind: the dataclass that it fills.
        argv: the words after the program's name.
        program: its name, for the help.
        description: the help's first paragraph; by default the docstring of `kind`.

    Returns:
        The configuration.

    Raises:
        RunError: a union has no such member, or an option belongs to a member that was not chosen.
        SystemExit: with 0 after the help, with 2 after tyro has said what it cannot read.
    """
    begin, words = _chosen_from(begun(kind), list(argv))
    everything = "--help-all" in words
    asked = everything or "--help" in words or "-h" in words
    if everything or (asked and helping.is_ours(begin)):
        typed = {_flag(word) for word in argv}
        given = [path for path, _, field in parts(begin) if field and field.members and typed & {*_flags(field, path)}]
        print(helping.page(begin, program, description, everything=everything, given=given))
        sys.exit(0)
    if not asked:
        for path, value, field in parts(begin):
            if field and field.members and value is tyro.MISSING:
                raise RunError(f"{flag_of(path)} is missing: give one of {', '.join(field.members)}")
        words = _checked(begin, words)
    only_chosen = (tyro.conf.AvoidSubcommands,)
    return tyro.cli(kind, args=words, default=begin, prog=program, description=description, config=only_chosen)


def _chosen_from(config: Any, words: list[str], path: str = "") -> tuple[Any, list[str]]:
    """A configuration in which every union holds the member that the words name, and the words that are left."""
    for field in fields_of(config):
        here, value = joined(path, field.name), field.default
        if field.members:
            word, words = _taken(field, here, words)
            value = value if word is None else begun(field.members[word], like=value)
        if dataclasses.is_dataclass(value):
            value, words = _chosen_from(value, words, here)
        if value is not field.default:
            config = with_value(config, field.name, value)
    return config, words


def _flags(field: Field, path: str) -> list[str]:
    return field.flags(path.rpartition(".")[0])


def _flag(word: str) -> str:
    """The flag in a word as it is listed: tyro takes an underscore for a hyphen too."""
    return word.partition("=")[0].replace("_", "-") if word.startswith("--") else ""


def _taken(field: Field, path: str, words: list[str]) -> tuple[str | None, list[str]]:
    """The member that the words name for a union, the last one where there are several, and the words without it."""
    name: str | None = None
    rest: list[str] = []
    queue = iter(words)
    for word in queue:
        if word == "--":
            return name, [*rest, word, *queue]
        if _flag(word) not in _flags(field, path):
            rest.append(word)
            continue
        name = word.partition("=")[2] if "=" in word else next(queue, "")
        if not name or name.startswith("--"):
            raise RunError(f"{_flag(word)} needs a name: give one of {', '.join(field.members)}")
        if name not in field.members:
            raise RunError(f"{_flag(word)} {name} is none of {listed(name, field.members)}")
    return name, rest


def _checked(config: Any, words: list[str]) -> list[str]:
    """The words, of which none is an option of a member that was not chosen.

    `--no-model.mean-bias` becomes tyro's `--model.no-mean-bias`. What is no option at all is left for tyro to refuse,
    unless what is meant is an option that tyro does not know: a union's, or of a member that was not chosen.
    """
    options = list(every_option(config))
    known = {flag for option in options for flag in option.flags}
    words = list(words)
    for at, word in enumerate(words):
        if word == "--":
            break
        flag = _flag(word)
        head, dot, last = flag.rpartition(".")
        if head.startswith("--no-") and (turned := f"--{head[5:]}{dot}no-{last}") in known:
            words[at] = flag = turned
        if flag in known:
            if elsewhere := _elsewhere(config, flag, options):
                raise RunError(f"{flag} {elsewhere}")
        elif flag:
            for near in difflib.get_close_matches(flag, known, 1):
                elsewhere = _elsewhere(config, near, options)
                if elsewhere or any(near in option.flags for option in options if option.field.members):
                    also = f", which {elsewhere}" if elsewhere else ""
                    raise RunError(f"{flag} is no option: perhaps {near}{also}")
    return words


def _elsewhere(config: Any, flag: str, options: Sequence[Option]) -> str:
    """Whose option a flag is, where none of these was chosen, and what to give; else nothing."""
    now = {path: named(type(value)) for path, value in chosen(config).items()}
    owners = [option.of for option in options if flag in option.flags]
    if any(all(now.get(path) == name for path, name in of) for of in owners):
        return ""
    path = next(path for path, name in owners[-1] if now.get(path) != name)  # the outermost that would have to change
    have = list(dict.fromkeys(name for of in owners for place, name in of if place == path))
    those = ", ".join(have[:-1]) + " or " * (len(have) > 1) + have[-1]
    union = flag_of(path)
    return f"is an option of {union} {those}, not of {now[path]}: give {union} {have[0]}"


def differences(left: Any, right: Any, prefix: str = "--") -> list[str]:
    """The options in which two configurations differ.

    Args:
        left: a configuration, or a part of one.
        right: another of the same type.
        prefix: before each name.

    Returns:
        Their flags; where the members of a union differ, the union's own.
    """
    found: list[str] = []
    for field in fields_of(left):
        a, b = field.default, getattr(right, field.name)
        name = prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(a) and type(a) is type(b):
            found += differences(a, b, name + ".")
        elif a != b:
            found.append(name)
    return found
