"""ONNX Runtime on an NVIDIA card: a host frame to host boxes, against the network alone on the card.

`uv run --extra onnx-gpu -m benchmarks.gpu CFG_FOLDER [--out FILE.json]` times the shipped Doom model, and yolov4-tiny
and yolov4 at 416 and 608 with random weights, as the network's time does not depend on them. Frames are of Doom.
"Alone" is the network without pre- and post-processing, its input and outputs left on the card, as a CUDA graph; "card"
prepares and decodes there, "host" and "graph" where they say. The ways of a row are timed in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

with contextlib.suppress(ImportError):
    import torch  # noqa: F401  # where it is, ONNX Runtime finds CUDA's libraries by it

import cv2
import numpy as np
import onnxruntime

from core.geometry import STRETCH
from engine.cuda import Buffer, checked, runtime
from engine.cuda_stages import CudaStages
from engine.darknet import Network, random_weights, read_cfg
from engine.engine import GraphStages, Model
from engine.graphs import graph, with_stages
from engine.models import find, load
from engine.onnx_preprocess import Preprocess
from engine.pipeline import decoder as decoder_of
from engine.runtimes.onnx import RUNTIME, OnnxEngine, provider_options

RUNS = 300
BURST = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cfgs", type=Path)
    parser.add_argument("--bundles", nargs="*", default=["doom-yolov4-tiny"])
    parser.add_argument("--names", nargs="*", default=["yolov4-tiny", "yolov4"])
    parser.add_argument("--sizes", nargs="*", type=int, default=[416, 608])
    parser.add_argument("--precisions", nargs="*", default=["fp16", "fp32"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    video = _frames(Path(__file__).resolve().parent.parent / "examples" / "doom.mp4")
    for name, size, model in _models(args):
        for precision in args.precisions:
            if precision != "int8" or model.folder is not None:
                row = {"model": name, "size": size, "precision": precision}
                rows.append({**row, **measure(model, precision, video)})
                print(json.dumps(rows[-1]), flush=True)
                if args.out:
                    args.out.write_text(json.dumps(rows, indent=1))


def _models(args: Any) -> Iterator[tuple[str, str, Model]]:
    for bundle in args.bundles:
        model, _ = load(find(bundle))
        yield bundle, f"{model.network.width}x{model.network.height}", model
    for name in args.names:
        for size in args.sizes:
            network = read_cfg(args.cfgs / f"{name}.cfg", (size, size))
            yield name, str(size), Model(network, random_weights(network, 0, empty=True))


def _frames(path: Path) -> list[Any]:
    """Return some frames of a game, with things to find."""
    reader = cv2.VideoCapture(str(path))
    found: list[Any] = []
    while len(found) < 30:
        read, pixels = reader.read()
        if not read:
            break
        found.append(pixels)
    return found


def measure(model: Model, precision: Any, video: list[Any]) -> dict[str, Any]:
    """Return p50 in ms of the network alone, and of the whole with pixels and boxes on card, host or in the graph."""
    network = model.network
    pixels = video[len(video) // 2]
    proto = graph(model, precision)
    alone = _alone(with_stages(proto, model, GraphStages()), precision)
    stages: dict[str, Any] = {"alone": alone, "pixels": _pixels(pixels)}
    ends = {
        "graph": GraphStages(Preprocess(network.height, network.width), True),
        "preprocess": GraphStages(Preprocess(network.height, network.width), False),
        "host": GraphStages(),
    }
    decoder = decoder_of(network, 0.25, 0.45)
    for name, wanted in ends.items():
        engine: Any = RUNTIME.load(model, precision, wanted, "cuda")
        stages[name] = _whole(engine, decoder, video)
        stages[f"{name}, engine"] = engine.infer
    on_card: Any = RUNTIME.load(model, precision, GraphStages(device=True), "cuda")
    assert isinstance(network, Network)
    card = CudaStages(on_card.device, network, STRETCH, 0.25, 0.45)
    stages["card"] = _on_card(card, video)
    stages["card, prepare"] = lambda: card.prepare(pixels)
    stages["card, infer"] = card.infer
    stages["card, boxes"] = lambda: card.boxes([])
    times: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(RUNS // BURST):
        for name, run in stages.items():
            for i in range(BURST + 2):
                start = time.perf_counter_ns()
                run()
                if i >= 2:
                    times[name].append((time.perf_counter_ns() - start) / 1e6)
    p50 = {name: round(float(np.median(values)), 4) for name, values in times.items()}
    p99 = {name: round(float(np.percentile(values, 99)), 4) for name, values in times.items()}
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "whole_over_alone": round(p50["card"] / p50["alone"], 3),
        "whole_less_alone_ms": round(p50["card"] - p50["alone"], 4),
    }


def _on_card(card: CudaStages, video: list[Any]) -> Any:
    frames = itertools.cycle(video)

    def run() -> None:
        card.prepare(next(frames))
        card.boxes(card.infer())

    return run


def _whole(engine: OnnxEngine, decoder: Any, video: list[Any]) -> Any:
    from engine.preprocess import Preprocessor

    preprocessor = Preprocessor(engine.input, engine.layout, STRETCH)
    frames = itertools.cycle(video)

    def run() -> None:
        preprocessor.run(next(frames))
        boxes, _, _ = decoder.decode(engine.infer())
        if len(boxes):
            preprocessor.to_frame(boxes)

    return run


def _pixels(pixels: Any) -> Any:
    """Return what copies a frame into page-locked memory, a part of the whole that no engine is spared."""
    target = Buffer(runtime(), pixels.shape, np.uint8)
    return lambda: np.copyto(target.array, pixels)


def _alone(onnx: bytes, precision: Any) -> Any:
    """Return what runs the network with everything on the card, and waits for it."""
    cudart = runtime()
    stream = checked(cudart, cudart.cudaStreamCreate())
    provider = ("CUDAExecutionProvider", provider_options(precision, stream))
    session = onnxruntime.InferenceSession(onnx, providers=[provider])
    (first,) = session.get_inputs()
    binding = session.io_binding()
    source = Buffer(cudart, tuple(first.shape), np.float32)
    binding.bind_input(first.name, "cuda", 0, np.float32, first.shape, source.device)
    kept = [source]
    for output in session.get_outputs():
        kept.append(Buffer(cudart, tuple(output.shape), np.float32))
        binding.bind_output(output.name, "cuda", 0, np.float32, output.shape, kept[-1].device)
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def run() -> None:
        session.run_with_iobinding(binding, options)
        checked(cudart, cudart.cudaStreamSynchronize(stream))
        assert kept

    return run


if __name__ == "__main__":
    main()
