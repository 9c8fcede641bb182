"""An ONNX detector's bundle: its graphs at every precision, and what INT8 leaves in float."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from conversion.convert import Request, convert
from conversion.plan import read as read_plan
from conversion.quantization import depthwise_convolutions, head_convolutions, layers
from core.errors import UserError
from core.progress import silent
from engine.choice import attempt, candidates
from engine.models import OnnxFiles, find, load
from engine.onnx_network import open_onnx
from engine.pipeline import Pipeline
from tests.detectors import SIZE, convolving
from tests.pictures import folder_of, picture


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the small YOLOX, with every graph."""
    folder = tmp_path_factory.mktemp("onnx")
    folder_of(folder / "images", 32)
    path = convolving(folder / "a.onnx")
    network = open_onnx(path, layout="yolox")
    files = OnnxFiles(path, None, SIZE, None, {}, "yolox", network.spec)
    convert(Request(files, folder / "m", "fp16"), silent)
    files = find(str(folder / "m"))
    # What stays in float does so by rule.
    return convert(Request(files, folder / "m", "int8", calibrate=folder / "images", sensitive=False), silent)


def test_the_bundle_says_how_it_is_read(bundle: Path) -> None:
    files = find(str(bundle))
    assert isinstance(files, OnnxFiles)
    assert files.layout == "yolox"
    assert files.size == SIZE
    network = files.network()
    assert network.spec.colour == "bgr"
    assert {path.name for path in bundle.iterdir()} >= {
        "source.onnx", "fp32.onnx", "fp16.onnx", "int8.onnx", "int8-uint8.onnx", "calibration.json", "model.yaml"
    }  # fmt: skip
    with pytest.raises(UserError, match="this bundle's input is 96x64, not 64x64"):
        load(files, (64, 64))


@pytest.mark.parametrize("name", ["int8.onnx", "int8-uint8.onnx"])
def test_what_is_quantised_and_what_is_left_in_float(bundle: Path, name: str) -> None:
    model = onnx.load(str(bundle / "fp32.onnx"))
    heads, depthwise = head_convolutions(model), depthwise_convolutions(model)
    assert len(heads) == 9, "boxes, objectness and classes of three strides, and nothing before them"
    assert len(depthwise) == 1
    quantized = onnx.load(str(bundle / name))
    onnx.checker.check_model(quantized)
    is_quantized = {node.name: node.input[1].endswith(":dq") for node in quantized.graph.node if node.op_type == "Conv"}
    assert is_quantized == {layer: layer not in (*heads, *depthwise) for layer in layers(model)}
    kernels = [node.input[1] for node in quantized.graph.node if node.op_type == "Conv"]
    assert len(set(kernels)) == len(kernels), "each has a kernel of its own, also where two shared one"


@pytest.mark.parametrize(("engine", "precision"), [("openvino", "int8"), ("onnx", "int8"), ("onnx", "fp16")])
@pytest.mark.parametrize("where", ["host", "graph"])
def test_every_graph_agrees_with_fp32(bundle: Path, engine: str, precision: str, where: str) -> None:
    model, _ = load(find(str(bundle)))
    pixels = picture(50, SIZE[1], SIZE[0])
    results = []
    for name, kind in (("openvino", "fp32"), (engine, precision)):
        pipeline = Pipeline(model, name, kind, 0.01, where=where)
        pipeline.prepare(pixels)
        results.append(model.network.layout.table(pipeline.infer()))
    (boxes, scores), (given, found) = results
    assert np.abs(found - scores).max() < (0.01 if precision == "fp16" else 0.1)
    assert np.median(np.abs(given - boxes)) < (0.5 if precision == "fp16" else 4)


@pytest.mark.slow
def test_engines_are_tried_on_it(bundle: Path) -> None:
    files = find(str(bundle))
    wanted = candidates(files)
    assert not any(engine.startswith("tensorflow") for engine, _ in wanted)
    wanted = [pair for pair in wanted if pair[0] == "openvino"]
    trials = list(attempt(files, None, wanted, lambda: None))
    assert [trial.precision for trial in trials] == ["fp32", "fp16", "int8"]
    assert all(trial.good for trial in trials), [trial.reason for trial in trials]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT for RTX is not installed"
)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_tensorrt_for_rtx_plans_it(bundle: Path, precision: str) -> None:
    convert(Request(find(str(bundle)), bundle, precision, "tensorrt-rtx"), silent)
    plan = read_plan(bundle / f"{precision}.tensorrt-rtx.engine")
    model = onnx.load(str(bundle / "fp32.onnx"))
    kept = len(head_convolutions(model)) + len(depthwise_convolutions(model))
    kinds = plan.precisions
    assert set(kinds) <= {"Half", "Int8"}
    if precision == "int8":
        assert kinds["Int8"] >= len(layers(model)) - kept
        # Elsewhere SiLU is computed with what makes codes for the next convolution.
        assert len(plan.lonely_activations) <= 1, "the one before the depthwise convolution, which takes no codes"


def test_it_is_not_trained_or_saved_here(bundle: Path) -> None:
    with pytest.raises(UserError, match="a SavedModel is made of Darknet networks alone"):
        convert(Request(find(str(bundle)), bundle, "fp32", "savedmodel"), silent)
    with pytest.raises(UserError, match="takes one picture at a time"):
        convert(Request(find(str(bundle)), bundle, "fp32", max_batch=4), silent)
    model, _ = load(find(str(bundle)))
    with pytest.raises(UserError, match="needs a Darknet network"):
        Pipeline(model, "tensorflow")
