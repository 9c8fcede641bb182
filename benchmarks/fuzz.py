"""Mutated inputs for every reader: none may end in a traceback, hang, eat memory, or be taken for sense.

`uv run -m benchmarks.fuzz --seconds 60 --seed 0` says what came of it, by reader, and keeps each input that failed. An
oracle of its own looks at whatever a reader accepted; `--cases FOLDER` shows it known nonsense first.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import random
import resource
import signal
import string
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.errors import UserError
from tests.networks import CFG

HANG_S = 5
"""Of the processors' time, so that what else runs does not count."""
STUCK_S = 60
"""Of the clock's, for a case that waits."""
MEMORY = 1 << 30
LONGEST = 1000
"""Characters of a sentence, its paths included."""

NAMES = ("person", "car")
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 96, "height": 72}],
    "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40], "area": 1200.0, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [1.5, 2, 3, 4]},
    ],
}
VOC = (
    "<?xml version='1.0' encoding='utf-8'?><annotation><size><width>96</width><height>72</height></size>"
    "<object><name>person</name><difficult>0</difficult><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax>"
    "<ymax>60</ymax></bndbox></object><object><name>car</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax>"
    "<ymax>9</ymax></bndbox></object></annotation>"
)
LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/0a1b2c3d-a.png"},
        "annotations": [
            {
                "was_cancelled": False,
                "result": [
                    {
                        "type": "rectanglelabels",
                        "original_width": 96,
                        "original_height": 72,
                        "value": {
                            "x": 10, "y": 20.5, "width": 30, "height": 40, "rotation": 5, "rectanglelabels": ["person"]
                        },
                    },
                    {"value": {"points": [[10, 10], [40, 10], [40, 50]], "polygonlabels": ["car"]}},
                ],
            }
        ],
    }
]  # fmt: skip
CVAT = (
    "<?xml version='1.0' encoding='utf-8'?><annotations><version>1.1</version><image id='0' name='a.png' width='96' "
    "height='72'><box label='person' xtl='10' ytl='20' xbr='40' ybr='60' rotation='3'/><polygon label='car' "
    "points='1,2;30,4;20,40'/></image></annotations>"
)
YOLO = "0 0.5 0.5 0.25 0.25\n1 0.25 0.75 0.125 0.25\n"
MODEL = "names: [person, car]\nsize: [64, 96]\nsource: mine\nsha256: {network.cfg: abc, network.weights: def}\n"
PROFILE = """mode: lock-step
capture: {plugin: footage, path: clip.mp4}
detector: {plugin: yolo, model: doom-yolov4-tiny, confidence: 0.4}
selection: {plugin: nearest, classes: [person], fov_px: 200}
aim: {plugin: proportional, gain: 0.5}
actuation: {plugin: dry-run, path: a.jsonl}
guards: [{plugin: staleness, max_age_ms: 50}]
safety: {watchdog_ms: 500}
seed: 3
"""
EVENT = {
    "frame": 0, "episode": 0, "origin": [0, 0], "at_ns": 1, "times_ns": [1, 2, 3, 4, 5, 6, 7, 8],
    "boxes": [[1.0, 2.0, 3.0, 4.0]], "confidence": [0.5], "classes": [0], "target": [0, 1, 2, 3, 4, 0.5, 2, 3],
    "action": [1, -1, 1, None], "sent": True, "moved": False,
}  # fmt: skip
REPORT = {"histograms_ns": {"infer": [[300, 5], [310, 7]], "end_to_end": [[320, 12]]}}
ENGINES = {"abc": {"engine": "openvino", "precision": "int8"}}

ODD = [
    *("-1", "0", "-0.0", "1e309", "nan", "inf", "-inf", "1e-320", "1e30", "-5", "NaN", "Infinity", "1_0", "0x10"),
    *(str(2**31), str(2**63), str(-(2**63)), "9" * 5000, "a" * 5000, "[" * 3000, "true", "null", "", " ", "%s"),
    *("\0", "\x1b[31m", "\ufeff", "\r", "\r\n", "\u2028", "ä", "日本", "{", "}", '"', "'", "<", "&"),
    *("../../../etc/passwd", "!!int x", "&a [*a, *a]"),
]
ODD_VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, -5, 2**31, 2**63, 10**400, 1e30, -1e30, 1e-320, 0.5, math.nan, math.inf),
    *("", "a", "a" * 5000, "\0", "\x1b[2J", "\ufeffperson", "nan", "1", [], {}, [[]], [1, 2, 3], {"a": 1}),
]


