"""The report of a training run: one HTML page that needs nothing but itself.

It is made from what lies in the run's folder, so it can be made again at any time, also after experiments have
added sections.
"""

import base64
import json
import math
import os
import struct
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from jaxvae.run.report_style import STYLE

ORDER = ("learning_curves", "curves", "reconstructions", "samples", "manifold", "latent")  # by how a file's name begins
WORDS = {"elbo": "ELBO", "nll": "NLL", "iwae": "IWAE", "kl": "KL", "vae": "VAE", "mse": "MSE", "k": "k"}
IN_NATS = {"elbo", "nll", "iwae", "kl", "bound", "likelihood", "gap", "rate", "distortion"}
ERROR = "_standard_error"


def write(run_folder: Path) -> Path:
    """Write `report.html` into a run's folder.

    It reads `config.json` (the configuration, nested; `command`, `name` and `description` have places of their
    own), and what there is of:

    - `result.json`: numbers, flat or nested, `KEY_standard_error` beside KEY, and a dict `protocol` that says
      how they were measured; a nested dict with a protocol of its own is shown with that one. A key that names
      a bound, a likelihood or a divergence is in nats.
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
    config = _read(run_folder / "config.json")
    result = _read(run_folder / "result.json") if (run_folder / "result.json").is_file() else {}
    captions_file = run_folder / "figures" / "captions.json"
    captions = _read(captions_file) if captions_file.is_file() else {}
    sections = [_read(file) for file in sorted((run_folder / "sections").glob("*.json"))]
    placed = {Path(name).name for section in sections for name in section.get("figures", ())}
    figures = [file for file in sorted((run_folder / "figures").glob("*.png"), key=_order) if file.name not in placed]
    name = str(config.get("name") or run_folder.resolve().name)
    body = [
        f'<header><p class="over">Training run</p><h1>{escape(name)}</h1>',
        f'<p class="lead">{escape(_sentence(config, result))}</p></header>',
        _results("Results", result, outer={}),
        _figures(figures, captions),
        *(_section(section, run_folder / "figures", captions) for section in sections),
        _how(config, run_folder / "metrics.jsonl"),
    ]
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<style>{STYLE}</style></head>\n'
        f"<body><main>\n{chr(10).join(part for part in body if part)}\n</main></body></html>\n"
    )
    path = run_folder / "report.html"
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_text(page, encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _read(file: Path) -> dict[str, Any]:
    """One JSON object."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as JSON ({error}); mend or remove it.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} must hold one JSON object, not {type(content).__name__}.")
    return content


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
                    value = value.get("name")
                if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                    return _value(value)
        return ""

    data, epochs, seeds = find("dataset", "data"), find("epochs"), protocol.get("seeds", 1)
    seeds = len(seeds) if isinstance(seeds, list) else seeds  # which ones, or how many
    objective = config.get("objective")
    bound = objective.get("bound", "") if isinstance(objective, dict) else objective or config.get("bound", "")
    bound = _label(str(bound), first=False)
    bound += "" if not bound or "ELBO" in bound or "bound" in bound else " bound"
    sentence = "A variational auto-encoder"
    sentence += f" trained on {data}" if data else ""
    sentence += f" to maximise the {bound}" if bound else ""
    sentence += f", for {epochs} {'epoch' if epochs == '1' else 'epochs'}" if epochs else ""
    sentence += f", with {seeds} seeds" if seeds != 1 else ""
    return sentence + "."


def _label(key: str, *, first: bool = True) -> str:
    """`test_iwae_bound` -> "Test IWAE bound"."""
    words = [WORDS.get(word, word) for word in key.replace("_", " ").split()]
    if first and words and words[0] != "k":  # k is the paper's symbol
        words[0] = words[0][:1].upper() + words[0][1:]
    return " ".join(words)


