"""Do our networks compute what OpenCV 4's own Darknet reader computes? A table over cfgs.

OpenCV 5 dropped that reader, so this runs in an environment of its own:

    uv run --isolated --with 'opencv-python-headless<5' -m benchmarks.compare_with_opencv CFG_FOLDER

Weights are WEIGHTS_FOLDER/NAME.weights where that file is there (`--weights`), random ones otherwise. The
input is random, at the cfg's own size, and what is compared is the raw output of the convolution before
each [yolo] layer. The relative error is the largest difference over the largest absolute value.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.darknet import Network, random_weights, read_cfg, read_weights, write_weights
from engine.engine import Model, load_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cfgs", type=Path, help="a folder of cfgs")
    parser.add_argument("--weights", type=Path, help="a folder of weights, named as the cfgs are")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        raise SystemExit(f"OpenCV {cv2.__version__} has no Darknet reader; see the top of this file")
    print(f"OpenCV {cv2.__version__} against {args.engine}")
    print("| cfg | weights | outputs | largest value | relative error |\n|---|---|---|---|---|")
    rows = []
    for cfg in sorted(args.cfgs.glob("*.cfg")):
        row = compare(cfg, args.weights, args.engine)
        rows.append(row)
        print("| {cfg} | {weights} | {outputs} | {largest:.3g} | {relative_error:.1e} |".format(**row), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")
    worst = max(row["relative_error"] for row in rows)
    raise SystemExit(0 if worst < 1e-3 else f"the largest relative error is {worst:.1e}, over 1e-3")


def compare(cfg: Path, weights_folder: Path | None, engine_name: str) -> dict[str, Any]:
    network = read_cfg(cfg)
    path = (weights_folder or Path()) / f"{cfg.stem}.weights"
    with tempfile.TemporaryDirectory() as folder:
        real = weights_folder is not None and path.is_file()
        if not real:
            path = Path(folder) / "random.weights"
            write_weights(path, network, random_weights(network, seed=1))
        image = np.random.default_rng(2).random((1, 3, network.height, network.width), np.float32)
        theirs = opencv(cfg, path, network, image)
        engine = load_engine(engine_name, Model(network, read_weights(path, network)))
    engine.input[...] = image if engine.layout == "NCHW" else image.transpose(0, 2, 3, 1)
    ours = [head.transpose(2, 0, 1) for head in engine.infer()]
    largest = max(float(np.abs(head).max()) for head in theirs)
    errors = [float(np.abs(a - b).max()) / float(np.abs(b).max()) for a, b in zip(ours, theirs, strict=True)]
    return {
        "cfg": cfg.stem,
        "weights": "official" if real else "random",
        "outputs": len(theirs),
        "largest": largest,
        "relative_error": max(errors),
    }


def opencv(cfg: Path, weights: Path, network: Network, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    reader: Any = cv2.dnn
    net = reader.readNetFromDarknet(str(cfg), str(weights))
    net.setInput(image)
    names = set(net.getLayerNames())
    # OpenCV names a layer by its kind and index, and an activation after it as a layer of its own.
    wanted = []
    for head in network.heads:
        index = head.index - 1
        candidates = [f"logistic_{head.index}", f"conv_{index}"]
        wanted.append(next(name for name in candidates if name in names))
    outputs = net.forward(wanted)
    return [np.asarray(output)[0] for output in outputs]


if __name__ == "__main__":
    main()
