"""The API reference: a page for each room of the house, from what its `__init__` hands on."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "jaxvae"
SHELL = ("jaxvae.run", "jaxvae.run.folder.opening", "jaxvae.run.choice", "jaxvae.run.data")  # what a kind of your own is written with


@cache
def names() -> list[str]:
    """The rooms of the core from the top, in the order of tests/test_layout.py, then those of the shell."""
    rows = re.search(r'ROOMS = """(.*?)"""', (ROOT / "tests" / "test_layout.py").read_text(), re.DOTALL)
    assert rows is not None, "tests/test_layout.py has no table of rooms"
    ordered = [name for name in rows[1].split() if name.startswith("jaxvae.")]
    above = ("jaxvae.cli", "jaxvae.questions", "jaxvae.recipes", "jaxvae.run")
    core = [name for name in ordered if name not in above]
    missing = [
        f"jaxvae.{folder.parent.name}"
        for folder in sorted(PACKAGE.glob("*/__init__.py"))
        if f"jaxvae.{folder.parent.name}" not in ordered
    ]
    return [*core, *missing, *SHELL]


def module(room: str) -> ModuleType:
    """The module of a room."""
    return importlib.import_module(room)


def exported(room: str) -> dict[str, list[str]]:
    """The public names of a room by the dotted module that defines them, in the order in which they are handed on.

    A file that is a room by itself, and the files of `jaxvae.run`, have the public names that they define.

    Args:
        room: its dotted name.

    Returns:
        Dotted module -> names.
    """
    place = PACKAGE.parent / room.replace(".", "/")
    if (place / "__init__.py").is_file() and hasattr(module(room), "__all__"):
        found: dict[str, list[str]] = {}
        for node in ast.parse((place / "__init__.py").read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                found.setdefault(node.module, []).extend(alias.asname or alias.name for alias in node.names)
        return found
    files = sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    by_file = {".".join(file.relative_to(ROOT).with_suffix("").parts): list(defined(file)) for file in files}
    return {name.removesuffix(".__init__"): public for name, public in by_file.items() if public}


def defined(file: Path) -> Iterator[str]:
    """The public functions and classes of a file, and its aliases of types, in order."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
        elif isinstance(node, ast.Assign) and file.stem == "types":
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


@cache
def documented() -> dict[str, str]:
    """Every documented object: its name as it is defined -> its name in the reference.

    `jaxvae.bounds.base.elbo` -> `jaxvae.bounds.elbo`.
    """
    found = {}
    for room in names():
        handed_on = hasattr(module(room), "__all__")
        for source, public in exported(room).items():
            found |= {f"{source}.{name}": f"{room if handed_on else source}.{name}" for name in public}
    return found


@cache
def by_word() -> dict[str, str]:
    """What a single word means where it means one thing: its name in the reference; names of `jaxvae` come first."""
    places: dict[str, set[str]] = {}
    for reference in documented().values():
        places.setdefault(reference.rpartition(".")[2], set()).add(reference)
    return {word: next(iter(found)) for word, found in places.items() if len(found) == 1} | front()


