"""What anomaly detection needs beside a likelihood: an image's complexity, and the error of an AUROC."""

import math
from io import BytesIO

import numpy as np
from PIL import Image


def png_nats(images: np.ndarray) -> np.ndarray:
    """The length of each image as a PNG file, in nats: an upper bound of its complexity.

    L(x) = ln 2 · 8 · (bytes of the file)

    Args:
        images: [N, H, W, C] in [0, 1]; one bit a pixel where all are 0 or 1, else 8 bits. Channels other than one or
            three are laid side by side.

    Returns:
        [N].

    Source: Serrà et al., "Input Complexity and Out-of-distribution Detection with Likelihood-based Generative Models"
    (2020), section 3.
    """
    binary = bool(np.isin(images, (0, 1)).all())
    pixels = np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)
    if pixels.shape[-1] != 3:
        pixels = np.moveaxis(pixels, -1, -2).reshape(*pixels.shape[:2], -1)  # [N, H, C W]
    return np.array([_bytes(image, binary) for image in pixels]) * 8 * math.log(2)


def _bytes(pixels: np.ndarray, binary: bool) -> int:
    image = Image.fromarray(pixels)
    buffer = BytesIO()
    (image.convert("1") if binary and pixels.ndim == 2 else image).save(buffer, format="png", optimize=True)
    return buffer.tell()


def auroc_standard_error(area: float, *, positives: int, negatives: int) -> float:
    """The standard error of the area under a ROC curve.

    s.e.² = [A(1 - A) + (m - 1)(Q₁ - A²) + (n - 1)(Q₂ - A²)] / (m n),    Q₁ = A / (2 - A),    Q₂ = 2A² / (1 + A)

    Args:
        area: A, the area under the curve.
        positives: m, the number of anomalies.
        negatives: n, the number of normal examples.

    Returns:
        The standard error. It is 0 where the area is 0 or 1.

    Example:
        >>> round(auroc_standard_error(0.9, positives=100, negatives=100), 4)
        0.0226

    Source: Hanley & McNeil, "The Meaning and Use of the Area under a ROC Curve" (1982), equations 1 and 2.
    """
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (first - area**2) + (negatives - 1) * (second - area**2)
    return math.sqrt(max(0.0, variance) / (positives * negatives))
