"""The tables of options, from the dataclasses of the recipes: kinds are discovered, and none is named here."""

import ast
import dataclasses
import importlib
import re
from typing import Any

import tyro

from gather.papers import table
from jaxvae.run.choice.fields import Field, begun, fields_of, flag_of, joined, named
from jaxvae.run.choice.help import shape_of
from jaxvae.run.choice.ranges import RANGES, Above, AtLeast, Below, Between
from jaxvae.run.kinds import RECIPES, files, kind_of, names
from jaxvae.run.launch import options_of


def tables() -> dict[str, str]:
    """The options of each kind's own, for its page: those that not every kind has, or that begin otherwise here."""
    shared = {entry(path, field) for path, field in every_run()}
    found = {}
    for name in names():
        of_kind = flat(options_of(kind_of(name)))
        own = [entry(path, field) for path, field in of_kind if not field.members]
        unions = [
            (
                f"[`{flag_of(path)}`]({anchor(path)})",
                f"`{of_default(field)}`",
                ", ".join(f"`{word}`" for word in field.members),
            )
            for path, field in of_kind
            if field.members
        ]
        text = [
            f"The options that every run has are in [the tables](option-tables). Of `jaxvae train {name}` alone, or "
            "with another default here:",
            "",
            *(text for text in own if text not in shared),
        ]
        if unions:
            text += ["", "What is chosen by its name, with options of its own:", ""]
            text += table(("option", "default", "one of"), unions)
        found[name] = "\n".join(text) + "\n"
    return found


def anchor(path: str) -> str:
    """The label of a union's section."""
    return f"option-{path.replace('.', '-').replace('_', '-')}"


def every_run() -> list[tuple[str, Field]]:
    """The options that all kinds have, each with its most common default; unions are left out."""
    of_each = [dict(flat(options_of(kind_of(name)))) for name in names()]
    found = []
    for path in of_each[0]:
        fields = [of[path] for of in of_each if path in of and not of[path].members]
        if len(fields) == len(of_each):
            said_so = [(str(field.default), field.text) for field in fields]
            found.append((path, fields[said_so.index(max(said_so, key=said_so.count))]))
    return found


def flat(config: Any, path: str = "") -> list[tuple[str, Field]]:
    """The options of a configuration and its groups, not of the members of unions."""
    found = []
    for field in fields_of(config if not isinstance(config, type) else begun(config)):
        here = joined(path, field.name)
        found += flat(field.default, here) if field.group else [(here, field)]
    return found


def page() -> str:
    """The page of all options: those of every run, then the members of every union."""
    unions: dict[str, dict[str, list[tuple[str, type]]]] = {}
    texts, defaults = {}, {}
    for name in names():
        for path, field in flat(options_of(kind_of(name))):
            if field.members:
                texts.setdefault(path, field.text)
                defaults.setdefault(path, of_default(field))
                for word, member in field.members.items():
                    unions.setdefault(path, {}).setdefault(word, []).append((name, member))
    text = [
        "(option-tables)=",
        "# The option tables",
        "",
        "Made at the build from the dataclasses of the recipes; `jaxvae train KIND --help` and `--help-all` say the "
        "same. What a kind has of its own is on [its page](../kinds/index.md). Options go in any order; a choice's own "
        "options are given beside it: `--model.posterior iaf --model.posterior.flows 4`.",
        "",
        "## Of every run",
        "",
        *(entry(path, field) for path, field in every_run()),
    ]
    for path, members in unions.items():
        text += [
            "",
            f"({anchor(path)})=",
            f"## `{flag_of(path)}`",
            "",
            f"{texts[path]} By default `{defaults[path]}`.",
            "",
        ]
        text += taken_by(members)
        for word, found in members.items():
            member = found[0][1]
            text.append(f"**`{word}`**\n: {said(member)}\n")
            if dataclasses.is_dataclass(member):
                text += [f"  {short(joined(path, field.name), field)}\n" for field in fields_of(begun(member))]
    return "\n".join(text) + "\n"


def taken_by(members: dict[str, list[tuple[str, type]]]) -> list[str]:
    """Which kinds take the members of a union: all of them, or some."""
    kinds: dict[str, list[str]] = {}
    for word, found in members.items():
        for name, _ in found:
            kinds.setdefault(name, []).append(word)
    whole = [f"`{name}`" for name, words in kinds.items() if len(words) == len(members)]
    parts = [
        f"`{name}` ({', '.join(f'`{word}`' for word in words)})"
        for name, words in kinds.items()
        if len(words) < len(members)
    ]
    return [f"Taken by {', '.join([*whole, *parts])}.", ""]


def questions() -> str:
    """The page of the questions that a trained run is asked, with the options of each."""
    text = [
        "# The questions to a run",
        "",
        "`jaxvae QUESTION runs/RUN` adds numbers with their protocol, pictures and a section to the run's report.",
    ]
    for word, file in files("jaxvae.questions").items():
        first = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
        options = importlib.import_module(f"jaxvae.questions.{file.stem}").Options
        text += ["", f"## `jaxvae {word}`", "", re.sub(r": `jaxvae.*$", "", first).rstrip(".") + ".", ""]
        text += [entry(path, field) for path, field in flat(options)]
    return "\n".join(text) + "\n"


def entry(path: str, field: Field) -> str:
    """An option in a list of definitions: how it is written, what it does, its range and its default."""
    return f"{written(path, field)}\n: {means(field)}\n"


def short(path: str, field: Field) -> str:
    """An option of a member, as a line of the member's definition."""
    return f"- {written(path, field)}: {means(field)}"


def written(path: str, field: Field) -> str:
    """How an option is written: its alias where it has one, and what it takes."""
    shape = "" if field.hint is bool else f" {shape_of(field.hint)}"
    flags = field.flags(path.rpartition(".")[0])
    aliases = [flag for flag in flags[1:] if not flag.startswith("--no-") and "." not in flag]
    return f"`{[*aliases, *flags, ''][0]}{shape}`".replace("` ", "`")


def means(field: Field) -> str:
    """What an option does, its range, and its default."""
    ranges = [in_words(mark) for mark in field.marks if isinstance(mark, RANGES)]
    if field.default is tyro.MISSING:
        ranges.append("required")
    elif field.default is not None:  # where it is None the text says what that means
        ranges.append(f"default `{of_default(field)}`")
    return " ".join(field.text.split()) + (f" *{', '.join(ranges)}*" if ranges else "")


def of_default(field: Field) -> str:
    """The default as one types it."""
    default = field.default
    if default is tyro.MISSING:
        return "required"
    if field.members:
        return named(type(default))
    if isinstance(default, bool):
        return "yes" if default else "no"
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def in_words(mark: Any) -> str:
    """A range in words."""
    if isinstance(mark, AtLeast):
        return f"at least {mark.lowest:g}"
    if isinstance(mark, Above):
        return f"above {mark.low:g}"
    if isinstance(mark, Below):
        return f"below {mark.high:g}"
    if isinstance(mark, Between):
        return f"between {mark.low:g} and {mark.high:g}"
    return f"{mark.lowest:g} to {mark.highest:g}"


def said(kind: type) -> str:
    """What a member says of itself."""
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split()) if dataclasses.is_dataclass(kind) else "Without."


def kinds() -> str:
    """The table of all kinds, for their index: each with the first sentence of its recipe."""
    rows = []
    for word, file in files(RECIPES).items():
        says = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
        rows.append((f"[`{word}`]({word}.md)", says))
    return "\n".join(table(("kind", "what it is"), rows)) + "\n"
