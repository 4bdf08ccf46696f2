"""A figure as SVG for a page: its inks are the page's own, light or dark, and its panels are known one by one."""

import hashlib
import re
from io import BytesIO

import matplotlib
import numpy as np
from matplotlib.figure import Figure

# What the style of a figure calls by a colour, and a page by a variable.
VARIABLES = {"#1f2328": "ink", "#59636e": "quiet", "#eaeef2": "rule", "#ffffff": "card"}
ROOM = 8  # pixels around a panel
DRAWN = "drawn-"

Part = tuple[float, float, float, float]  # left, top, width, height, as shares of the figure


def svg_of(figure: Figure, name: str, *, dpi: int) -> str:
    """A figure as an `<svg>` element.

    Args:
        figure: drawn.
        name: of its file: what is referred to inside has names of its own on a page of many figures.
        dpi: of pictures in it.

    Returns:
        The element, with a `<g id="drawn-NAME">` that holds all; INK, GREY, the grid and white are `var(--ink)`,
        `var(--quiet)`, `var(--rule)` and `var(--card)` of the page.
    """
    buffer = BytesIO()
    salt = hashlib.sha256(name.encode()).hexdigest()[:8]
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": salt, "svg.id": None}):
        figure.savefig(buffer, format="svg", dpi=dpi, facecolor="none", metadata={"Date": None})
    text = buffer.getvalue().decode()
    text = re.sub(r"(?s)^.*?(<svg )", r"\1", text)
    text = re.sub(r"(?s)\s*<metadata>.*?</metadata>", "", text)
    # `<style>` of an inline SVG would hold for the whole page.
    text = re.sub(r'(?s)<style type="text/css">.*?</style>', "", text)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', text, count=1)
    names = set(re.findall(r' id="([^"]+)"', text))
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{salt}-{found[1]}"', text)
    text = re.sub(
        r'(xlink:href="#|url\(#)([^")]+)',
        lambda found: found[1] + (f"{salt}-{found[2]}" if found[2] in names else found[2]),
        text,
    )
    text = text.replace("xlink:href=", "href=").replace(f' id="{salt}-figure_1"', f' id="{DRAWN}{name}"')
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return text.strip()


def parts_of(figure: Figure, *, width: int, height: int) -> list[Part]:
    """The panels of a figure with charts, from the left: where the page is narrow they stand below each other.

    Args:
        figure: drawn.
        width: of it, in pixels.
        height: of it, in pixels.

    Returns:
        A box for each chart, and one for all pictures together; none where there is no more than one box, or no chart.
    """
    charts: list[np.ndarray] = []
    pictures: list[np.ndarray] = []
    for axes in figure.axes:
        box = axes.get_tightbbox()
        if box is not None and box.width > 0 and box.height > 0:
            (pictures if axes.images and not axes.lines else charts).append(np.asarray(box.extents))
    boxes = charts + ([_around(pictures)] if pictures else [])
    if len(boxes) < 2 or not charts:
        return []
    return [
        (
            max(0.0, (left - ROOM) / width),
            max(0.0, 1 - (top + ROOM) / height),
            min(1.0, (right - left + 2 * ROOM) / width),
            min(1.0, (top - bottom + 2 * ROOM) / height),
        )
        for left, bottom, right, top in boxes
    ]


def _around(boxes: list[np.ndarray]) -> np.ndarray:
    every = np.stack(boxes)
    return np.concatenate([every[:, :2].min(axis=0), every[:, 2:].max(axis=0)])