@dataclass
class Reader:
    """What is read: its file's name and good contents, how, and what of it would be nonsense."""

    name: str
    file: str
    good: bytes
    read: Callable[[Path], Any]
    nonsense: Callable[[Any], str | None]


def readers(folder: Path) -> list[Reader]:
    """Return the readers, with what they need beside their file in `folder`."""
    from agent.profile import load_profile
    from agent.recording import difference, frames
    from engine import choice
    from engine.darknet import parse_cfg, random_weights, read_cfg, read_weights, write_weights
    from engine.models import read_manifest, read_names
    from engine.onnx_network import open_onnx
    from evaluation import latency
    from evaluation.annotations import category_names
    from evaluation.datasets import read
    from evaluation.tool_exports import class_names_of

    rng = np.random.default_rng(0)
    for name in ("images", "set", "record"):
        (folder / name).mkdir()
    cv2.imwrite(str(folder / "images" / "a.png"), rng.integers(0, 255, (72, 96, 3), np.uint8))
    network = parse_cfg(CFG)
    write_weights(folder / "good.weights", network, random_weights(network, 0))
    writer = cv2.VideoWriter(str(folder / "record" / "frames.avi"), cv2.VideoWriter.fourcc(*"HFYU"), 10, (96, 72))
    writer.write(rng.integers(0, 255, (72, 96, 3), np.uint8))
    writer.release()
    (folder / "record" / "recording.json").write_text('{"version": 2, "frames": 1}')
    (folder / "record" / "events.jsonl").write_text(json.dumps(EVENT) + "\n")
    (folder / "info").mkdir()
    for file in (folder / "record").iterdir():
        (folder / "info" / file.name).write_bytes(file.read_bytes())
    (folder / "other").mkdir()
    (folder / "other" / "events.jsonl").write_text(json.dumps(EVENT) + "\n")
    os.environ["RETICLE_CACHE"] = str(folder)

    def labels(path: Path) -> Any:
        return read(path, folder / "images", NAMES)

    def text(value: Any) -> bytes:
        return json.dumps(value).encode()

    return [
        Reader("cfg", "a.cfg", CFG.encode(), read_cfg, _network),
        Reader("names", "a.names", b"person\ncar\n", read_names, _names),
        Reader(
            "weights",
            "a.weights",
            (folder / "good.weights").read_bytes(),
            lambda p: read_weights(p, network),
            _weights,
        ),
        Reader("coco", "instances.json", text(COCO), labels, _records),
        Reader("coco-names", "names.json", text(COCO), category_names, _names),
        Reader("voc", "set/a.xml", VOC.encode(), lambda p: labels(p.parent), _records),
        Reader("label-studio", "tasks.json", text(LABEL_STUDIO), labels, _records),
        Reader("label-studio-names", "label-studio.json", text(LABEL_STUDIO), class_names_of, _names),
        Reader("cvat", "annotations.xml", CVAT.encode(), labels, _records),
        Reader("cvat-names", "cvat.xml", CVAT.encode(), class_names_of, _names),
        Reader("onnx", "a.onnx", _detector(), open_onnx, lambda network: None),
        Reader("yolo", "set/a.txt", YOLO.encode(), lambda p: labels(p.parent), _records),
        Reader("model.yaml", "model.yaml", MODEL.encode(), lambda p: read_manifest(p.parent), _manifest),
        Reader("profile", "p.yaml", PROFILE.encode(), load_profile, lambda loaded: None),
        Reader("recording", "info/recording.json", text({"version": 2, "frames": 1}), _frames(frames), _played),
        Reader("events", "record/events.jsonl", text(EVENT) + b"\n", _frames(frames), _played),
        Reader("replay", "other/events.jsonl", text(EVENT) + b"\n", lambda p: difference(p.parent, p.parent), _said),
        Reader("latency", "r.json", text(REPORT), lambda p: latency.rows([latency.read(p)]), _latencies),
        Reader("engines", "engines.json", text(ENGINES), lambda p: choice._read(), _engines),
    ]


