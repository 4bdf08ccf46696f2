"""The command `jaxvae`: trains, asks a trained run, describes data. Nothing heavy is imported before it is needed."""

import ast
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from jaxvae.run import RunError
from jaxvae.run.kinds import RECIPES, files, kind_of, meant

QUESTIONS = "jaxvae.questions"
COMMANDS = {"data": "jaxvae.run.data.describe", "export": "jaxvae.run.share.export", "push": "jaxvae.run.share.hub"}
LONGEST = 90  # letters of a line about a kind or a question


def main(words: Sequence[str] | None = None) -> None:
    """Run the command, and end the process.

    Args:
        words: of the command line after the program's name; by default those of the process.
    """
    given = list(sys.argv[1:] if words is None else words)
    first, *rest = given or ["--help"]
    if first in ("--help", "-h", "help"):
        _print(overview())
        sys.exit(0)
    if first == "--version":
        print(f"jaxvae {import_module('jaxvae').__version__}")
        sys.exit(0)
    try:
        _run(first, rest)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def overview() -> str:
    """What `jaxvae --help` says: every kind and every question with a line."""
    return f"""usage: jaxvae train [KIND] [OPTIONS]      train a model, evaluate it, write a report
       jaxvae KIND DATA [OPTIONS]         the same as jaxvae train KIND --data DATA
       jaxvae QUESTION RUN [OPTIONS]      ask a trained run, a folder under runs/
       jaxvae data NAME [OPTIONS]         prepare a data set, and tell what it is
       jaxvae export RUN OUT [OPTIONS]    write a trained run as a folder that travels: weights and a card
       jaxvae push OUT NAME [OPTIONS]     upload that folder to a hub, as user/name

kinds (jaxvae train KIND --help; without one, plain):
{_lines(RECIPES)}

questions (jaxvae QUESTION --help):
{_lines(QUESTIONS)}"""


def _lines(package: str) -> str:
    """Every file with its first line, read without importing it."""
    rows = []
    for word, file in files(package).items():
        says = ast.get_docstring(ast.parse(file.read_text())) or ""
        rows.append(f"  {word:<18} {says.partition(chr(10))[0].partition(': `')[0].rstrip('.')[:LONGEST]}")
    return "\n".join(rows)


def _run(first: str, rest: list[str]) -> None:
    questions, kinds = files(QUESTIONS), files(RECIPES)
    if first not in ("train", *COMMANDS, *questions, *kinds):
        close = meant(first, ["train", *COMMANDS, *questions, *kinds], before="jaxvae ")
        raise RunError(f"jaxvae has no command {first!r}: {close} (jaxvae --help)")
    if find_spec("tyro") is None:
        raise RunError("tyro is not installed, and the command needs it: pip install 'jaxvae[train]'")
    if first in kinds and first not in questions:  # a kind's own word, and its data without a flag
        first, rest = "train", [first, *(["--data"] if rest and not rest[0].startswith("-") else []), *rest]
    if first == "train":
        name = rest[0] if rest and not rest[0].startswith("-") else "plain"
        kind = kind_of(name)
        from jaxvae.run.launch import train

        train(kind, rest[1:] if rest[:1] == [name] else rest)
    from jaxvae.run.command import command

    asked = import_module(COMMANDS.get(first) or f"{QUESTIONS}.{questions[first].stem}")
    command(asked.main, asked.Options, program=f"jaxvae {first}", words=rest)
