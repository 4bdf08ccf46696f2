"""A row of titled panels on the page of `jaxvae.run.figure_page`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from jaxvae.run.figures.page import INK, MARGIN, WIDE, Place

LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito (2008), as all figures here
BELOW, ABOVE, LEFT = 72, 44, 96  # pixels that ticks and labels need around a panel

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def panels(
    place: Place, titles: Sequence[str], *, top: int = 0, height: int, parts: Sequence[float] = ()
) -> list[Axes]:
    """Divide a stripe of a wide page into panels.

    Args:
        place: of a `page` whose width is WIDE.
        titles: one for each panel.
        top: of the stripe, in pixels of the body.
        height: of the stripe, titles and labels of the axes included.
        parts: relative widths; equal where none are given.

    Returns:
        The axes.
    """
    shares = np.asarray(parts or [1] * len(titles), dtype=np.float64)
    widths = (WIDE - 2 * MARGIN) * shares / shares.sum()
    axes = []
    for title, left, width in zip(titles, np.cumsum(widths) - widths, widths, strict=True):
        panel = place(left + LEFT, top + ABOVE, width - LEFT - 16, height - ABOVE - BELOW)
        panel.set_title(title, loc="left", fontsize=9, color=INK, pad=8)
        axes.append(panel)
    return axes


def log_axis(axes: Axes, names: str) -> None:
    """Make the axes "x", "y" or "xy" logarithmic, with ticks at 10⁰, 10¹ and so on."""
    for name in names:
        getattr(axes, f"set_{name}scale")("log")
        axis = getattr(axes, f"{name}axis")
        axis.set_major_locator(LogLocator(numticks=8))
        axis.set_major_formatter(FuncFormatter(lambda value, _: "10" + str(round(np.log10(value))).translate(RAISED)))
        axis.set_minor_formatter(NullFormatter())
