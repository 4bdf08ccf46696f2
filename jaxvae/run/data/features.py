"""The features of an image data set that TensorFlow Datasets writes and reads without TensorFlow."""

import numpy as np
import tensorflow_datasets as tfds


def grey_image(height: int, width: int) -> tfds.features.Tensor:
    """A grey image [height, width, 1] as raw bytes: an `Image`, a PNG, needs TensorFlow to write an array."""
    return tfds.features.Tensor(shape=(height, width, 1), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES)


def image_and_label(height: int, width: int) -> tfds.features.FeaturesDict:
    """A grey image [height, width, 1] and its class."""
    return tfds.features.FeaturesDict({"image": grey_image(height, width), "label": np.int64})
