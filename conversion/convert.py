"""Conversion, step by step: Darknet -> Keras -> ONNX -> calibrated INT8 -> TensorRT or a SavedModel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from conversion.bundle import Workshop
from conversion.calibration import Calibration, calibrate, corrected_biases, source_of
from conversion.pictures import MOST, Pictures, find
from conversion.quantization import FORMS, Form, Range, quantize
from conversion.tensorrt_build import build
from conversion.thresholds import Method
from engine.engine import ENGINES, Precision, check_engine
from engine.errors import ModelError
from engine.files import sha256
from engine.graphs import FILES, read_onnx
from engine.models import ModelFiles
from engine.onnx_ends import Front, with_back, with_front
from engine.onnx_half import in_half
from engine.preprocess import Resize
from engine.tensorrt_engine import engine_name

Target = Literal["openvino", "onnx", "tensorrt", "tensorrt-rtx", "savedmodel"]
TARGETS: tuple[Target, ...] = get_args(Target)
GRAPH_VERSION = 1
"""Counts the changes of what the steps make, so that a bundle of an older version is made anew."""
CALIBRATION = "calibration.json"
FORM_FILES: dict[Form, str] = {"symmetric": FILES["int8"], "asymmetric": FILES["int8-uint8"]}

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: not known)."""


@dataclass(frozen=True)
class Int8:
    """How a network is quantised: `keep` are the convolutions that stay in float."""

    method: Method = "mse"
    bias_correction: bool = False
    keep: tuple[str, ...] = ()


Tuner = Callable[["Material", Form], Int8]
"""Looks for the best way to quantise; see `conversion.tuning`."""


@dataclass
class Material:
    """What quantising works on."""

    model: onnx.ModelProto
    calibration: Calibration
    pictures: Pictures
    resize: Resize
    _biases: dict[tuple[Method, Form], dict[str, NDArray[np.float32]]] = field(default_factory=dict)

    def quantized(self, form: Form, how: Int8) -> onnx.ModelProto:
        """Return the network quantised."""
        ranges = self.calibration.ranges(how.method, form)
        biases = self._corrected(how.method, form, ranges) if how.bias_correction else None
        return quantize(self.model, ranges, form, how.keep, biases)

    def _corrected(self, method: Method, form: Form, ranges: dict[str, Range]) -> dict[str, NDArray[np.float32]]:
        key = (method, form)
        if key not in self._biases:
            made = corrected_biases(self.model, ranges, form, self.pictures, self.resize, lambda done, total: None)
            self._biases[key] = made
        return self._biases[key]


@dataclass(frozen=True)
class Request:
    """What to convert, and to what.

    :param calibrate: a folder of images or a video.
    :param anything: calibrate on pictures that are unfit for it, to see what that does.
    :param tune: looks for the best INT8; None takes `int8` as it is.
    """

    files: ModelFiles
    out: Path
    precision: Precision = "fp32"
    target: Target | None = None
    calibrate: Path | None = None
    most: int = MOST
    anything: bool = False
    int8: Int8 = Int8()
    tune: Tuner | None = None
    max_batch: int = 1
    workspace_gb: float | None = None
    source: str = ""


def convert(request: Request, progress: Progress) -> Path:
    """Make or extend a bundle; return its folder.

    :raises ModelError: a file is missing or wrong, calibration is impossible, the target's tools are not installed, or
        the bundle cannot be written.
    """
    check(request)
    with Workshop(request.files, request.out, request.source) as shop:
        if request.precision == "int8" and request.calibrate is None:
            _check_int8(shop)
        single = _single(shop, request, progress)
        if request.precision == "fp16":
            made_from = shop.digest(GRAPH_VERSION, shop.hash_of(FILES["fp32"]))
            shop.step(FILES["fp16"], made_from, lambda: in_half(single).SerializeToString())
        elif request.precision == "int8" and request.calibrate is not None:
            _int8(shop, request, request.calibrate, single, progress)
        if request.target in ("tensorrt", "tensorrt-rtx"):
            _tensorrt(shop, request, request.target, progress)
        elif request.target == "savedmodel":
            progress("SavedModel", 0, 0)
            made_from = shop.digest(GRAPH_VERSION, shop.hash_of("network.weights"))
            shop.step_folder("savedmodel", made_from, _savedmodel(shop))
        return shop.finish()


