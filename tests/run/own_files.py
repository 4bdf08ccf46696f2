"""Images of one's own, as files."""

from pathlib import Path

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 5), np.uint8)


def paint(folder, images, suffix=".png", **options):
    """A file of each image, numbered."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}{suffix}", **options)
    return folder


def of_all(data):
    """All images in the order of the file."""
    images = np.concatenate([data.train.examples, data.valid.examples, data.test.examples])
    return images[np.argsort(np.random.RandomState(0).permutation(len(images)))]