def _value(value: Any) -> str:
    """A value as text: numbers grouped, with a true minus sign."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ", ".join(map(_value, value)) if isinstance(value, (list, tuple)) else str(value)
    if isinstance(value, int):
        text = f"{value:,}"
    elif not math.isfinite(value):
        text = "not finite"
    else:
        text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.6g}"
    return text.replace("-", "−") if "e" not in text else text.replace("e-", "e−")


def _measured(value: float, error: float | None) -> tuple[str, str]:
    """A number and its standard error, both to the error's second digit."""
    if not math.isfinite(value):
        return "not finite", ""
    if error is None or not math.isfinite(error) or error <= 0:
        short = isinstance(value, float) and abs(value) < 10_000
        return (f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}").replace("-", "−") if short else _value(
            value
        ), ""
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:,.{digits}f}".replace("-", "−"), f"± {error:,.{digits}f}"


def _numbers(result: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, float, float | None]]:
    """(name, value, standard error) of every number that this protocol holds for."""
    for key, value in result.items():
        if isinstance(value, dict) and key != "protocol" and "protocol" not in value:
            yield from _numbers(value, f"{prefix}{key}_")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and not key.endswith(ERROR):
            yield prefix + key, value, result.get(key + ERROR)


def _results(title: str, result: dict[str, Any], *, outer: dict[str, Any]) -> str:
    """The numbers, large where they are in nats, with the protocol beside them; then nested results."""
    if not result:
        return '<section><h2>Results</h2><p class="quiet">The run has not been evaluated yet.</p></section>'
    protocol = result.get("protocol", outer)
    large: list[str] = []
    small: list[str] = []
    for key, value, error in _numbers(result):
        number, spread = _measured(value, error)
        nats = not IN_NATS.isdisjoint(key.lower().split("_")) and "dimension" not in key and "second" not in key
        unit = f'<span class="unit">{" ".join(filter(None, (spread, "nats" if nats else "")))}</span>'
        tile = f'<div class="tile"><dt>{escape(_label(key))}</dt><dd><b>{escape(number)}</b> {unit}</dd></div>'
        (large if nats else small).append(tile)
    if protocol:
        rows = ""
        for key, value in _flat(protocol):
            unit = " s" if key.endswith("_seconds") else ""
            value = round(value, 1) if unit and isinstance(value, float) else value
            label = "wall time" if key == "wall_seconds" else key.removesuffix("_seconds")
            rows += f"<tr><th>{escape(_label(label))}</th><td>{escape(_value(value))}{unit}</td></tr>"
        aside = f'<table class="protocol"><caption>Protocol</caption>{rows}</table>'
    else:
        aside = '<p class="quiet">No protocol was recorded: compare these numbers with no others.</p>'
    tiles = f'<dl class="tiles large">{"".join(large)}</dl>' if large else ""
    tiles += f'<dl class="tiles small">{"".join(small)}</dl>' if small else ""
    tiles += '<p class="note">± one standard error</p>' if "±" in tiles else ""
    nested = "".join(
        _results(_label(key), value, outer={})
        for key, value in result.items()
        if isinstance(value, dict) and "protocol" in value
    )
    if not tiles:
        return nested
    page = f'<section><h2>{escape(title)}</h2><div class="results"><div>{tiles}</div>{aside}</div></section>'
    return page + nested


def _order(file: Path) -> tuple[int, str]:
    """Reading order: how it trained, what it rebuilds, what it makes, its latent space, the rest."""
    ranks = [rank for rank, start in enumerate(ORDER) if file.stem.startswith(start)]
    return (min(ranks, default=len(ORDER)), file.name)


def _figures(files: list[Path], captions: dict[str, Any]) -> str:
    """The figures, embedded: wide ones across, others side by side."""
    if not files:
        return ""
    return f'<section class="figures">{"".join(_figure(file, captions) for file in files)}</section>'


