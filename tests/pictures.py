"""Pictures made here, fit for calibration: soft shapes, no two alike."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def picture(seed: int, height: int = 72, width: int = 96) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def folder_of(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i:03d}.png"), picture(i))
    return folder


def noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (72, 96, 3), np.uint8)
