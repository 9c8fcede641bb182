"""Head to head with the way a well-known tutorial does it (pylessons' TensorFlow-2.x-YOLOv4, 2020), in our own words.

Both look at the same screen (an Xvfb of its own that shows pictures in turn), with the same weights, frame by frame in
turn in one process. Its way, as read from the tutorial: grab the whole window, letterbox in float64, call the Keras
model eagerly, decode and filter with numpy, suppress greedily in Python. Ours is the detector `yolo` on the region
alone. Both end with boxes; their times are from the start of the grab to the boxes.

    uv run --extra tensorflow -m benchmarks.against_seed --model yolov4-tiny --precision int8 --size 416
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.context import Context
from agent.types import Frame
from benchmarks.screen import Screen
from core.display import own_display
from engine.darknet import Network, read_cfg, read_weights
from engine.keras_network import build
from engine.models import ModelFiles, find
from plugins.capture.mss import Settings as MssSettings
from plugins.capture.mss import mss_capture
from plugins.detector.yolo import reticle_detector

CONFIDENCE, NMS = 0.25, 0.45


def their_way(network: Network, model: Any, grab: Callable[[], Frame | None]) -> list[tuple[float, ...]]:
    """Return boxes (x1, y1, x2, y2, score, class) in pixels of the window."""
    frame = grab()
    assert frame is not None
    image = cv2.cvtColor(frame.pixels, cv2.COLOR_BGRA2RGB)
    height, width = image.shape[:2]
    size = network.width
    scale = min(size / width, size / height)
    w, h = int(scale * width), int(scale * height)
    left, top = (size - w) // 2, (size - h) // 2
    canvas = np.full((size, size, 3), 128.0)
    canvas[top : top + h, left : left + w] = cv2.resize(image, (w, h))
    outputs = model(canvas[None] / 255.0, training=False)  # float64, eagerly
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    rows = np.concatenate([_rows(np.asarray(o)[0], head, size) for o, head in zip(outputs, network.heads, strict=True)])
    boxes = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], axis=-1)
    boxes[:, [0, 2]] = (boxes[:, [0, 2]] - left) / scale
    boxes[:, [1, 3]] = (boxes[:, [1, 3]] - top) / scale
    classes = np.argmax(rows[:, 5:], axis=-1)
    scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + classes]
    kept = scores > CONFIDENCE
    return _greedy(np.concatenate([boxes, scores[:, None], classes[:, None]], axis=-1)[kept])


def _rows(raw: NDArray[Any], head: Any, size: int) -> NDArray[Any]:
    cells_h, cells_w = raw.shape[:2]
    raw = raw.reshape(cells_h, cells_w, len(head.anchors), -1)
    x, y = np.meshgrid(np.arange(cells_w), np.arange(cells_h))
    grid = np.stack((x, y), axis=-1)[:, :, None]
    xy = (1 / (1 + np.exp(-raw[..., :2])) + grid) * (size / cells_w)
    wh = np.exp(raw[..., 2:4]) * np.array(head.anchors)
    rest = 1 / (1 + np.exp(-raw[..., 4:]))
    return np.concatenate((xy, wh, rest), axis=-1).reshape(-1, raw.shape[-1])


def _greedy(rows: NDArray[Any]) -> list[tuple[float, ...]]:
    best = []
    for kind in set(rows[:, 5]):
        mine = rows[rows[:, 5] == kind]
        while len(mine):
            first = int(np.argmax(mine[:, 4]))
            box = mine[first]
            best.append(tuple(float(v) for v in box))
            mine = np.delete(mine, first, axis=0)
            low, high = np.maximum(box[:2], mine[:, :2]), np.minimum(box[2:4], mine[:, 2:4])
            inside = np.prod(np.maximum(high - low, 0), axis=1)
            areas = np.prod(mine[:, 2:4] - mine[:, :2], axis=1) + np.prod(box[2:4] - box[:2])
            mine = mine[inside / (areas - inside) < NMS]
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov4-tiny")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of images for the screen")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = find(options.model)
    assert isinstance(files, ModelFiles)
    network = read_cfg(files.cfg, (options.size, options.size))
    model = build(network, read_weights(files.weights, network))
    folder = Path.cwd()
    context = Context(folder=folder, seed=0, live=False, lock_step=False, panic=lambda reason: None)
    factory: Any = reticle_detector()
    settings = factory.settings(
        model=options.model, engine="openvino", precision=options.precision, size=options.size, confidence=CONFIDENCE
    )
    detector = factory.create(settings, context)
    theirs, ours, alone, rest = [], [], [], []
    with own_display():
        screen = Screen(sorted(options.pictures.glob("*.jpg"))[:20])
        region = mss_capture(MssSettings(width=options.size, height=options.size, max_fps=None), context)
        window = mss_capture(MssSettings(max_fps=None), context)
        for i in range(options.frames + 10):
            screen.show(i)
            began = time.perf_counter()
            their_way(network, model, window.grab)
            took = time.perf_counter() - began
            frame = region.grab()
            assert frame is not None
            frame.taken_ns = time.perf_counter_ns()
            detector.detect(frame)
            frame.decoded_ns = time.perf_counter_ns()
            if i >= 10:
                theirs.append(took * 1e3)
                ours.append((frame.decoded_ns - frame.grab_ns) / 1e6)
                infer = (frame.inferred_ns - frame.preprocessed_ns) / 1e6
                alone.append(infer)
                rest.append(ours[-1] - infer)
        for capture in (region, window):
            capture.close()
    figures = {
        name: _percentiles(v) for name, v in (("theirs", theirs), ("ours", ours), ("network", alone), ("rest", rest))
    }
    figures["ratio_p50"] = round(figures["theirs"]["p50"] / figures["ours"]["p50"], 2)
    print(json.dumps(figures, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def _percentiles(values: Sequence[float]) -> Any:
    return {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 90, 99)}


if __name__ == "__main__":
    main()