def _figure(file: Path, captions: dict[str, Any]) -> str:
    """One figure; title and caption are drawn in it, so here they are what a screen reader reads."""
    content = file.read_bytes()
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return f'<p class="quiet">{escape(file.name)} is no PNG and is left out.</p>'
    width, height = struct.unpack(">II", content[16:24])
    words = captions.get(file.stem)
    alt = f"{words.get('title', '')}. {words.get('caption', '')}" if words else _label(file.stem)
    # Where the figure is small its caption cannot be read, and stands below it once more.
    below = f'<figcaption class="echo">{escape(words.get("caption", ""))}</figcaption>' if words else ""
    below = below or f"<figcaption>{escape(alt)}</figcaption>"
    shape = "wide" if width > 1.3 * height else "narrow"
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    image = f'<img src="{source}" width="{width}" height="{height}" alt="{escape(alt)}">'
    return f'<figure class="{shape}">{image}{below}</figure>\n'


def _section(section: dict[str, Any], folder: Path, captions: dict[str, Any]) -> str:
    """What an experiment added: text, a table, figures."""
    parts = [f"<h2>{escape(str(section.get('title', 'Section')))}</h2>"]
    parts += [f"<p>{escape(text)}</p>" for text in str(section.get("text", "")).split("\n\n") if text.strip()]
    if table := section.get("table"):
        parts.append(_table([str(column) for column in table.get("columns", ())], table.get("rows", ())))
    drawn = ""
    for name in section.get("figures", ()):
        file = folder / Path(name).name
        missing = f'<p class="quiet">The figure {escape(str(name))} is missing.</p>'
        drawn += _figure(file, captions) if file.is_file() else missing
    parts.append(f'<div class="figures">{drawn}</div>' if drawn else "")
    return f"<section>{''.join(parts)}</section>"


def _table(columns: list[str], rows: list[list[Any]]) -> str:
    """A table; a column that holds numbers stands to the right."""
    numbers = {i for row in rows for i, v in enumerate(row) if isinstance(v, (int, float)) and not isinstance(v, bool)}
    kinds = [' class="number"' if i in numbers else "" for i in range(max(map(len, [columns, *rows])))]
    head = "".join(f"<th{kind}>{escape(column)}</th>" for kind, column in zip(kinds, columns, strict=False))
    body = ""
    for row in rows:
        cells = (f"<td{kind}>{escape(_value(v))}</td>" for kind, v in zip(kinds, row, strict=False))
        body += f"<tr>{''.join(cells)}</tr>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _flat(nested: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """`{"data": {"name": x}}` -> ("data.name", x)."""
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key), value


def _how(config: dict[str, Any], metrics: Path) -> str:
    """How to do it again: the command, the configuration, what training logged."""
    parts = ["<h2>Do it again</h2>"]
    if command := config.get("command"):
        parts.append(f"<pre>{escape(' '.join(command) if isinstance(command, list) else str(command))}</pre>")
    settings = [(key, value) for key, value in _flat(config) if key not in ("command", "description")]
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in settings)
    parts.append(f'<details><summary>Configuration, {len(settings)} values</summary><div class="scroll">')
    parts.append(f'<table class="config">{rows}</table></div></details>')
    return f"<section>{''.join(parts)}{_log(metrics)}</section>"


def _mean(value: Any) -> Any:
    """Of several seeds' numbers the mean; anything else as it is."""
    numbers = isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value)
    return sum(value) / len(value) if numbers else value


def _log(metrics: Path) -> str:
    """About a dozen lines of the log, evenly spread, folded away; of several seeds the means."""
    lines, lost = [], 0
    for text in metrics.read_text(encoding="utf-8", errors="replace").splitlines() if metrics.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if isinstance(line, dict):
            lines.append({key: _mean(value) for key, value in line.items()})
        elif text.strip():
            lost += 1
    if not lines:
        return ""
    chosen = sorted({round(i * (len(lines) - 1) / 11) for i in range(12)})
    columns = list(dict.fromkeys(key for line in lines for key in line))
    table = _table([_label(column) for column in columns], [[lines[i].get(c) for c in columns] for i in chosen])
    note = f"{len(chosen)} of {len(lines):,} lines" + (f"; {lost} unreadable, passed over" if lost else "")
    return f"<details><summary>Training log, {note}</summary>{table}</details>"
