"""Collecting a data set: COCO's form, from scenes that a capture knows the truth of, in parallel processes."""

from __future__ import annotations

import concurrent.futures
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.factories import Sample
from core.errors import UserError
from core.files import atomic_folder, write_atomically
from core.images import encode, read_image
from core.workers import workers

QUALITY = 92

Make = Callable[[int, int, bool], Iterator[Sample]]


def collect(
    make: Make,
    names: Sequence[str],
    frames: int,
    seed: int,
    validation: bool,
    out: Path,
    done: Callable[[], None],
    portion: int = 40,
) -> dict[str, Any]:
    """Write `out/images`, `out/instances.json` and `out/manifest.json`; return what stands in the last.

    The same seed and number of frames give the same data set, whatever number of processes makes it.

    :param make: a module's function, called in other processes.
    :param done: called after each frame.
    :param portion: frames that a process makes at a time.
    :raises UserError: `out` is there already, or cannot be written.
    """
    with atomic_folder(out) as folder:
        (folder / "images").mkdir()
        jobs = [
            (make, i, min(portion, frames - i), seed * 100_003 + i, validation, folder / "images")
            for i in range(0, frames, portion)
        ]
        dataset, manifest = _dataset(_samples(jobs, done), names)
        write_atomically(folder / "instances.json", json.dumps(dataset) + "\n")
        manifest |= {"seed": seed, "validation": validation}
        write_atomically(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    return manifest


def _samples(jobs: Sequence[tuple[Any, ...]], done: Callable[[], None]) -> list[dict[str, Any]]:
    """Write every job's images in processes of their own; return the images' rows in order."""
    rows: list[dict[str, Any]] = []
    # A game, once broken, takes its process with it; and forked ones would share the parent's threads.
    try:
        with workers(len(jobs)) as pool:
            for future in [pool.submit(_portion, *job) for job in jobs]:
                for row in future.result():
                    rows.append(row)
                    done()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError("a game ended its process while it was played; the same command begins anew") from error
    return rows


def _portion(make: Make, first: int, count: int, seed: int, validation: bool, folder: Path) -> list[dict[str, Any]]:
    cv2.setNumThreads(1)
    rows = []
    for i, sample in enumerate(make(count, seed, validation), first):
        name = f"{i:06d}.jpg"
        height, width = sample.pixels.shape[:2]
        (folder / name).write_bytes(encode(sample.pixels, ".jpg", QUALITY))
        rows.append(
            {
                "name": name,
                "width": width,
                "height": height,
                "scene": sample.scene,
                "boxes": sample.boxes.tolist(),
                "classes": sample.classes.tolist(),
                "hidden": sample.hidden.tolist(),
            }
        )
    return rows


def _dataset(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    scenes: Counter[str] = Counter()
    used: set[int] = set()
    for i, row in enumerate(rows, 1):
        images.append({"id": i, "file_name": row["name"], **{key: row[key] for key in ("width", "height", "scene")}})
        scenes[row["scene"]] += 1
        for box, kind, hidden in zip(row["boxes"], row["classes"], row["hidden"], strict=True):
            x1, y1, x2, y2 = box
            used.add(kind)
            counts[names[kind] + (" (hidden)" if hidden else "")] += 1
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": kind + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    # What cannot be found is neither to be found nor to be punished: COCO's crowd.
                    "iscrowd": int(hidden),
                }
            )
    categories = [{"id": kind + 1, "name": names[kind]} for kind in sorted(used)]
    manifest = {"frames": len(rows), "boxes": dict(counts), "scenes": dict(sorted(scenes.items()))}
    return {"images": images, "annotations": annotations, "categories": categories}, manifest


def sheet(folder: Path, rows: int = 4, columns: int = 6) -> bytes:
    """Return a contact sheet of a data set's first images with their boxes, PNG."""
    data = json.loads((folder / "instances.json").read_text(encoding="utf-8"))
    step = max(1, len(data["images"]) // (rows * columns))
    tiles = []
    for image in data["images"][::step][: rows * columns]:
        picture = read_image(folder / "images" / image["file_name"])
        for a in (a for a in data["annotations"] if a["image_id"] == image["id"]):
            x, y, w, h = (round(v) for v in a["bbox"])
            cv2.rectangle(picture, (x, y), (x + w, y + h), (0, 200, 255) if a["iscrowd"] else (0, 255, 0), 2)
        tiles.append(cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA))
    while len(tiles) % columns:
        tiles.append(np.zeros((240, 320, 3), np.uint8))
    table = np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
    return encode(table, ".png")
