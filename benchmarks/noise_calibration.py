"""What calibrating on noise costs, beside real pictures: AP50 of INT8 as OpenVINO runs it and by exact arithmetic.

`uv run --extra onnx -m benchmarks.noise_calibration DATA [--out FILE.json]`, where DATA has cfg/, weights/, coco128/
and coco-val158/. The noise is 100 pictures of uniform random bytes, as a well-known tutorial calibrated on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from conversion.calibration import calibrate
from conversion.convert import Int8, Material
from conversion.output_error import executor
from conversion.pictures import find
from conversion.quantization import SCHEMES
from core.geometry import STRETCH
from engine.coco import COCO_NAMES
from engine.darknet import read_cfg, read_weights
from engine.onnx_graph import to_onnx
from evaluation.agreement import score
from evaluation.datasets import read

METHODS: tuple[Any, ...] = ("max", "mse", "kl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--names", nargs="*", default=["yolov4-tiny", "yolov3-tiny"])
    parser.add_argument("--sizes", nargs="*", type=int, default=[320, 416, 608])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    truth = read(args.data / "coco-val158" / "instances.json", args.data / "coco-val158" / "images", COCO_NAMES)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        noise = np.random.default_rng(0)
        for i in range(100):
            cv2.imwrite(f"{folder}/{i:03d}.png", noise.integers(0, 256, (416, 416, 3), np.uint8))
        sources = {"noise": Path(folder), "pictures": args.data / "coco128" / "images"}
        for name in args.names:
            for size in args.sizes:
                network = read_cfg(args.data / "cfg" / f"{name}.cfg", (size, size))
                model = to_onnx(network, read_weights(args.data / "weights" / f"{name}.weights", network))
                for source, path in sources.items():
                    pictures = find(path)
                    counted = calibrate(model, pictures, STRETCH, allow_unfit=True)
                    material = Material(model, counted, pictures, STRETCH)
                    for method in METHODS:
                        row: dict[str, Any] = {"model": name, "size": size, "calibrated_on": source, "method": method}
                        plain = Int8(method, rounding=False, heads=False)
                        for form in SCHEMES:
                            engine = executor(material.quantized(form, plain), form)
                            row[form] = round(score(engine, network, STRETCH, truth), 2)
                        rows.append(row)
                        print(json.dumps(row), flush=True)
                        if args.out:
                            args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
