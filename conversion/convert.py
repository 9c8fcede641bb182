"""Conversion, step by step: Darknet or an ONNX detector -> calibrated INT8 -> TensorRT; Darknet -> a SavedModel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import onnx

from conversion.bundle import BundleBuilder
from conversion.calibration import Calibration, calibrate, source_of
from conversion.pictures import LIMIT, Pictures, find
from conversion.quantization import (
    ALL_CODES,
    PAIRED_CODES,
    SCHEMES,
    Codes,
    QuantizedWeights,
    Range,
    Scheme,
    depthwise_convolutions,
    head_convolutions,
    quantize,
)
from conversion.rounding import rounded
from conversion.sensitivity import RULE, sensitive
from conversion.tensorrt_build import build
from conversion.thresholds import Method
from core.errors import UserError
from core.files import sha256
from core.geometry import Fit
from core.precision import Precision
from core.progress import Progress, silent
from engine.darknet import Network, random_weights, read_cfg, read_weights, write_weights
from engine.engine import check_engine
from engine.models import GRAPH_FILES, Files, ModelFiles
from engine.onnx_file import read_onnx
from engine.onnx_fp16 import fp16_ends, to_fp16
from engine.onnx_graph import to_onnx
from engine.onnx_preprocess import Preprocess, batch_of, set_batch, with_preprocess
from engine.tensorrt_engine import engine_name

Target = Literal["openvino", "onnx", "tensorrt", "tensorrt-rtx", "savedmodel"]
TARGETS: tuple[Target, ...] = get_args(Target)
GRAPH_VERSION = 1
"""Counts the changes of what the steps make, so that a bundle of an older version is made anew."""
CALIBRATION = "calibration.json"
CODES: dict[Scheme, Codes] = {"symmetric": ALL_CODES, "asymmetric": PAIRED_CODES}
"""The unsigned graph is right on every CPU as it stands."""
SCHEME_FILES: dict[Scheme, str] = {"symmetric": GRAPH_FILES["int8"], "asymmetric": GRAPH_FILES["int8-uint8"]}


@dataclass(frozen=True)
class Int8:
    """How a network is quantised.

    `rounding` chooses weights by the error at the convolution's output, see `conversion.rounding`; `heads` leaves the
    convolutions that give boxes and scores in float, which cost 1 to 2 % of the work; `keep` are others that stay in
    float. Depthwise convolutions always do.
    """

    method: Method = "mse"
    rounding: bool = True
    heads: bool = True
    keep: tuple[str, ...] = ()


Tuner = Callable[["Material", Scheme], Int8]
"""Looks for the best way to quantise; see `conversion.tuning`."""


@dataclass
class Material:
    """What quantising works on."""

    model: onnx.ModelProto
    calibration: Calibration
    pictures: Pictures
    fit: Fit
    progress: Progress = silent
    _ranges: dict[tuple[Method, Scheme], dict[str, Range]] = field(default_factory=dict)
    _weights: dict[Codes, dict[str, QuantizedWeights]] = field(default_factory=dict)

    def quantized(self, scheme: Scheme, how: Int8, allowed: Codes | None = None) -> onnx.ModelProto:
        """Return the network quantised.

        :param allowed: the codes of weights, by default those of the scheme's graph.
        """
        allowed = allowed or CODES[scheme]
        weights = self._rounded(allowed) if how.rounding else None
        return quantize(self.model, self.ranges(how.method, scheme), scheme, self.kept(how), weights, allowed)

    def ranges(self, method: Method, scheme: Scheme) -> dict[str, Range]:
        """Return every group's range; found once, since that is most of the time that quantising anew takes."""
        if (method, scheme) not in self._ranges:
            self._ranges[method, scheme] = self.calibration.ranges(method, scheme)
        return self._ranges[method, scheme]

    def kept(self, how: Int8) -> set[str]:
        """Return the convolutions that stay in float."""
        heads = head_convolutions(self.model) if how.heads else ()
        return {*how.keep, *depthwise_convolutions(self.model), *heads}

    def recounted(self, pictures: Pictures) -> Material:
        """Return the same of other pictures.

        :raises UserError: one cannot be read.
        """
        counted = calibrate(self.model, pictures, self.fit, self.progress, allow_unfit=True)
        return Material(self.model, counted, pictures, self.fit, self.progress)

    def _rounded(self, allowed: Codes) -> dict[str, QuantizedWeights]:
        if not self._weights:
            both = tuple(CODES.values())
            self._weights = rounded(self.model, self.pictures, self.fit, both, self.progress)
        return self._weights[allowed]


