"""The API reference: a page for each room of the house, from what its `__init__` hands on."""

import ast
import inspect
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

from gather import public
from gather.public import ROOT, prose


def pages() -> dict[str, str]:
    """A page of reStructuredText for each room."""
    return {room: page(room) for room in public.names()}


def page(room: str) -> str:
    """The page of a room: what it is, a table of its names, then each of them, by the file that defines it.

    Args:
        room: its dotted name.

    Returns:
        The text.
    """
    here, parts = public.module(room), []
    parts += [titled(room, "="), f".. py:module:: {room}", plain(here.__doc__)]
    handed_on = hasattr(here, "__all__")
    groups = public.exported(room)
    rows = [
        (
            f":py:obj:`{name} <{room if handed_on else source}.{name}>`",
            first_line(getattr(public.module(source), name), source, name),
        )
        for source, found in groups.items()
        for name in found
    ]
    parts.append(table(rows))
    for source, found in groups.items():
        file = Path(str(public.module(source).__file__)).relative_to(ROOT).as_posix()
        if len(groups) > 1:
            parts += [titled(file, "-"), plain(public.module(source).__doc__)]
            if not handed_on and source != room:
                parts.append(f".. py:module:: {source}")
        for name in found:
            parts.append(entry(room if handed_on else source, source, name))
    return "\n\n".join(filter(None, parts)) + "\n"


def entry(owner: str, source: str, name: str) -> str:
    """The directive of one public name."""
    thing = getattr(public.module(source), name)
    if inspect.isclass(thing):
        lines = [f".. autoclass:: {owner}.{name}", "   :members:"]
        fields = getattr(thing, "_fields", None) or getattr(thing, "__dataclass_fields__", None) or ()
        if fields:
            lines.append(f"   :exclude-members: {', '.join(fields)}")
        if hasattr(thing, "_fields"):
            lines += ["", "   .. code-block:: python", "", textwrap.indent(fields_of(source, name), "      ")]
        return "\n".join(lines)
    if callable(thing) and inspect.isfunction(inspect.unwrap(thing)) and defined_by_def(source, name):
        return f".. autofunction:: {owner}.{name}"
    return "\n".join(
        [
            f".. py:data:: {name}",
            "",
            "   .. code-block:: python",
            "",
            textwrap.indent(said_of_data(source, name), "      "),
        ]
    )


def defined_by_def(source: str, name: str) -> bool:
    """Whether a name is a function's or a class's of its file, and not an assignment's."""
    return any(getattr(node, "name", None) == name for node in tree_of(source).body)


@cache
def tree_of(source: str) -> ast.Module:
    """The syntax of a module's file."""
    return ast.parse(Path(str(public.module(source).__file__)).read_text())


def fields_of(source: str, name: str) -> str:
    """The fields of a NamedTuple as its file has them, with their comments."""
    lines = Path(str(public.module(source).__file__)).read_text().splitlines()
    owner = next(node for node in tree_of(source).body if getattr(node, "name", None) == name)
    fields = [node for node in owner.body if isinstance(node, ast.AnnAssign)]
    return textwrap.dedent("\n".join(lines[fields[0].lineno - 1 : fields[-1].end_lineno]))


def said_of_data(source: str, name: str) -> str:
    """An assignment as its file has it, with the comment beside it."""
    lines = Path(str(public.module(source).__file__)).read_text().splitlines()
    for node in tree_of(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return "\n".join(lines[node.lineno - 1 : node.end_lineno])
    return name


def first_line(thing: Any, source: str, name: str) -> str:
    """What is said of a thing in a row of a table: the first sentence of its docstring, or its own line."""
    if inspect.isclass(thing) or (inspect.isfunction(inspect.unwrap(thing)) and defined_by_def(source, name)):
        text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
        return prose(re.split(r"(?<=[.])\s+(?=[A-Z])", text)[0])
    said = said_of_data(source, name).splitlines()[0].partition("#")[2].strip()
    return prose(said)


def plain(text: str | None) -> str:
    """A docstring of a module as paragraphs of reStructuredText."""
    return "\n\n".join(prose(" ".join(part.split())) for part in (text or "").strip().split("\n\n"))


def titled(text: str, mark: str) -> str:
    """A title."""
    return f"{text}\n{mark * len(text)}"


def table(rows: list[tuple[str, str]]) -> str:
    """A table of two columns."""
    lines = [".. list-table::", "   :widths: 30 70", "   :class: names", ""]
    for name, said in rows:
        lines += [f"   * - {name}", f"     - {said}"]
    return "\n".join(lines)


def index() -> str:
    """The page that names all rooms."""
    rows = [
        (f":doc:`rooms/{room}`", plain(public.module(room).__doc__).partition("\n\n")[0]) for room in public.names()
    ]
    at_the_front = [
        (f":py:obj:`jaxvae.{name} <{place}>`", f":doc:`rooms/{public.room_of(place)}`")
        for name, place in sorted(public.front().items())
    ]
    toc = "\n".join(f"   rooms/{room}" for room in public.names())
    return "\n\n".join(
        [
            titled("The rooms of the house", "="),
            "Each room imports from the rooms below it only, so this is also the order in which they can be read, from "
            "the bottom. What is used most is handed on by ``jaxvae`` itself.",
            table(rows),
            titled("At the front door", "-"),
            "``import jaxvae`` has these names, each with the room that explains it.",
            table(at_the_front),
            f".. toctree::\n   :hidden:\n\n{toc}",
        ]
    )
