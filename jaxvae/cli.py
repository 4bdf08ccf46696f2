"""The command `jaxvae`: trains, asks a trained run, describes data. Nothing heavy is imported before it is needed."""

import ast
import difflib
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

RECIPES, QUESTIONS = "jaxvae.recipes", "jaxvae.questions"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command, and end the process.

    Args:
        words: of the command line after the program's name; by default those of the process.
    """
    given = list(sys.argv[1:] if words is None else words)
    first = given[0] if given else "--help"
    if first in ("--help", "-h", "help"):
        print(overview())
        sys.exit(0)
    if first == "--version":
        from jaxvae import __version__

        print(f"jaxvae {__version__}")
        sys.exit(0)
    if first == "train":
        _train(given[1:])
    elif first == "data":
        _ask("jaxvae.run.data.describe", first, given[1:])
    elif first in files(QUESTIONS):
        _ask(f"{QUESTIONS}.{files(QUESTIONS)[first]}", first, given[1:])
    else:
        known = ["train", "data", *files(QUESTIONS)]
        close = difflib.get_close_matches(first, known, n=1)
        meant = f"did you mean jaxvae {close[0]}?" if close else f"there are {', '.join(known)}"
        _refuse(f"jaxvae has no command {first!r}: {meant} (jaxvae --help)")


def overview() -> str:
    """What `jaxvae --help` says: every kind and every question with a line."""
    kinds = "\n".join(f"  {name:<18} {line}" for name, line in _lines(RECIPES).items())
    questions = "\n".join(f"  {name:<18} {line}" for name, line in _lines(QUESTIONS).items())
    return f"""usage: jaxvae train [KIND] [OPTIONS]      train a model, evaluate it, write a report
       jaxvae QUESTION RUN [OPTIONS]      ask a trained run, a folder under runs/
       jaxvae data NAME [OPTIONS]         prepare a data set, and tell what it is

kinds (jaxvae train KIND --help; without one, plain):
{kinds}

questions (jaxvae QUESTION --help):
{questions}"""


def files(package: str) -> dict[str, str]:
    """The words of a package's files, as the command line spells them.

    Args:
        package: its dotted name.

    Returns:
        Word -> the file's name.
    """
    found = find_spec(package)
    places = list(found.submodule_search_locations or ()) if found else []
    return {item.name.replace("_", "-"): item.name for item in pkgutil.iter_modules(places) if not item.ispkg}


def _lines(package: str) -> dict[str, str]:
    """The first line of every file, read without importing it."""
    found = find_spec(package)
    assert found is not None
    place = Path(next(iter(found.submodule_search_locations or ())))
    lines = {}
    for word, name in files(package).items():
        says = ast.get_docstring(ast.parse((place / f"{name}.py").read_text())) or ""
        lines[word] = says.partition("\n")[0].partition(": `")[0].rstrip(".")
    return lines


def _train(words: list[str]) -> None:
    """`jaxvae train [KIND] ...`."""
    kinds = files(RECIPES)
    name = words[0] if words and not words[0].startswith("-") else "plain"
    if name not in kinds:
        close = difflib.get_close_matches(name, kinds, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(kinds)}"
        _refuse(f"jaxvae train knows no kind {name!r}: {meant}")
    _needs("tyro")
    from jaxvae.run.launch import train

    train(import_module(f"{RECIPES}.{kinds[name]}").KIND, words[1:] if words[:1] == [name] else words)


def _ask(module: str, name: str, words: list[str]) -> None:
    """A file with `Options` and `main`."""
    _needs("tyro")
    from jaxvae.run.command import command

    asked = import_module(module)
    command(asked.main, asked.Options, program=f"jaxvae {name}", words=words)


def _needs(package: str) -> None:
    if find_spec(package) is None:
        _refuse(f"{package} is not installed, and the command needs it: pip install 'jaxvae[train]'")


def _refuse(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)
