"""TensorRT's running half around a stand-in: on an NVIDIA card the whole of it, elsewhere the stand-in's names."""

import inspect
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import UserError
from core.files import sha256
from engine import tensorrt_api, tensorrt_engine
from engine.cuda import gpu, runtime
from engine.engine import GraphStages, Model
from engine.graphs import graph, with_stages
from engine.models import find, load
from engine.onnx_fp16 import fp16_ends, to_fp16
from engine.onnx_preprocess import Preprocess
from engine.pipeline import Pipeline
from engine.runtime import Runtime
from tests.conftest import ROOT
from tests.engine import tensorrt_standin as standin


@pytest.mark.parametrize("engine", tensorrt_api.MODULES)
def test_the_stand_in_has_the_real_names_and_takes_what_they_take(engine: str) -> None:
    real = next((module for name in tensorrt_api.MODULES[engine] if (module := _imported(name)) is not None), None)
    if real is None:
        pytest.skip(f"{engine} is not installed")
    for kind in (standin.Logger, standin.Runtime, standin.ICudaEngine, standin.IExecutionContext, standin.TensorIOMode):
        theirs = getattr(real, kind.__name__)
        for name, member in vars(kind).items():
            if name.startswith("_") or name in ("min_severity", "logger", "blob"):
                continue
            assert hasattr(theirs, name), f"{kind.__name__}.{name}"
            if inspect.isfunction(member):  # the real ones are compiled: their docstring's first line is the signature
                said = (getattr(theirs, name).__doc__ or "").partition("\n")[0]
                for parameter in list(inspect.signature(member).parameters)[1:]:
                    assert parameter in said or "*args" in said or not said, f"{kind.__name__}.{name}: {said}"
    assert hasattr(real, "nptype")


def _imported(name: str):
    try:
        return __import__(name)
    except (ImportError, OSError, RuntimeError):
        return None


@pytest.fixture(params=["planes", "half planes", "pixels"])
def engine_model(request, tmp_path: Path, monkeypatch) -> Model:
    """The Doom model as a bundle with an engine for this card, which the stand-in runs, by what the engine takes."""
    try:
        cudart = runtime()
    except UserError as error:
        pytest.skip(str(error))
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA")
    model, _ = load(find("doom-yolov4-tiny"))
    network = model.network
    proto, stages = graph(model, "fp32"), GraphStages()
    if request.param == "half planes":
        proto = fp16_ends(to_fp16(proto))
    elif request.param == "pixels":
        stages = GraphStages(Preprocess(network.height, network.width), True)
    path = tmp_path / tensorrt_engine.engine_name("tensorrt", "fp32")
    path.write_bytes(with_stages(proto, model, stages))
    name, capability = gpu(cudart)
    key = {"version": standin.__version__, "size": [network.width, network.height], "gpu": name}
    path.with_suffix(".json").write_text(json.dumps({"key": {**key, "compute_capability": capability}}))
    monkeypatch.setattr(tensorrt_api, "load", lambda name: standin)
    monkeypatch.setattr(Runtime, "installed", True)
    return replace(model, folder=tmp_path, sha256={path.name: sha256(path)})


def test_the_running_half_finds_what_the_host_finds(engine_model: Model, request) -> None:
    # Where the card prepares the pixels they are off by a grey value, and half precision is what it is.
    pixels_apart, scores_apart = (
        (0.5, 0.01) if request.node.callspec.params["engine_model"] == "pixels" else (0.75, 0.02)
    )
    reference = Pipeline(replace(engine_model, folder=None, sha256={}), "onnx:cpu", "fp32")
    found = Pipeline(engine_model, "tensorrt", "fp32")
    video = cv2.VideoCapture(str(ROOT / "examples" / "doom.mp4"))
    for _ in range(20):
        read, pixels = video.read()
        if not read:
            break
        one, other = found.run(pixels), reference.run(pixels)
        assert len(one[0]) == len(other[0])
        np.testing.assert_allclose(one[0], other[0], atol=pixels_apart)
        np.testing.assert_allclose(one[1], other[1], atol=scores_apart)


def test_an_engine_can_be_loaded_twice_and_again(engine_model: Model) -> None:
    pixels = cv2.imread(str(ROOT / "examples" / "doom.jpg"))
    one, two = Pipeline(engine_model, "tensorrt", "fp32"), Pipeline(engine_model, "tensorrt", "fp32")
    first = one.run(pixels)[1]
    assert (two.run(pixels)[1] == first).all()
    assert (one.run(pixels)[1] == first).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gpu": "Other"}, "this engine's gpu is Other"),
        ({"version": "9"}, "this engine's version is 9"),
        (None, "cannot load"),
    ],
)
def test_an_engine_that_does_not_fit_is_one_sentence(engine_model: Model, change, says: str) -> None:
    path = engine_model.folder / tensorrt_engine.engine_name("tensorrt", "fp32")
    if change is None:
        path.write_bytes(b"\x00no engine")
        engine_model = replace(engine_model, sha256={path.name: sha256(path)})
    else:
        made = json.loads(path.with_suffix(".json").read_text())
        path.with_suffix(".json").write_text(json.dumps({"key": {**made["key"], **change}}))
    with pytest.raises(UserError, match=says):
        Pipeline(engine_model, "tensorrt", "fp32")
