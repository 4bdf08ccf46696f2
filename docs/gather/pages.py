"""Every generated page, written where it changed: `python docs/gather/pages.py FOLDER` writes them without Sphinx."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "docs"), str(ROOT)]

from gather import options, papers, rooms  # noqa: E402

# The repository's own texts, as pages: their links lead to pages too.
TEXTS = {
    "experiments.md": "experiments/RESULTS.md",
    "benchmarks.md": "benchmarks/RESULTS.md",
    "contributing.md": "CONTRIBUTING.md",
    "changes.md": "CHANGELOG.md",
}


def all_pages() -> dict[str, str]:
    """Every generated page: its path below the folder -> its text."""
    made = {f"rooms/{name}.rst": text for name, text in rooms.pages().items()}
    made |= {"rooms.rst": rooms.index(), "papers.md": papers.page(), "options.md": options.page()}
    made |= {f"options/{name}.md": text for name, text in options.tables().items()}
    made |= {"questions.md": options.questions(), "kinds-table.md": options.kinds()}
    return made | {page: as_page(source) for page, source in TEXTS.items()}


def as_page(source: str) -> str:
    """A text of the repository as a page: links to other such texts lead to their pages, pictures are found.

    Args:
        source: its path in the repository.

    Returns:
        Markdown, for a page in docs/generated.
    """
    here = (ROOT / source).parent
    pages = {(ROOT / path).resolve(): page for page, path in TEXTS.items()}

    def moved(link: re.Match) -> str:
        bang, words, target = link.groups()
        if target.startswith(("http", "#")):
            return link[0]
        place = (here / target).resolve()
        if place in pages:
            return f"{bang}[{words}]({pages[place]})"
        path = place.relative_to(ROOT).as_posix()
        return f"![{words}](../../{path})" if bang else f"`{path}`"

    text = re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", moved, (ROOT / source).read_text())
    return f"% Gathered from {source}: change that file.\n\n{text}"


def write(folder: Path) -> None:
    """Write every page, those that have not changed left alone, and take away what is none any more.

    Args:
        folder: docs/generated, or another one for a test.
    """
    made = all_pages()
    for name, text in made.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_file() or place.read_text() != text:
            place.write_text(text)
    for place in folder.rglob("*.*"):
        if place.is_file() and place.relative_to(folder).as_posix() not in made:
            place.unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