@dataclass(frozen=True)
class Request:
    """What to convert, and to what.

    :param calibrate: a folder of images or a video.
    :param limit: of pictures that calibration looks at.
    :param allow_unfit: calibrate on pictures that are unfit for it, to see what that does.
    :param sensitive: leave in float what `conversion.sensitivity` finds, beside what `int8` keeps.
    :param tune: looks for the best INT8; None takes `int8` as it is.
    :param version_compatible: build TensorRT's engine for the runtime `tensorrt-lean`, of this version and later ones.
    """

    files: Files
    out: Path
    precision: Precision = "fp32"
    target: Target | None = None
    calibrate: Path | None = None
    limit: int = LIMIT
    allow_unfit: bool = False
    int8: Int8 = Int8()
    sensitive: bool = True
    tune: Tuner | None = None
    max_batch: int = 1
    workspace_gb: float | None = None
    version_compatible: bool = False
    source: str = ""


def convert(request: Request, progress: Progress) -> Path:
    """Make or extend a bundle; return its folder.

    :raises UserError: a file is missing or wrong, calibration is impossible, the target's tools are not installed, or
        the bundle cannot be written.
    """
    check(request)
    with BundleBuilder(request.files, request.out, request.source) as builder:
        if request.precision == "int8" and request.calibrate is None:
            _check_int8(builder)
        single = _single(builder, request, progress)
        if request.precision == "fp16":
            made_from = builder.digest(GRAPH_VERSION, builder.hash_of(GRAPH_FILES["fp32"]))
            builder.step(GRAPH_FILES["fp16"], made_from, lambda: to_fp16(single).SerializeToString())
        elif request.precision == "int8" and request.calibrate is not None:
            _int8(builder, request, request.calibrate, single, progress)
        if request.target in ("tensorrt", "tensorrt-rtx"):
            _tensorrt(builder, request, request.target, progress)
        elif request.target == "savedmodel":
            progress("SavedModel", 0, 0)
            made_from = builder.digest(GRAPH_VERSION, builder.hash_of("network.weights"))
            builder.step_folder("savedmodel", made_from, _savedmodel(builder))
        return builder.finish()


def check(request: Request) -> None:
    """Refuse what cannot end well before allow_unfit is done.

    :raises UserError: it is so.
    """
    target = request.target
    if target == "savedmodel" and request.precision != "fp32":
        raise UserError("a SavedModel is fp32; for other precisions choose another target")
    if target == "savedmodel" and not isinstance(request.files, ModelFiles):
        raise UserError("a SavedModel is made of Darknet networks alone; choose another target")
    if target in ("tensorrt", "tensorrt-rtx", "savedmodel"):
        check_engine("tensorflow" if target == "savedmodel" else target, request.precision)
    if request.tune is not None and request.calibrate is None:
        raise UserError("tuning needs precision int8 and pictures to calibrate on")
    if request.workspace_gb is not None and target not in ("tensorrt", "tensorrt-rtx"):
        raise UserError("workspace_gb is for the targets tensorrt and tensorrt-rtx")
    if request.version_compatible and target != "tensorrt":
        raise UserError("version_compatible is for the target tensorrt; an engine for RTX is compiled where it runs")
    if request.calibrate is not None and request.precision != "int8":
        raise UserError("calibration is for precision int8")
    if request.max_batch > 1 and target in ("openvino", "savedmodel"):
        raise UserError(f"max_batch is for ONNX and TensorRT; a {target} model takes one picture at a time here")


def _single(builder: BundleBuilder, request: Request, progress: Progress) -> onnx.ModelProto:
    """Return the float32 graph, written from the network's own files where it is not there yet."""
    batch: int | str = "batch" if request.max_batch > 1 else 1
    if not isinstance(builder.network, Network) and batch != 1:
        raise UserError(f"{builder.out}: max_batch is for Darknet networks; this one takes one picture at a time")
    base = [builder.hash_of(name) for name in builder.base]
    made_from = builder.digest(GRAPH_VERSION, base, batch)
    name = GRAPH_FILES["fp32"]
    if batch == 1 and builder.has(name):  # a dynamic one serves as well
        dynamic = builder.digest(GRAPH_VERSION, base, "batch")
        made_from = dynamic if builder.has(name, dynamic) else made_from

    def make() -> bytes:
        network = builder.network
        if not isinstance(network, Network):
            return network.graph().SerializeToString()
        progress("Darknet to ONNX", 0, 0)
        weights = read_weights(builder.folder / "network.weights", network)
        return to_onnx(network, weights, batch).SerializeToString()

    return read_onnx(builder.step(name, made_from, make))


def _check_int8(builder: BundleBuilder) -> None:
    """See that the INT8 graphs are there, for another target of them."""
    missing = [name for name in SCHEME_FILES.values() if not builder.has(name)]
    if missing:
        raise UserError(
            f"{builder.out}: {missing[0]} is missing or damaged, and INT8 needs pictures of what the agent will see: "
            "give a folder or a video to calibrate on, 32 pictures or more"
        )


