"""The papers, and where they are: gathered from the `Source:` lines of the docstrings."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gather import public

ROOT = Path(__file__).parents[2]
YEAR = re.compile(r"\((?:[A-Z]+ )?(\d{4})\)")
NAME = r"(?:van den |van der |van |de |von )?[A-ZÀ-Ž][\w'’-]+(?: [A-ZÀ-Ž][\w'’-]+)*"
AUTHORS = rf"{NAME}(?:, {NAME})*(?: (?:&|and) {NAME})?(?: et al)?$"


class Source(NamedTuple):
    """One `Source:` paragraph."""

    file: str  # jaxvae/bounds/base.py
    owner: str  # elbo; VonMisesFisher.sample; "" of the file itself
    text: str  # on one line


class Citation(NamedTuple):
    """One paper in a `Source:` paragraph."""

    source: Source
    authors: str  # as they are written there
    title: str  # "" where it is not said again
    year: str  # "" where the paragraph names no paper
    where: str  # equation 3


def sources() -> list[Source]:
    """Every `Source:` paragraph of the library, in the order of its files."""
    found = []
    for file in sorted((ROOT / "jaxvae").rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        for owner, text in docstrings(ast.parse(file.read_text())):
            for match in re.finditer(r"^\s*Source: (.*?)(?=\n\s*\n|\Z)", text, re.DOTALL | re.MULTILINE):
                found.append(Source(name, owner, " ".join(match[1].split())))
    return found


def docstrings(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every docstring within a tree, with the dotted name of its owner."""
    text = ast.get_docstring(tree) if isinstance(tree, ast.Module | ast.ClassDef | ast.FunctionDef) else None
    if text:
        yield prefix, text
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield from docstrings(node, f"{prefix}.{node.name}".lstrip("."))


def citations(source: Source) -> list[Citation]:
    """The papers of one paragraph. It names each by its authors and, in brackets, the year: a part without a year
    belongs to the paper before it.
    """
    years = list(YEAR.finditer(source.text))
    if not years:
        return [Citation(source, "", "", "", source.text)]
    starts = [0]
    for before, after in itertools.pairwise(years):
        starts.append(before.end() + next_paper(source.text[before.end() : after.start()]))
    found = []
    for start, end, year in zip(starts, [*starts[1:], len(source.text)], years, strict=True):
        head = source.text[start : year.start()].strip(" ;,.")
        title = re.search(r'"([^"]+)"', head)
        authors = head[: title.start()] if title else head
        where = source.text[year.end() : end].strip(" ;,.")
        found.append(Citation(source, authors_of(authors), title[1].rstrip(",") if title else "", year[1], where))
    return found


def next_paper(between: str) -> int:
    """Where, in the text from one paper's year to the next one's, the next paper begins.

    After the last semicolon, else after the last "and" that no title holds, else after the last sentence.
    """
    marks = ("; ", ". ") if '"' in between else ("; ", " and ", ". ")
    return next((between.rfind(mark) for mark in marks if mark in between), 0)


def authors_of(text: str) -> str:
    """The authors at the end of what stands before a title or a year."""
    text = re.sub(r"'s$", "", text.strip(" ,;:")).removesuffix(".")
    found = re.search(AUTHORS, text)
    if found is None:
        return text
    return re.sub(r"et al$", "et al.", found[0])


def surname(authors: str) -> str:
    """The first author's surname."""
    return re.split(r",| & | and | et al", authors)[0].strip()


def papers() -> tuple[list[list[Citation]], list[Citation]]:
    """The citations of each paper, sorted by authors and year; and those that name none.

    Authors of two papers of one year are told apart by the titles; a citation without one belongs to the paper with
    the same second author, or to the one that the same file names, or to the first.
    """
    groups: dict[tuple[str, str], list[Citation]] = {}
    other = []
    for source in sources():
        for citation in citations(source):
            if citation.year:
                groups.setdefault((surname(citation.authors), citation.year), []).append(citation)
            else:
                other.append(citation)
    found = []
    for group in groups.values():
        by_title: dict[str, list[Citation]] = {}
        for citation in group:
            if citation.title:
                by_title.setdefault(citation.title.casefold(), []).append(citation)
        for citation in group:
            if not citation.title:
                by_title.setdefault(_title_of(citation, by_title), []).append(citation)
        found += by_title.values()
    found.sort(key=lambda of: (surname(of[0].authors).removeprefix("van den "), of[0].year))
    return found, other


def _title_of(citation: Citation, by_title: dict[str, list[Citation]]) -> str:
    """The title of the paper that a citation without one means."""
    names = re.split(r", | & | and ", citation.authors)
    for title, found in by_title.items():
        if names[-1] != names[0] and any(citation.authors == other.authors for other in found):
            return title
    for title, found in by_title.items():
        if any(citation.source.file == other.source.file for other in found):
            return title
    return next(iter(by_title), "")


def page() -> str:
    """The page: a table of papers, where in each, and what here comes from it."""
    found, other = papers()
    text = [
        "# The papers, and where they are",
        "",
        "Gathered at the build from the `Source:` lines of the docstrings: what was taken from a paper, where it "
        "stands there, and where it stands here. Files are below `jaxvae/`.",
        "",
        f"{len(found)} papers, {sum(map(len, found))} places.",
    ]
    for group in found:
        authors = max((citation.authors for citation in group), key=len)
        title = next((citation.title for citation in group if citation.title), "")
        text += ["", f"{authors} ({group[0].year})" + (f", *{title}*" if title else "")]
        for number, citation in enumerate(group):
            where = f": {citation.where}" if citation.where else ""
            text.append(f"{'  ' if number else ': '}- {link(citation.source)} in {file_of(citation.source)}{where}")
    if other:
        rest = [(of.where, link(of.source), file_of(of.source)) for of in other]
        text += ["", "## Other sources", "", *table(("source", "here", "file"), rest)]
    return "\n".join(text) + "\n"


def file_of(source: Source) -> str:
    """The file of a source, as code."""
    return f"`{source.file.removeprefix('jaxvae/')}`"


def link(source: Source) -> str:
    """What a source belongs to, linked to the reference where that has it."""
    dotted = source.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    if not source.owner:
        return "all"
    reference = public.documented().get(f"{dotted}.{source.owner}")
    return f"{{py:obj}}`{source.owner} <{reference}>`" if reference else f"`{source.owner}`"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A table of Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
