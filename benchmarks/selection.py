"""What selection, tracking, prediction and control cost together, by the number of detections.

    uv run --extra track python -m benchmarks.selection [--json FILE]

No game and no network: boxes that tremble where they are, sixty pictures a second, one core.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from agent.calibration import Calibration
from agent.context import outside_a_run
from agent.discovery import discover
from agent.history import CommandHistory, View
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
    calibration, history = Calibration(fov_deg=90, degrees_per_count=0.13), CommandHistory()
    view = View(history, calibration.focal_px)
    context = replace(outside_a_run(Path()), names=("thing",), calibration=calibration, history=history, view=view)
    catalogue = discover()
    factory, predictive = catalogue.find("selection", name), catalogue.find("controller", "predictive")
    selection = factory.create(factory.settings(**settings), context)
    controller = predictive.create(predictive.settings(fire="tap"), context)
    rng, focal = np.random.default_rng(0), calibration.focal_px(640)
    pixels = np.zeros((480, 640, 3), np.uint8)
    corners, taken = rng.uniform(0, 400, (count, 2)), []
    for i in range(FRAMES):
        turned = focal * np.radians(history.view)  # the picture follows the hand
        low = corners + rng.normal(0, 1, (count, 2)) - turned
        boxes = np.concatenate((low, low + 40), axis=1).astype(np.float32)
        found = Detections(boxes, np.full(count, 0.8, np.float32), np.zeros(count, np.int32))
        frame = Frame(pixels, i, (i + 1) * 16_666_667, (i + 1) * 16_666_667)
        start = time.perf_counter_ns()
        action = controller.decide(selection.select(found, frame), frame)
        history.add(frame.at_ns, action.dx * 0.13, action.dy * 0.13)
        controller.sent(action, frame)
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
