"""ONNX Runtime on an NVIDIA card: a host frame to host boxes, against the network alone on the card.

`uv run --extra onnx-gpu -m benchmarks.gpu CFG_FOLDER [--out FILE.json]` times the shipped models, and yolov4-tiny and
yolov4 at 416 and 608 with random weights, as the network's time does not depend on them. Frames are of Doom, in turn,
so that none lies in a cache. "Alone" is the network without pre- and post-processing, its input and outputs left on the
card, as ONNX Runtime replays its CUDA graph, and "replay" that graph by itself; "card" prepares and decodes there, from
frames in ordinary memory, "page-locked" from those that a capture wrote where the host told it to; "host" and "graph"
where they say. `--peers torch,jax` adds the network alone by PyTorch's CUDA graph and by XLA. The ways of a row are
timed in turn.
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

from benchmarks.gpu_peers import PEERS
from core.geometry import STRETCH
from engine.cuda import Buffer, Recording, checked, new_stream, runtime
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
    parser.add_argument("--bundles", nargs="*", default=["doom-yolov4-tiny", "openarena-yolov4-tiny"])
    parser.add_argument("--names", nargs="*", default=["yolov4-tiny", "yolov4"])
    parser.add_argument("--sizes", nargs="*", type=int, default=[416, 608])
    parser.add_argument("--precisions", nargs="*", default=["fp16", "fp32"])
    parser.add_argument("--peers", type=lambda text: text.split(","), default=[])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    video = _frames(Path(__file__).resolve().parent.parent / "examples" / "doom.mp4")
    for name, size, model in _models(args):
        for precision in args.precisions:
            if precision != "int8" or model.folder is not None:
                row = {"model": name, "size": size, "precision": precision}
                rows.append({**row, **measure(model, precision, video, args.peers)})
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


def measure(model: Model, precision: Any, video: list[Any], peers: list[str]) -> dict[str, Any]:
    """Return p50 in ms of the network alone, and of the whole with pixels and boxes on card, host or in the graph."""
    network = model.network
    proto = graph(model, precision)
    alone = _alone(with_stages(proto, model, GraphStages()), precision)
    stages: dict[str, Any] = {"alone": alone, "replay": _replay(with_stages(proto, model, GraphStages()), precision)}
    stages["pixels"] = _pixels(video)
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
    locked = [card.page_locked(each.shape) for each in video]
    for array, each in zip(locked, video, strict=True):
        np.copyto(array, each)
    stages["page-locked"] = _on_card(card, locked)
    if precision != "int8":
        stages |= {name: PEERS[name](model, precision == "fp16") for name in peers}
    times: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(RUNS // BURST):
        for name, run in stages.items():
            for i in range(BURST + 2):
                start = time.perf_counter_ns()
                run()
                if i >= 2:
                    times[name].append((time.perf_counter_ns() - start) / 1e6)
    for name in ("prepare", "infer", "boxes"):
        times[f"page-locked, {name}"] = []
    for array in itertools.islice(itertools.cycle(locked), RUNS):
        stamps = [time.perf_counter_ns()]
        card.prepare(array)
        stamps.append(time.perf_counter_ns())
        outputs = card.infer()
        stamps.append(time.perf_counter_ns())
        card.boxes(outputs)
        stamps.append(time.perf_counter_ns())
        for name, (begin, end) in zip(("prepare", "infer", "boxes"), itertools.pairwise(stamps), strict=True):
            times[f"page-locked, {name}"].append((end - begin) / 1e6)
    p50 = {name: round(float(np.median(values)), 4) for name, values in times.items()}
    p99 = {name: round(float(np.percentile(values, 99)), 4) for name, values in times.items()}
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        **{
            f"{name}_over_alone": {
                "times": round(p50[name] / p50["alone"], 3),
                "ms": round(p50[name] - p50["alone"], 4),
            }
            for name in ("card", "page-locked")
        },
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


def _pixels(video: list[Any]) -> Any:
    """Return what copies a frame into page-locked memory, which a frame in ordinary memory is not spared."""
    target = Buffer(runtime(), video[0].shape, np.uint8)
    frames = itertools.cycle(video)
    return lambda: np.copyto(target.array, next(frames))


def _replay(onnx: bytes, precision: Any) -> Any:
    """Return what replays the network's own CUDA graph, recorded around a session that makes none."""
    run, stream_of = _session(onnx, precision, recorded=True)
    recording = Recording(runtime(), lambda stream: run(), stream_of)

    def replay() -> None:
        recording.run()
        assert run

    return replay


def _alone(onnx: bytes, precision: Any) -> Any:
    """Return what runs the network with everything on the card, and waits for it."""
    run, stream = _session(onnx, precision)
    cudart = runtime()

    def alone() -> None:
        run()
        checked(cudart, cudart.cudaStreamSynchronize(stream))

    return alone


def _session(onnx: bytes, precision: Any, recorded: bool = False) -> tuple[Any, Any]:
    """Return what puts the network on a stream, everything on the card, and the stream."""
    cudart = runtime()
    stream = new_stream(cudart)
    given = provider_options(precision, stream, own_graph=not recorded)
    session = onnxruntime.InferenceSession(onnx, providers=[("CUDAExecutionProvider", given)])
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
        assert kept

    return run, stream


if __name__ == "__main__":
    main()
