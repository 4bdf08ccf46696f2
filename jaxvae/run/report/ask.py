"""What a run may be asked next, found in the files of the questions, none of which is imported."""

import ast
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

from jaxvae.run.kinds import files

QUESTIONS = "jaxvae.questions"


class Question(NamedTuple):
    """A question that a run can be asked."""

    name: str  # of its file
    says: str  # what it answers
    line: str  # of the command


def questions_of(kind: str, run: str) -> Iterator[Question]:
    """The questions about a kind of VAE.

    Args:
        kind: its name; a question's file says in `KINDS` which it is about.
        run: the run folder, as the command line takes it.

    Yields:
        The questions, in the order of their names.
    """
    for file in files(QUESTIONS).values():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        about = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["KINDS"]
        ]
        says, _, line = (ast.get_docstring(tree) or "").partition("\n")[0].partition(": `")
        if about and kind in about[0] and line:
            yield Question(file.stem, says, re.sub(r"runs/NAME\b", lambda _: run, line.strip("`.")))


def next_questions(kind: str, folder: Path) -> str:
    """The questions that a run has not been asked, as a section.

    Args:
        kind: of the run.
        folder: of the run.

    Returns:
        HTML; empty where there are none.
    """
    asked = {file.stem for file in (folder / "sections").glob("*.json")}
    open_ones = [
        question
        for question in questions_of(kind, str(folder))
        if not any(name == question.name or name.startswith(f"{question.name}-") for name in asked)
    ]
    if not open_ones:
        return ""
    items = "".join(f"<li>{escape(one.says)}<pre>{escape(one.line)}</pre></li>" for one in open_ones)
    return f'<section id="ask"><h2>Ask it next</h2><ul class="ask">{items}</ul></section>'
