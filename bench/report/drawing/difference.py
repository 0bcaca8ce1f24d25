"""`difference_picture`: what a method changed in a photo, so that an eye can see it."""

from __future__ import annotations

import numpy as np

DIFFERENCE_GAIN = 10


def difference_picture(original: np.ndarray, protected: np.ndarray) -> np.ndarray:
    """uint8 picture of the difference times `DIFFERENCE_GAIN` about mid-grey, of the shape of both."""
    difference = protected.astype(np.float32) - original.astype(np.float32)
    return (127.5 + DIFFERENCE_GAIN * difference).clip(0, 255).round().astype(np.uint8)