def check(request: Request) -> None:
    """Refuse what cannot end well before anything is done.

    :raises ModelError: it is so.
    """
    target = request.target
    if target is not None and target in ENGINES and request.precision not in ENGINES[target].precisions:
        raise ModelError(f"the target {target} has no {request.precision}")
    if target == "savedmodel" and request.precision != "fp32":
        raise ModelError("a SavedModel is fp32; for other precisions choose another --target")
    if target in ("tensorrt", "tensorrt-rtx", "savedmodel"):
        check_engine("tensorflow" if target == "savedmodel" else target, request.precision)
    if request.tune is not None and request.calibrate is None:
        raise ModelError("--tune belongs to --precision int8 with --calibrate FOLDER")
    if request.workspace_gb is not None and target not in ("tensorrt", "tensorrt-rtx"):
        raise ModelError("--workspace-gb belongs to --target tensorrt or tensorrt-rtx")
    if request.calibrate is not None and request.precision != "int8":
        raise ModelError("--calibrate belongs to --precision int8")
    if request.max_batch > 1 and target in ("openvino", "savedmodel"):
        raise ModelError(f"--max-batch belongs to ONNX and TensorRT; a {target} model takes one picture at a time here")


def _single(shop: Workshop, request: Request, progress: Progress) -> onnx.ModelProto:
    """Return the float32 graph, made by Keras where it is not there yet."""
    batch: int | str = "batch" if request.max_batch > 1 else 1
    made_from = shop.digest(GRAPH_VERSION, [shop.hash_of(name) for name in ("network.cfg", "network.weights")], batch)
    name = FILES["fp32"]
    if batch == 1 and shop.has(name):  # a dynamic one serves as well
        dynamic = shop.digest(GRAPH_VERSION, [shop.hash_of(n) for n in ("network.cfg", "network.weights")], "batch")
        made_from = dynamic if shop.has(name, dynamic) else made_from

    def make() -> bytes:
        from engine.darknet import read_weights
        from engine.network import build as build_network
        from engine.onnx_graph import to_onnx

        progress("Keras to ONNX", 0, 0)
        weights = read_weights(shop.folder / "network.weights", shop.network)
        return to_onnx(build_network(shop.network, weights), batch).SerializeToString()

    return read_onnx(shop.step(name, made_from, make))


def _check_int8(shop: Workshop) -> None:
    """See that the INT8 graphs are there, for another target of them."""
    missing = [name for name in FORM_FILES.values() if not shop.has(name)]
    if missing:
        raise ModelError(
            f"{shop.out}: {missing[0]} is missing or damaged, and INT8 needs pictures of what the agent will see: "
            "--calibrate FOLDER_OR_VIDEO, 32 or more"
        )


def _int8(shop: Workshop, request: Request, source: Path, single: onnx.ModelProto, progress: Progress) -> None:
    resize: Resize = "letterbox" if shop.network.letter_box else "stretch"
    pictures = find(source, request.most)
    made_from = shop.digest(GRAPH_VERSION, shop.hash_of(FILES["fp32"]), _identity(pictures), resize, request.anything)
    if request.tune is None and all(
        shop.has(name, _int8_digest(shop, made_from, request.int8, form)) for form, name in FORM_FILES.items()
    ):
        return
    counted = calibrate(
        single, pictures, resize, lambda done, total: progress("calibration", done, total), request.anything
    )
    made = {**source_of(pictures), "fp32_sha256": shop.hash_of(FILES["fp32"]), "resize": resize}
    shop.step(CALIBRATION, made_from, lambda: counted.to_json(made).encode())
    material = Material(single, counted, pictures, resize)
    chosen: dict[str, Any] = {}
    for form in FORMS:
        how = request.int8 if request.tune is None else request.tune(material, form)
        progress(f"INT8, {form}", 0, 0)
        digest = _int8_digest(shop, made_from, how, form)
        quantized = material.quantized(form, how)
        shop.step(FORM_FILES[form], digest, quantized.SerializeToString)
        chosen[form] = {"method": how.method, "bias_correction": how.bias_correction, "keep": list(how.keep)}
    shop.note("int8", chosen)


