"""A figure on a page: as SVG in the page's own inks where there is one, else as PNG; its words stand below it."""

import base64
import re
import struct
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from jaxvae.run.figures.vector import DRAWN
from jaxvae.run.report.words import label, with_minus

# What no drawing of ours holds, and what a page that needs nothing but itself must not.
UNSAFE = re.compile(
    r"<\s*(script|foreignObject|style|iframe)|\son\w+\s*=|javascript:|(href|src)\s*=\s*\"(?!#|data:image/png)", re.I
)

STRIP = 0.7  # of the width: rows of pictures, which keep a size that can be read on a phone, and are moved sideways
WIDEST_NARROW = 1000  # pixels: beside a narrower figure there is room for its words


def html_figure(file: Path, captions: Mapping[str, Any], *, under: str = "", prefix: str = "figure-") -> str:
    """One figure, with title and caption below or beside it.

    Args:
        file: a PNG; the SVG beside it is shown where it is as new.
        captions: file stem -> {"title", "caption", "parts"}.
        under: the heading that it stands under: a title that says the same is left out.
        prefix: of the figure's anchor.

    Returns:
        HTML.
    """
    try:
        content = file.read_bytes()
    except OSError:
        content = b""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return f'<p class="quiet">{escape(file.name)} is no PNG and is left out.</p>'
    width, height = struct.unpack(">II", content[16:24])
    words = captions.get(file.stem) or {"title": label(file.stem), "caption": ""}
    title, caption = (with_minus(str(words.get(name, ""))) for name in ("title", "caption"))
    alt = ". ".join(filter(None, (title.rstrip("."), caption)))
    art = _vector(file, alt, words.get("parts") or [], width / height)
    if not art:
        source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        art = f'<img src="{source}" width="{width}" height="{height}" alt="{escape(alt)}">'
    shape = "wide" if width > WIDEST_NARROW else "narrow"
    shape += "" if art.startswith("<svg") else " raster"
    shape += " parted" if '<div class="parts">' in art else ""
    said = f"<b>{escape(title)}.</b> " if title and title != under else ""
    below = f"<figcaption>{said}{escape(caption)}</figcaption>" if said or caption else ""
    name = escape(prefix + file.stem)
    return f'<figure class="{shape}" id="{name}"><div class="art">{art}</div>{below}</figure>\n'


def _vector(file: Path, alt: str, parts: list[list[float]], aspect: float) -> str:
    """The SVG beside a PNG, whole and in its parts; nothing where there is none, or one that is not of our making."""
    beside = file.with_suffix(".svg")
    if not beside.is_file() or beside.stat().st_mtime < file.stat().st_mtime - 60:
        return ""
    text = beside.read_text(encoding="utf-8", errors="replace")
    found = re.match(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)">', text)
    if not found or UNSAFE.search(text):
        return ""
    wide, high = float(found[1]), float(found[2])
    if abs(wide / high / aspect - 1) > 0.05:  # of an older figure
        return ""
    told = f'role="img" aria-label="{escape(alt)}"'
    whole = text.replace("<svg ", f'<svg class="whole" {told} ', 1).strip()
    pieces = ""
    for left, top, across, down in parts:
        box = f"{left * wide:.1f} {top * high:.1f} {across * wide:.1f} {down * high:.1f}"
        kind = ' class="strip"' if across > STRIP else ""
        pieces += f'<svg{kind} viewBox="{box}" aria-hidden="true"><use href="#{DRAWN}{escape(file.stem)}"/></svg>'
    return whole + (f'<div class="parts">{pieces}</div>' if pieces else "")
