"""The report of a training run: one HTML page that needs nothing but itself.

It is made from what lies in the run's folder, so it can be made again at any time, also after experiments have
added sections.
"""

import math
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from jaxvae.run.report.parts import (
    how,
    html_figure,
    html_table,
    label,
    measured,
    protocol_table,
    read,
    text_of,
    write_page,
)

ORDER = ("learning_curves", "curves", "reconstructions", "samples", "manifold", "latent")  # by how a file's name begins
ERROR = "_standard_error"


def write(run_folder: Path) -> Path:
    """Write `report.html` into a run's folder.

    It reads `config.json` (the configuration, nested; `command`, `name` and `description` have places of their
    own), and what there is of:

    - `result.json`: numbers, flat or nested, `KEY_standard_error` beside KEY, sentences in a list `warnings`, a dict
      `units` (of each KEY, "nats" or another; those that have one are shown large), and a dict `protocol` that says
      how they were measured; a nested dict with a protocol of its own is shown with that one.
    - `metrics.jsonl`: one dict a line. A line that a killed process left unfinished is passed over.
    - `figures/*.png`, with `figures/captions.json`: file stem -> {"title", "caption"}, both drawn in the PNG.
    - `sections/*.json`: {"title", "text", "table": {"columns", "rows"}, "figures": ["name.png"]}.

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
    sections = [read(file) for file in sorted((run_folder / "sections").glob("*.json"))]
    placed = {Path(name).name for section in sections for name in section.get("figures", ())}
    figures = [file for file in sorted((run_folder / "figures").glob("*.png"), key=_order) if file.name not in placed]
    name = str(config.get("name") or run_folder.resolve().name)
    body = [
        f'<header><p class="over">Training run</p><h1>{escape(name)}</h1>',
        f'<p class="lead">{escape(_sentence(config, result))}</p></header>',
        _results("Results", result, outer={}),
        _figures(figures, captions),
        *(_section(section, run_folder / "figures", captions) for section in sections),
        how(config, run_folder / "metrics.jsonl"),
    ]
    return write_page(run_folder / "report.html", name, body)


def _sentence(config: dict[str, Any], result: dict[str, Any]) -> str:
    """What was trained, as far as the folder tells."""
    if config.get("description"):
        return str(config["description"])
    protocol = result.get("protocol", {})

    def find(*keys: str) -> str:
        """The first of the keys that the protocol or the configuration's upper two levels know."""
        inner = [value for value in config.values() if isinstance(value, dict)]
        for key in keys:
            for place in (protocol, config, *inner):
                value = place.get(key)
                if isinstance(value, dict):
                    value = value.get("name") or value.get("is")
                if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                    return text_of(value)
        return ""

    data, epochs, seeds = find("dataset", "data"), find("epochs"), protocol.get("seeds", 1)
    seeds = len(seeds) if isinstance(seeds, list) else seeds  # which ones, or how many
    bound = label(find("bound"), first=False)
    bound += "" if not bound or "ELBO" in bound or "bound" in bound else " bound"
    sentence = "A variational auto-encoder"
    sentence += f" trained on {data}" if data else ""
    sentence += f" to maximise the {bound}" if bound else ""
    sentence += f", for {epochs} {'epoch' if epochs == '1' else 'epochs'}" if epochs else ""
    sentence += f", with {seeds} seeds" if seeds != 1 else ""
    return sentence + "."


def _numbers(result: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, float, float | None]]:
    """(name, value, standard error) of every number that this protocol holds for."""
    for key, value in result.items():
        if isinstance(value, dict) and key not in ("protocol", "units") and "protocol" not in value:
            yield from _numbers(value, f"{prefix}{key}_")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and not key.endswith(ERROR):
            yield prefix + key, value, result.get(key + ERROR)
        elif value is None and key in result.get("units", {}):
            yield prefix + key, math.nan, None  # JSON has no word for it


def _results(title: str, result: dict[str, Any], *, outer: dict[str, Any]) -> str:
    """The numbers, large where they have a unit, with the protocol beside them; then nested results."""
    if not result:
        return '<section><h2>Results</h2><p class="quiet">The run has not been evaluated yet.</p></section>'
    protocol = result.get("protocol", outer)
    large: list[str] = []
    small: list[str] = []
    for key, value, error in _numbers(result):
        number, spread = measured(value, error)
        named = result.get("units", {}).get(key, "")
        unit = f'<span class="unit">{escape(" ".join(filter(None, (spread, named))))}</span>'
        tile = f'<div class="tile"><dt>{escape(label(key))}</dt><dd><b>{escape(number)}</b> {unit}</dd></div>'
        (large if named else small).append(tile)
    tiles = f'<dl class="tiles large">{"".join(large)}</dl>' if large else ""
    tiles += f'<dl class="tiles small">{"".join(small)}</dl>' if small else ""
    tiles += '<p class="note">± one standard error</p>' if "±" in tiles else ""
    nested = "".join(
        _results(label(key), value, outer={})
        for key, value in result.items()
        if isinstance(value, dict) and "protocol" in value
    )
    if not tiles:
        return nested
    tiles += "".join(f'<p class="note">{escape(str(sentence))}</p>' for sentence in result.get("warnings", ()))
    inside = f"<div>{tiles}</div>{protocol_table(protocol)}"
    return f'<section><h2>{escape(title)}</h2><div class="results">{inside}</div></section>{nested}'


def _order(file: Path) -> tuple[int, str]:
    """Reading order: how it trained, what it rebuilds, what it makes, its latent space, the rest."""
    ranks = [rank for rank, start in enumerate(ORDER) if file.stem.startswith(start)]
    return (min(ranks, default=len(ORDER)), file.name)


def _figures(files: list[Path], captions: dict[str, Any]) -> str:
    """The figures, embedded: wide ones across, others side by side."""
    if not files:
        return ""
    return f'<section class="figures">{"".join(html_figure(file, captions) for file in files)}</section>'


def _section(section: dict[str, Any], folder: Path, captions: dict[str, Any]) -> str:
    """What an experiment added: text, a table, figures."""
    parts = [f"<h2>{escape(str(section.get('title', 'Section')))}</h2>"]
    parts += [f"<p>{escape(text)}</p>" for text in str(section.get("text", "")).split("\n\n") if text.strip()]
    if table := section.get("table"):
        parts.append(html_table([str(column) for column in table.get("columns", ())], table.get("rows", ())))
    drawn = ""
    for name in section.get("figures", ()):
        file = folder / Path(name).name
        missing = f'<p class="quiet">The figure {escape(str(name))} is missing.</p>'
        drawn += html_figure(file, captions) if file.is_file() else missing
    parts.append(f'<div class="figures">{drawn}</div>' if drawn else "")
    return f"<section>{''.join(parts)}</section>"
