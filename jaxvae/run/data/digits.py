"""scikit-learn's digits: small, and there without a network."""

import numpy as np

from jaxvae.run.data.dataset import Split


def digits() -> Split:
    """The 1,797 8x8 digits that come with scikit-learn, in its order.

    Returns:
        images uint8 [1797, 8, 8, 1], its grey values v in 0..16 as round(255 v / 16), and labels 0..9.

    Example:
        >>> digits().examples.shape, int(digits().examples.max())
        ((1797, 8, 8, 1), 255)
    """
    from sklearn.datasets import load_digits  # a second to import, and only digits need it

    content = load_digits()
    images = np.round(content.images * (255 / 16)).astype(np.uint8)
    return Split(images[..., None], content.target.astype(np.int32))
