"""Detection on images: boxes as JSON, and drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.drawing import draw_detections
from agent.roles import Detector
from agent.types import Detections, Frame
from core.errors import UserError
from core.files import write_atomically
from core.images import encode, images_in, read_image


def image_files(path: Path) -> list[Path]:
    """Return the image, or the images of a folder, sorted.

    :raises UserError: there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: there is no such image or folder")
    return images_in(path)


def detect_images(
    detector: Detector, files: list[Path], out: Path | None, unreadable: list[str], done: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    """Detect in each image; yield its row as docs/reports.md describes it.

    :param out: a folder for the images with their boxes drawn, PNG; None draws nothing.
    :param unreadable: takes a sentence for each file that is no image; the others are done all the same.
    :param done: called after each image.
    :raises UserError: a picture cannot be written.
    """
    names = {} if out is None else picture_names(files, out)
    for index, file in enumerate(files):
        try:
            picture = read_image(file)
        except UserError as error:
            unreadable.append(str(error))
            continue
        detections = detector.detect(Frame(picture, index, 0, 0))
        if out is not None:
            draw_detections(picture, detections, detector.names)
            write_atomically(out / names[file], encode(picture, ".png"))
        done()
        yield {
            "image": str(file),
            "width": picture.shape[1],
            "height": picture.shape[0],
            "detections": rows(detections, detector.names),
        }


def picture_names(files: Sequence[Path], out: Path) -> dict[Path, str]:
    """Return what the drawn pictures are called: the image's stem, its whole name where two share one.

    :raises UserError: a picture would take the place of one of the images.
    """
    stems = Counter(file.stem.casefold() for file in files)
    names = {file: f"{file.stem if stems[file.stem.casefold()] == 1 else file.name}.png" for file in files}
    own = {file.resolve() for file in files}
    for name in names.values():
        if (out / name).resolve() in own:
            raise UserError(f"{out / name}: the drawn picture would overwrite your image; give another folder as --out")
    return names


def rows(detections: Detections, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return detections as JSON rows: class, score, box [x1, y1, x2, y2] in pixels."""
    return [
        {
            "class": names[class_id],
            "score": round(float(confidence), 4),
            "box": [round(float(v), 2) for v in box],
        }
        for box, confidence, class_id in zip(
            detections.xyxy, detections.confidence, detections.class_id.tolist(), strict=True
        )
    ]
