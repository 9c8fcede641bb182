"""What selection, tracking, prediction and control cost together, by the number of detections.

    uv run --extra track python -m benchmarks.selection [--json FILE]

No game and no network: boxes that tremble where they are, sixty pictures a second, one core.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from agent.aim import AimController, AimSettings
from agent.discovery import discover
from agent.hookspecs import Context
from agent.motion import View
from agent.types import Detections, Frame

KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("nearest", {}),
    ("best", {"weights": {"nearest": 1, "biggest": 0.5, "surest": 0.2}}),
    ("tracker", {"method": "bytetrack"}),
    ("tracker", {"method": "sort"}),
    ("tracker", {"method": "ocsort"}),
)
COUNTS = (1, 10, 100)
FRAMES, WARM_UP = 400, 50


def measure(name: str, settings: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the time of selection and control of a frame with `count` detections, ms."""
    aim = AimSettings(method="predictive", fov_deg=90, degrees_per_count=0.13, fire="tap")
    view = View(aim.motions(), aim.focal_px)
    context = Context(Path(), 0, live=False, lock_step=True, panic=lambda reason: None, names=("thing",), view=view)
    maker = discover().offers["selection"][name].maker
    selection = maker.make(maker.settings(**settings), context)
    controller = AimController(aim, motions=view.motions)
    rng, focal = np.random.default_rng(0), aim.focal_px(640)
    pixels = np.zeros((480, 640, 3), np.uint8)
    corners, taken = rng.uniform(0, 400, (count, 2)), []
    for i in range(FRAMES):
        turned = focal * np.radians(view.motions.view)  # the picture follows the hand
        low = corners + rng.normal(0, 1, (count, 2)) - turned
        boxes = np.concatenate((low, low + 40), axis=1).astype(np.float32)
        found = Detections(boxes, np.full(count, 0.8, np.float32), np.zeros(count, np.int32))
        frame = Frame(pixels, i, (i + 1) * 16_666_667, (i + 1) * 16_666_667)
        start = time.perf_counter_ns()
        controller.act(selection.select(found, frame), frame)
        taken.append(time.perf_counter_ns() - start)
    p50, p99 = np.percentile(taken[WARM_UP:], (50, 99)) / 1e6
    kind = settings.get("method", name)
    return {"selection": kind, "detections": count, "p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4)}


def main(json_file: Annotated[Path | None, typer.Option("--json")] = None) -> None:
    """Measure each selection and print a line each."""
    rows = [measure(name, settings, count) for name, settings in KINDS for count in COUNTS]
    for row in rows:
        print("{selection:10} {detections:4} detections  p50 {p50_ms:.3f} ms  p99 {p99_ms:.3f} ms".format(**row))
    if json_file is not None:
        json_file.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