@cache
def front() -> dict[str, str]:
    """The names of `jaxvae` itself -> where the reference has them; rooms are left out."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            source = f"jaxvae.{node.module}"
            for alias in node.names:
                origin = inspect.getmodule(getattr(module(source), alias.name))
                defined_as = f"{origin.__name__}.{alias.name}" if origin else f"{source}.{alias.name}"
                known = documented()
                found[alias.name] = known.get(defined_as) or f"{source}.{alias.name}"
    return found


def pages() -> dict[str, str]:
    """A page of reStructuredText for each room."""
    return {room: page(room) for room in names()}


def page(room: str) -> str:
    """The page of a room: what it is, a table of its names, then each of them, by the file that defines it.

    Args:
        room: its dotted name.

    Returns:
        The text.
    """
    here, parts = module(room), []
    parts += [titled(room, "="), f".. py:module:: {room}", plain(here.__doc__)]
    handed_on = hasattr(here, "__all__")
    groups = exported(room)
    rows = [
        (f":py:obj:`{name} <{room if handed_on else source}.{name}>`", first_line(getattr(module(source), name), source, name))
        for source, public in groups.items()
        for name in public
    ]
    parts.append(table(rows))
    for source, public in groups.items():
        file = Path(str(module(source).__file__)).relative_to(ROOT).as_posix()
        if len(groups) > 1:
            parts += [titled(file, "-"), plain(module(source).__doc__)]
            if not handed_on and source != room:
                parts.append(f".. py:module:: {source}")
        for name in public:
            parts.append(entry(room if handed_on else source, source, name))
    return "\n\n".join(filter(None, parts)) + "\n"


def entry(owner: str, source: str, name: str) -> str:
    """The directive of one public name."""
    thing = getattr(module(source), name)
    if inspect.isclass(thing):
        lines = [f".. autoclass:: {owner}.{name}", "   :members:"]
        fields = getattr(thing, "_fields", None) or getattr(thing, "__dataclass_fields__", None) or ()
        if fields:
            lines.append(f"   :exclude-members: {', '.join(fields)}")
        if hasattr(thing, "_fields"):
            lines += ["", "   .. code-block:: python", "", textwrap.indent(fields_of(source, name), "      ")]
        return "\n".join(lines)
    if callable(thing) and getattr(thing, "__module__", None) == source and hasattr(thing, "__wrapped__") is False and inspect.isfunction(thing):
        return f".. autofunction:: {owner}.{name}"
    if callable(thing) and inspect.isfunction(inspect.unwrap(thing)) and defined_by_def(source, name):
        return f".. autofunction:: {owner}.{name}"
    return "\n".join([f".. py:data:: {name}", "", "   .. code-block:: python", "", textwrap.indent(said_of_data(source, name), "      ")])


def defined_by_def(source: str, name: str) -> bool:
    """Whether a name is a function's or a class's of its file, and not an assignment's."""
    return any(getattr(node, "name", None) == name for node in tree_of(source).body)


def tree_of(source: str) -> ast.Module:
    """The syntax of a module's file."""
    return ast.parse(Path(str(module(source).__file__)).read_text())


def fields_of(source: str, name: str) -> str:
    """The fields of a NamedTuple as its file has them, with their comments."""
    lines = Path(str(module(source).__file__)).read_text().splitlines()
    owner = next(node for node in tree_of(source).body if getattr(node, "name", None) == name)
    fields = [node for node in owner.body if isinstance(node, ast.AnnAssign)]
    return textwrap.dedent("\n".join(lines[fields[0].lineno - 1 : fields[-1].end_lineno]))


def said_of_data(source: str, name: str) -> str:
    """An assignment as its file has it, with the comment beside it."""
    lines = Path(str(module(source).__file__)).read_text().splitlines()
    for node in tree_of(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return "\n".join(lines[node.lineno - 1 : node.end_lineno])
    return name


def first_line(thing: Any, source: str, name: str) -> str:
    """What is said of a thing in a row of a table: the first sentence of its docstring, or its own line."""
    if inspect.isclass(thing) or inspect.isfunction(inspect.unwrap(thing)) and defined_by_def(source, name):
        text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
        return escaped(re.split(r"(?<=[.])\s+(?=[A-Z])", text)[0])
    said = said_of_data(source, name).splitlines()[0].partition("#")[2].strip()
    return escaped(said)


def plain(text: str | None) -> str:
    """A docstring of a module as paragraphs of reStructuredText."""
    return "\n\n".join(escaped(" ".join(part.split())) for part in (text or "").strip().split("\n\n"))


def escaped(text: str) -> str:
    """Plain text for reStructuredText, with `names` as code."""
    pieces = re.split(r"(`[^`\n]+`)", text)
    return "".join(
        f"``{piece[1:-1]}``" if piece.startswith("`") and len(piece) > 2 else re.sub(r"([\\*|])|(?<=\w)(_)(?!\w)", r"\\\1\2", piece)
        for piece in pieces
    )


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
    rows = [(f":doc:`rooms/{room}`", plain(module(room).__doc__).partition("\n\n")[0]) for room in names()]
    at_the_front = [
        (f":py:obj:`jaxvae.{name} <{place}>`", f":doc:`rooms/{room_of(place)}`") for name, place in sorted(front().items())
    ]
    toc = "\n".join(f"   rooms/{room}" for room in names())
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


def room_of(reference: str) -> str:
    """The room whose page has a name of the reference."""
    return max((room for room in names() if reference.startswith(f"{room}.")), key=len)