def _detector() -> bytes:
    """Return a detector in ONNX: YOLOv8's layout, of two classes."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=1),
        helper.make_node("Squeeze", ["mean"], ["flat"]),
        helper.make_node("Expand", ["flat", "shape"], ["output0"]),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [1, 6, 84])
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 6, 84])
    graph = helper.make_graph(nodes, "detector", [image], [output], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": "{0: 'person', 1: 'car'}", "task": "detect", "imgsz": "[64, 64]"})
    return bytes(model.SerializeToString())


def _frames(frames: Any) -> Callable[[Path], Any]:
    return lambda path: list(frames(path.parent))


def _network(network: Any) -> str | None:
    sizes = [math.prod(layer.shape) for layer in network.layers] + [c.floats for c in network.convolutions]
    if not all(0 < size < 2**31 for size in sizes) or not 0 < network.floats < 2**31:
        return "a layer or the weights of a size that no machine holds"
    if not all(0 < v < 1e6 for head in network.heads for pair in head.anchors for v in pair):
        return "anchors that are no sizes"
    return None if all(0 < head.scale_x_y < 100 for head in network.heads) else "scale_x_y"


def _names(names: Any) -> str | None:
    if not all(isinstance(name, str) and name.strip() == name and name for name in names):
        return "a class name is no text"
    if len(set(names)) != len(names):
        return "a class name twice"
    return (
        None if all(c.isprintable() or c == "\xa0" or c.isspace() for n in names for c in n) else "control characters"
    )


def _weights(weights: Any) -> str | None:
    arrays = [(name, array) for entry in weights.arrays for name, array in entry.items()]
    if weights.seen < 0:
        return "a negative count of images seen"
    if not all(np.isfinite(a).all() and np.abs(a).max() < 1e20 for _, a in arrays):
        return "weights that are no numbers, or too large"
    return None if all((a >= 0).all() for n, a in arrays if n == "variance") else "a negative variance"


def _records(records: Any) -> str | None:
    for record in records:
        boxes = record.boxes
        if not np.isfinite(boxes).all() or not np.isfinite(record.areas).all():
            return "a box or an area that is not finite"
        if (boxes < -2).any() or (boxes > np.array((98, 74, 98, 74))).any():
            return "a box outside the picture"
        if (boxes[:, 2:] <= boxes[:, :2]).any() or (record.areas <= 0).any():
            return "a box of no or negative size"
        if ((record.classes < 0) | (record.classes >= len(NAMES))).any():
            return "a class that is not one of the model's"
    return None


def _manifest(manifest: Any) -> str | None:
    return _names(manifest.names) or (None if min(manifest.size) > 0 else "a size that is none")


def _played(played: Any) -> str | None:
    for frame in played:
        if not (isinstance(frame.index, int) and frame.index >= 0 and abs(frame.at_ns) < 2**63):
            return "a frame's number or time"
        if not all(isinstance(v, int) and abs(v) < 2**31 for v in (*frame.origin, frame.episode)):
            return "a frame's origin or episode"
    return None


def _said(found: Any) -> str | None:
    return None if found is None else "a recording that differs from itself"


def _latencies(rows: Any) -> str | None:
    values = [row[key][part] for row in rows for key in ("p50", "p99") for part in ("value", "low", "high")]
    return None if all(math.isfinite(v) and v >= 0 for v in values) else "a latency that is negative or no number"


def _engines(known: Any) -> str | None:
    return None if all(isinstance(c.engine, str) for c in known.values()) else "an engine that is no text"


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to four things changed; JSON now and then by its values."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice((_value, _number, _token, _bytes, _slice))(data, rng)
    return data


def _value(data: bytes, rng: random.Random) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return _number(data, rng)
    here, key = value, None
    while isinstance(here, dict | list) and here:
        key = rng.choice(list(here) if isinstance(here, dict) else range(len(here)))
        if not isinstance(here[key], dict | list) or not here[key] or rng.random() < 0.2:
            break
        here = here[key]
    if key is None or not isinstance(here, dict | list):
        return data
    if rng.random() < 0.15:
        del here[key]
    else:
        here[key] = rng.choice(ODD_VALUES)
    return json.dumps(value).encode() + (b"\n" if data.endswith(b"\n") else b"")


def _number(data: bytes, rng: random.Random) -> bytes:
    import re

    found = list(re.finditer(rb"-?\d+\.?\d*", data))
    if not found:
        return _token(data, rng)
    where = rng.choice(found)
    return data[: where.start()] + rng.choice(ODD).encode() + data[where.end() :]


def _token(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(ODD).encode() + data[at + rng.choice((0, 0, 1, 4)) :]


def _bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _slice(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:a] + data[b:] if rng.random() < 0.5 else data[:b] + data[a:b] + data[b:]


class Hang(BaseException):
    """A case took longer than HANG_S, or STUCK_S."""


@contextmanager
def limited() -> Iterator[None]:
    """Let a case take HANG_S or STUCK_S, and MEMORY more than there is, at the most."""

    def late(*_: Any) -> None:
        raise Hang

    before = [(number, signal.signal(number, late)) for number in (signal.SIGALRM, signal.SIGPROF)]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, HANG_S)
    signal.alarm(STUCK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for number, handler in before:
            signal.signal(number, handler)


def attempt(reader: Reader, path: Path) -> str:
    """Return what came of a case: `accepted`, `refused`, or what is wrong with it."""
    try:
        with limited():
            wrong = reader.nonsense(reader.read(path))
    except UserError as error:
        said = str(error)
        if any(not c.isprintable() and c != "\n" for c in said):
            return "CONTROL: a sentence with control characters"
        if len(said) > LONGEST:
            return "LONG: a sentence of more than 1000 characters"
        # A profile's problems are a line each.
        return "refused" if "\n" not in said or reader.name == "profile" else "LINES: a sentence of several lines"
    except Hang:
        return "HANG"
    except MemoryError:
        return "MEMORY"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"TRACEBACK: {type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
    return "accepted" if wrong is None else f"NONSENSE: {wrong}"


def fuzz(seconds: float, cases: int | None, seed: int, only: str | None, out: Path | None) -> dict[str, Any]:
    """Run cases until the time or their number is up; return counts by reader and what failed."""
    logging.disable(logging.CRITICAL)
    results: dict[str, Counter[str]] = {}
    failures: dict[str, dict[str, Any]] = {}
    number = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = [reader for reader in readers(folder) if only in (None, reader.name)]
        for reader in known:
            path = folder / reader.file
            path.write_bytes(reader.good)
            result = attempt(reader, path)
            if result != "accepted":
                raise SystemExit(f"{reader.name}: its good input was {result}")
            _clean(reader, path)
        until = time.monotonic() + seconds
        while time.monotonic() < until and (cases is None or number < cases):
            reader = known[number % len(known)]
            rng = random.Random(f"{seed} {number}")
            data = mutated(reader.good, rng)
            path = folder / reader.file
            path.write_bytes(data)
            result = attempt(reader, path)
            results.setdefault(reader.name, Counter())[result.split(":")[0]] += 1
            if result not in ("accepted", "refused"):
                key = f"{reader.name}: {result}"
                if key not in failures or len(data) < failures[key]["bytes"]:
                    failures[key] = {"case": number, "bytes": len(data)}
                    if out is not None:
                        _keep(out, key, reader, data)
            _clean(reader, path)
            number += 1
    return {"seed": seed, "cases": number, "readers": {k: dict(v) for k, v in results.items()}, "failures": failures}


def _clean(reader: Reader, path: Path) -> None:
    if reader.file.startswith("set/"):  # where VOC's and YOLO's labels would be taken for each other's
        path.unlink()
    else:
        path.write_bytes(reader.good)


def _keep(out: Path, key: str, reader: Reader, data: bytes) -> None:
    safe = "".join(c if c in string.ascii_letters + string.digits else "-" for c in key)[:80]
    (out / safe).mkdir(parents=True, exist_ok=True)
    (out / safe / Path(reader.file).name).write_bytes(data)


def known_nonsense(folder: Path) -> list[tuple[str, str]]:
    """Return each known case of nonsense, READER-WRONG... with one file in a folder of its own, and what came of it."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        by_name = {reader.name: reader for reader in readers(here)}
        for case in sorted(folder.glob("*-WRONG*")):
            reader = by_name.get(case.name.split("-WRONG")[0])
            files = [file for file in case.iterdir() if file.name != "why.txt"]
            if reader is None or len(files) != 1:
                continue
            path = here / reader.file
            path.write_bytes(files[0].read_bytes())
            found.append((case.name, attempt(reader, path)))
            _clean(reader, path)
    return found


def main() -> None:
    """Run from the command line; status 1 when something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cases-limit", type=int, help="stop after so many cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", help="only this one")
    parser.add_argument("--cases", type=Path, help="a folder of known nonsense, to see that none is accepted")
    parser.add_argument("--out", type=Path, help="keep the smallest input of each failure in this folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    bad = False
    if given.cases is not None:
        for name, result in known_nonsense(given.cases):
            bad |= result == "accepted"
            print(f"{name}: {result}")
    found = fuzz(given.seconds, given.cases_limit, given.seed, given.reader, given.out)
    for name, counts in found["readers"].items():
        print(f"{name:12} " + ", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
    for key, case in found["failures"].items():
        print(f"FAILED {key} (case {case['case']}, {case['bytes']} bytes)")
    print(f"{found['cases']} cases, {len(found['failures'])} kinds of failure, seed {found['seed']}")
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(1 if bad or found["failures"] else 0)


if __name__ == "__main__":
    main()
