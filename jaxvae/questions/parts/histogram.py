"""A histogram of fractions, in which outliers are counted in the outermost bins."""

import numpy as np
from matplotlib.axes import Axes


def edges_of(values: np.ndarray, bins: int, *, outside: float = 0.005) -> np.ndarray:
    """The edges of bins that outliers do not stretch.

    Args:
        values: [N].
        bins: how many.
        outside: the part of the values that may lie outside at each end.

    Returns:
        [bins + 1].
    """
    return np.histogram_bin_edges(np.clip(values, *np.quantile(values, [outside, 1 - outside])), bins)


def histogram(
    axes: Axes, values: np.ndarray, edges: np.ndarray, *, color: str, filled: float = 0.0, label: str | None = None
) -> None:
    """Draw which fraction of the values lies in each bin.

    Args:
        axes: to draw into.
        values: [N]; those outside the edges are counted in the first and the last bin.
        edges: made by `edges_of`.
        color: of the outline.
        filled: the opacity of the area.
        label: for a legend.
    """
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    axes.stairs(counts / len(values), edges, fill=True, color=color, alpha=filled, lw=0)
    axes.stairs(counts / len(values), edges, color=color, lw=1.3, label=label)
