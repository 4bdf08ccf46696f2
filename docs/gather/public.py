"""Every public name: the room that hands it on, the file that defines it, and how a text that says it links to it."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "jaxvae"
SHELL = (
    "jaxvae.run",
    "jaxvae.run.folder.opening",
    "jaxvae.run.choice",
    "jaxvae.run.data",
    "jaxvae.run.share.export",
    "jaxvae.run.share.hub",
)  # what a kind of your own is written with


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


def room_of(reference: str) -> str:
    """The room whose page has a name of the reference."""
    return max((room for room in names() if reference.startswith(f"{room}.")), key=len)


def reference_of(name: str) -> str | None:
    """The name in the reference of what a text calls `name`, or nothing."""
    if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
        return None
    known = documented()
    if name in known.values() or name in names():
        return name
    if name in known:
        return known[name]
    word = name.removeprefix("jaxvae.")
    if word in by_word():
        return by_word()[word]
    within = f"jaxvae.{name}"
    return within if within in known.values() else None


def linked(code: str) -> str:
    """What stands in backticks: a link where it names one thing of the reference, else code."""
    reference = reference_of(code)
    return f":py:obj:`{code} <{reference}>`" if reference else f"``{code}``"


def escaped(text: str) -> str:
    """Plain text for reStructuredText."""
    return re.sub(r"([\\*|])|(?<=\w)(_)(?!\w)", r"\\\1\2", text)


def prose(text: str) -> str:
    """A line for reStructuredText: names in backticks are links or code, everything else is plain."""
    pieces = re.split(r"(`[^`]+`)", text)
    return "".join(
        linked(piece[1:-1]) if piece.startswith("`") and len(piece) > 2 else escaped(piece) for piece in pieces
    )