def _int8_digest(shop: Workshop, calibrated: str, how: Int8, form: Form) -> str:
    return shop.digest(calibrated, how, form)


def _identity(pictures: Pictures) -> list[object]:
    if pictures.files:
        return [(file.name, sha256(file)) for file in pictures.files]
    return [pictures.source.name, sha256(pictures.source), pictures.frames]


def _tensorrt(
    shop: Workshop, request: Request, target: Literal["tensorrt", "tensorrt-rtx"], progress: Progress
) -> None:
    from engine import tensorrt_api

    version = tensorrt_api.version(tensorrt_api.load(target))
    name = engine_name(target, request.precision)
    batch = (1, request.max_batch) if request.max_batch > 1 else None
    network = shop.network
    graph_name = FILES[request.precision]
    key: dict[str, Any] = {
        "onnx_sha256": shop.hash_of(graph_name if shop.has(graph_name) else FILES["fp32"]),
        "runtime": target,
        "version": version,
        "precision": request.precision,
        "size": [network.width, network.height],
        "batch": request.max_batch,
        **_card_of(target),
    }
    made_from = shop.digest(GRAPH_VERSION, key, request.workspace_gb)
    plan_name = Path(name).with_suffix(".json").name
    if shop.has(name, made_from) and shop.has(plan_name, made_from):
        return
    proto = read_onnx(shop.folder / graph_name)
    if request.precision == "int8":
        proto = in_half(proto)  # what lies between two convolutions is half as wide then
    if batch is None:
        if len({head.new_coords for head in network.heads}) == 1:
            proto = with_back(proto, network)
        proto = with_front(proto, Front(network.height, network.width))
    built = build(target, proto, progress, batch, request.workspace_gb)
    shop.step(name, made_from, lambda: built.data)
    plan = {"key": key, "layers": built.plan()}
    shop.step(plan_name, made_from, lambda: (json.dumps(plan, indent=1) + "\n").encode())


def _card_of(target: str) -> dict[str, str]:
    """Return the card that an engine is bound to: TensorRT's to the one here, that for RTX to none."""
    if target == "tensorrt-rtx":
        return {"card": "RTX, compute capability 8.0 and later but 9.0"}
    from engine.cuda import card, runtime

    name, capability = card(runtime())
    return {"card": name, "compute_capability": capability}


def _savedmodel(shop: Workshop) -> Callable[[Path], None]:
    """Return what exports a SavedModel: in a process of its own, since Keras has one backend a process."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "conversion.savedmodel", str(shop.folder), str(folder)]
        size = [str(shop.network.width), str(shop.network.height)]
        done = subprocess.run(
            [*command, *size], cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False
        )
        if done.returncode == 2:
            raise ModelError(done.stderr.strip().splitlines()[-1])
        if done.returncode:
            raise ModelError(f"TensorFlow could not export the SavedModel: {done.stderr.strip()[-300:]}")

    return make


def random_weights_file(cfg: Path, to: Path, size: tuple[int, int] | None) -> Path:
    """Write random weights for a cfg: for timing, since time does not depend on what weights hold.

    :raises ModelError: the cfg cannot be read.
    """
    from engine.darknet import random_weights, read_cfg, write_weights

    network = read_cfg(cfg, size)
    write_weights(to, network, random_weights(network, 0, empty=True))
    return to
