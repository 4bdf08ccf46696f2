"""The report of a training run: one HTML page that needs nothing but itself.

It is made from what lies in the run's folder, so it can be made again at any time, also after experiments have
added sections.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from jaxvae.run.report.ask import next_questions
from jaxvae.run.report.figure import html_figure
from jaxvae.run.report.parts import how, html_table, protocol_table, read, write_page
from jaxvae.run.report.words import label, meaning, measured, numbers, sentence, with_minus

# The run's own figures, by how a file's name begins: in the order a reader asks, and what stands under one heading.
FIGURES = {"learning_curves": "curves", "curves": "curves", "samples": "samples", "manifold": "samples"}
FIGURES |= {"reconstructions": "reconstructions", "latent": "codes-seen"}
HEADINGS = {"curves": "Learning curves", "reconstructions": "Reconstructions", "codes-seen": "The latent codes"}
# Both figures and what was asked: numbers, curves, samples, reconstructions, likelihood, decomposition, latent, codes.
ORDER = (
    *("curves", "samples", "reconstructions", "", "likelihood", "decomposition", "layers", "codes-seen", "latent"),
    *("codes", "code_prior"),  # what it is used for comes after
)


class Part(NamedTuple):
    """A section of the page."""

    anchor: str
    title: str
    html: str  # what stands under its heading

    @property
    def rank(self) -> tuple[int, str]:
        """Where it stands on the page; a figure of a kind's own ("") after those that every kind has."""
        own = "" if self.anchor.startswith("figure-") else self.anchor
        return (ORDER.index(own) if own in ORDER else len(ORDER), self.anchor)


def write(run_folder: Path) -> Path:
    """Write `report.html` into a run's folder.

    It reads `config.json` (the configuration, nested; `command`, `name`, `kind` and `description` have places of their
    own), and what there is of:

    - `result.json`: numbers, flat or nested, `KEY_standard_error` beside KEY, sentences in a list `warnings`, a dict
      `units` (of each KEY, "nats" or another; those that have one are shown large), and a dict `protocol` that says
      how they were measured; a nested dict with a protocol of its own is shown with that one.
    - `metrics.jsonl`: one dict a line. A line that a killed process left unfinished is passed over.
    - `figures/*.png`, with an `.svg` of the same name where there is one, and `figures/captions.json`: file stem ->
      {"title", "caption"}.
    - `sections/*.json`: {"title", "text", "table": {"columns", "rows"}, "figures": ["name.png"]}, and in the folder
      itself NAME.json of the same name, whose protocol is shown below the numbers.

    Args:
        run_folder: the folder of one run.

    Returns:
        The page's path.

    Raises:
        ValueError: the folder has no `config.json`, or a JSON file in it cannot be read.
    """
    run_folder = Path(run_folder)
    if not (run_folder / "config.json").is_file():
        raise ValueError(
            f"{run_folder} is no run folder: it holds no config.json. Pass the folder that a training run wrote."
        )
    config = read(run_folder / "config.json")
    result = read(run_folder / "result.json") if (run_folder / "result.json").is_file() else {}
    captions_file = run_folder / "figures" / "captions.json"
    captions = read(captions_file) if captions_file.is_file() else {}
    sections = {file.stem: read(file) for file in sorted((run_folder / "sections").glob("*.json"))}
    placed = {Path(name).name for section in sections.values() for name in section.get("figures", ())}
    figures = [file for file in sorted((run_folder / "figures").glob("*.png")) if file.name not in placed]
    parts = [
        *_figures(figures, captions),
        *(_section(name, one, run_folder, captions) for name, one in sections.items()),
    ]
    parts.sort(key=lambda part: part.rank)
    name = str(config.get("name") or run_folder.resolve().name)
    asking = next_questions(str(config.get("kind", "")), run_folder)
    watch = f"tensorboard --logdir {run_folder}" if (run_folder / "tensorboard").is_dir() else ""
    body = [
        f'<header><p class="over">Training run</p><h1>{escape(name)}</h1>',
        f'<p class="lead">{escape(sentence(config, result))}</p></header>',
        _contents([("results", "Numbers"), *((part.anchor, part.title) for part in parts)], asking),
        _results("Numbers", result, outer={}, anchor="results"),
        *(f'<section id="{escape(p.anchor)}"><h2>{escape(p.title)}</h2>{p.html}</section>' for p in parts),
        asking,
        how(config, run_folder / "metrics.jsonl", watch=watch),
    ]
    return write_page(run_folder / "report.html", name, body)


