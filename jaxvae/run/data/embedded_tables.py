"""Small tables that scikit-learn brings along, as if they were read from a file."""

from pathlib import Path

from jaxvae.run.data.columns import Text

NAMES = ("wine", "breast_cancer", "iris")


def embedded(name: str) -> Text:
    """A table of numbers with a column of classes, called "class".

    Args:
        name: one of `NAMES`.

    Returns:
        Its cells.

    Example:
        >>> text = embedded("wine")
        >>> len(text.rows), text.names[0], text.names[-1], text.rows[0][-1]
        (178, 'alcohol', 'class', 'class_0')
    """
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    rows = [
        [*map(repr, values), str(found.target_names[kind])]
        for values, kind in zip(found.data.tolist(), found.target.tolist(), strict=True)
    ]
    return Text(Path(name), [*map(str, found.feature_names), "class"], rows, [*range(2, len(rows) + 2)], ",", True)