def _int8(builder: BundleBuilder, request: Request, source: Path, single: onnx.ModelProto, progress: Progress) -> None:
    fit = builder.network.fit
    pictures = find(source, request.limit)
    made_from = builder.digest(
        GRAPH_VERSION, builder.hash_of(GRAPH_FILES["fp32"]), _identity(pictures), fit, request.allow_unfit
    )
    asked = (request.int8, RULE if request.sensitive else None)
    if request.tune is None and all(
        builder.has(name, _int8_digest(builder, made_from, asked, scheme)) for scheme, name in SCHEME_FILES.items()
    ):
        return
    batch = batch_of(single)
    if batch != 1:
        set_batch(single, 1)  # pictures are run through it one at a time
    counted = calibrate(single, pictures, fit, progress, request.allow_unfit)
    made = {**source_of(pictures), "fp32_sha256": builder.hash_of(GRAPH_FILES["fp32"]), **asdict(fit)}
    builder.step(CALIBRATION, made_from, lambda: counted.to_json(made).encode())
    material = Material(single, counted, pictures.without(counted.left_out), fit, progress)
    chosen: dict[str, Any] = {}
    how = request.int8
    if request.tune is None and request.sensitive:
        how = replace(how, keep=(*how.keep, *sensitive(material, how, builder.network)))
    for scheme in SCHEMES:
        if request.tune is not None:
            how = request.tune(material, scheme)
        progress(f"INT8, {scheme}", 0, 0)
        digest = _int8_digest(builder, made_from, asked if request.tune is None else how, scheme)
        quantized = material.quantized(scheme, how)
        if batch != 1:
            set_batch(quantized, batch)
        builder.step(SCHEME_FILES[scheme], digest, quantized.SerializeToString)
        chosen[scheme] = asdict(how) | {"keep": list(how.keep)}
    builder.note("int8", chosen)


def _int8_digest(builder: BundleBuilder, calibrated: str, how: object, scheme: Scheme) -> str:
    return builder.digest(calibrated, how, scheme, CODES[scheme])


def _identity(pictures: Pictures) -> list[object]:
    if pictures.files:
        return [(file.name, sha256(file)) for file in pictures.files]
    return [pictures.source.name, sha256(pictures.source), pictures.frames]


def _tensorrt(
    builder: BundleBuilder, request: Request, target: Literal["tensorrt", "tensorrt-rtx"], progress: Progress
) -> None:
    from engine import tensorrt_api

    version = tensorrt_api.version(tensorrt_api.load(target))
    runtime = "tensorrt-lean" if request.version_compatible else target
    name = engine_name(runtime, request.precision)
    batch = (1, request.max_batch) if request.max_batch > 1 else None
    network = builder.network
    graph_name = GRAPH_FILES[request.precision]
    key: dict[str, Any] = {
        "onnx_sha256": builder.hash_of(graph_name if builder.has(graph_name) else GRAPH_FILES["fp32"]),
        "runtime": runtime,
        "version": version,
        "precision": request.precision,
        "size": [network.width, network.height],
        "batch": request.max_batch,
        "ends": "planes, heads" if isinstance(network, Network) or batch else "pixels, outputs",
        **_gpu_of(target),
    }
    made_from = builder.digest(GRAPH_VERSION, key, request.workspace_gb)
    plan_name = Path(name).with_suffix(".json").name
    if builder.has(name, made_from) and builder.has(plan_name, made_from):
        return
    proto = read_onnx(builder.folder / graph_name)
    if request.precision == "int8":
        proto = to_fp16(proto)  # what lies between two convolutions is half as wide then
    if batch is None and not isinstance(network, Network):
        proto = with_preprocess(proto, Preprocess(network.height, network.width))
    elif batch is None and request.precision != "fp32":  # pixels and heads are the work of kernels of our own
        proto = fp16_ends(proto)
    built = build(target, proto, progress, batch, request.workspace_gb, request.version_compatible)
    builder.step(name, made_from, lambda: built.data)
    plan = {"key": key, "layers": built.plan()}
    builder.step(plan_name, made_from, lambda: (json.dumps(plan, indent=1) + "\n").encode())


def _gpu_of(target: str) -> dict[str, str]:
    """Return the GPU that an engine is bound to: TensorRT's to the one here, that for RTX to none."""
    if target == "tensorrt-rtx":
        return {"gpu": "RTX, compute capability 8.0 and later but 9.0"}
    from engine.cuda import gpu, runtime

    name, capability = gpu(runtime())
    return {"gpu": name, "compute_capability": capability}


def _savedmodel(builder: BundleBuilder) -> Callable[[Path], None]:
    """Return what exports a SavedModel: in a process of its own, since Keras has one backend a process."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "conversion.savedmodel", str(builder.folder), str(folder)]
        size = [str(builder.network.width), str(builder.network.height)]
        done = subprocess.run(
            [*command, *size], cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False
        )
        if done.returncode == 2:
            raise UserError(done.stderr.strip().splitlines()[-1])
        if done.returncode:
            raise UserError(f"TensorFlow could not export the SavedModel: {done.stderr.strip()[-300:]}")

    return make


def random_weights_file(cfg: Path, to: Path, size: tuple[int, int] | None) -> Path:
    """Write random weights for a cfg: for timing, since time does not depend on what weights hold.

    :raises UserError: the cfg cannot be read.
    """
    network = read_cfg(cfg, size)
    write_weights(to, network, random_weights(network, 0, empty=True))
    return to