def _contents(entries: list[tuple[str, str]], asking: str) -> str:
    entries = [*entries, *([("ask", "Ask it next")] if asking else []), ("again", "Do it again")]
    links = "".join(f'<li><a href="#{escape(anchor)}">{escape(title)}</a></li>' for anchor, title in entries)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _results(title: str, result: dict[str, Any], *, outer: dict[str, Any], anchor: str) -> str:
    """The numbers, large where they have a unit, with the protocol folded below them; then nested results."""
    if not result:
        return (
            '<section id="results"><h2>Numbers</h2><p class="quiet">The run has not been evaluated yet.</p></section>'
        )
    protocol = result.get("protocol", outer)
    large: list[str] = []
    small: list[str] = []
    for key, value, error in numbers(result):
        number, spread = measured(value, error)
        named = result.get("units", {}).get(key, "")
        unit = f'<span class="unit">{escape(" ".join(filter(None, (spread, named))))}</span>'
        means = f' <span class="means">{escape(meaning(key))}</span>' if meaning(key) else ""
        tile = f'<div class="tile"><dt>{escape(label(key))}{means}</dt><dd><b>{escape(number)}</b> {unit}</dd></div>'
        (large if named else small).append(tile)
    tiles = f'<dl class="tiles large">{"".join(large)}</dl>' if large else ""
    tiles += f'<dl class="tiles small">{"".join(small)}</dl>' if small else ""
    over = f"± one standard error {protocol.get('standard_error', '')}".strip()
    tiles += f'<p class="note">{escape(over)}</p>' if "±" in tiles else ""
    nested = "".join(
        _results(label(key), value, outer={}, anchor=f"results-{key}")
        for key, value in result.items()
        if isinstance(value, dict) and "protocol" in value
    )
    if not tiles:
        return nested
    notes = "".join(f'<p class="note">{escape(str(sentence))}</p>' for sentence in result.get("warnings", ()))
    inside = f'<div class="results">{tiles}</div>{notes}{protocol_table(protocol)}'
    return f'<section id="{escape(anchor)}"><h2>{escape(title)}</h2>{inside}</section>{nested}'


def _figures(files: list[Path], captions: dict[str, Any]) -> Iterable[Part]:
    """The run's own figures, each under a heading, or with those that belong to it."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        ranks = [start for start in FIGURES if file.stem.startswith(start)]
        groups.setdefault(FIGURES[ranks[0]] if ranks else f"figure-{file.stem}", []).append(file)
    for anchor, members in groups.items():
        members.sort(key=lambda file: [*FIGURES].index(next((s for s in FIGURES if file.stem.startswith(s)), "latent")))
        first = captions.get(members[0].stem, {}).get("title") or label(members[0].stem)
        title = HEADINGS.get(anchor, first)
        html = "".join(html_figure(file, captions, under=title, prefix="picture-") for file in members)
        yield Part(anchor, title, f'<div class="figures">{html}</div>')


def _section(name: str, section: dict[str, Any], folder: Path, captions: dict[str, Any]) -> Part:
    """What an experiment added: text, a table, how its numbers were measured, figures."""
    title = str(section.get("title", "Section"))
    parts = [
        f"<p>{escape(with_minus(text))}</p>" for text in str(section.get("text", "")).split("\n\n") if text.strip()
    ]
    if table := section.get("table"):
        parts.append(html_table([str(column) for column in table.get("columns", ())], table.get("rows", ())))
    numbers_file = folder / f"{name}.json"
    if numbers_file.is_file() and (protocol := read(numbers_file).get("protocol")):
        parts.append(protocol_table(protocol))
    drawn = ""
    for figure in section.get("figures", ()):
        file = folder / "figures" / Path(figure).name
        missing = f'<p class="quiet">The figure {escape(str(figure))} is missing.</p>'
        drawn += html_figure(file, captions, under=title, prefix="picture-") if file.is_file() else missing
    parts.append(f'<div class="figures">{drawn}</div>' if drawn else "")
    return Part(name, title, "".join(parts))
