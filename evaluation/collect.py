"""Collecting a data set: COCO's form, from scenes that a capture knows the truth of, in parallel processes."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.errors import UserError
from agent.files import write_atomically
from agent.hookspecs import Sample

PORTION = 40
"""Frames that a process makes at a time."""
QUALITY = 92

Make = Callable[[int, int, bool], Iterator[Sample]]


def collect(
    make: Make, names: Sequence[str], frames: int, seed: int, held_out: bool, out: Path, done: Callable[[], None]
) -> dict[str, Any]:
    """Write `out/images` and `out/instances.json`; return counts for the data card.

    The same seed and number of frames give the same data set, whatever number of processes makes it.

    :param make: a module's function, called in other processes.
    :param done: called after each frame.
    :raises UserError: `out` is there already, or cannot be written.
    """
    if out.exists():
        raise UserError(f"{out}: this exists already; choose another --out, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        (part / "images").mkdir()
        rows: list[dict[str, Any]] = []
        jobs = [(i, min(PORTION, frames - i)) for i in range(0, frames, PORTION)]
        # A game, once broken, takes its process with it; and forked ones would share the parent's threads.
        with concurrent.futures.ProcessPoolExecutor(
            os.cpu_count(), mp_context=multiprocessing.get_context("spawn")
        ) as pool:
            futures = [
                pool.submit(_portion, make, first, count, seed * 100_003 + first, held_out, part / "images")
                for first, count in jobs
            ]
            for future in futures:
                for row in future.result():
                    rows.append(row)
                    done()
        dataset, card = _dataset(rows, names)
        write_atomically(part / "instances.json", json.dumps(dataset) + "\n")
        card |= {"seed": seed, "held_out": held_out}
        write_atomically(part / "card.json", json.dumps(card, indent=2) + "\n")
        part.rename(out)
        out.chmod(0o755)
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError("a game ended its process while it was played; the same command begins anew") from error
    except OSError as error:
        raise UserError(f"{out}: the data set cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return card


def _portion(make: Make, first: int, count: int, seed: int, held_out: bool, folder: Path) -> list[dict[str, Any]]:
    cv2.setNumThreads(1)
    rows = []
    for i, sample in enumerate(make(count, seed, held_out), first):
        name = f"{i:06d}.jpg"
        height, width = sample.pixels.shape[:2]
        coded, data = cv2.imencode(".jpg", sample.pixels, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
        if not coded:
            raise UserError(f"{name}: the frame cannot be coded as JPEG")
        (folder / name).write_bytes(data.tobytes())
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
    card = {"frames": len(rows), "boxes": dict(counts), "scenes": dict(sorted(scenes.items()))}
    return {"images": images, "annotations": annotations, "categories": categories}, card


def sheet(folder: Path, rows: int = 4, columns: int = 6) -> bytes:
    """Return a contact sheet of a data set's first images with their boxes, PNG."""
    data = json.loads((folder / "instances.json").read_text(encoding="utf-8"))
    step = max(1, len(data["images"]) // (rows * columns))
    tiles = []
    for image in data["images"][::step][: rows * columns]:
        picture = cv2.imread(str(folder / "images" / image["file_name"]), cv2.IMREAD_COLOR)
        assert picture is not None
        for a in (a for a in data["annotations"] if a["image_id"] == image["id"]):
            x, y, w, h = (round(v) for v in a["bbox"])
            cv2.rectangle(picture, (x, y), (x + w, y + h), (0, 200, 255) if a["iscrowd"] else (0, 255, 0), 2)
        tiles.append(cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA))
    while len(tiles) % columns:
        tiles.append(np.zeros((240, 320, 3), np.uint8))
    table = np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
    return bytes(cv2.imencode(".png", table)[1].tobytes())
