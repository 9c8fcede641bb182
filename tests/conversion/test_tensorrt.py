"""TensorRT for RTX builds without a GPU, so its plans are checked here; running an engine is not executed."""

import ast
import inspect
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversion.convert import Request, convert
from conversion.plan import read
from conversion.tensorrt_build import build
from core.errors import UserError
from engine import tensorrt_api, tensorrt_engine
from engine.engine import load_engine
from engine.models import ModelFiles, find, load
from tests.conftest import ROOT
from tests.networks import NAMES, small_files

pytestmark = pytest.mark.filterwarnings("ignore")
rtx = pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed (the extra trt-rtx)")


def quiet(*_: object) -> None:
    pass


LAYERS = {"fp32": 41, "fp16": 42}
"""yolov4-tiny's kernels without pre- and post-processing; they add at most 2."""


@pytest.fixture(scope="module")
def tiny(data: Path, tmp_path_factory) -> Path:
    """yolov4-tiny's bundle with an engine of every precision."""
    out = tmp_path_factory.mktemp("trt") / "tiny"
    files = ModelFiles(data / "cfg" / "yolov4-tiny.cfg", data / "weights" / "yolov4-tiny.weights")
    for precision in LAYERS:
        convert(Request(files, out, precision, "tensorrt-rtx"), quiet)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("precision", LAYERS)
def test_the_plan_of_yolov4_tiny(tiny: Path, precision: str) -> None:
    plan = read(tiny / f"{precision}.tensorrt-rtx.engine")
    assert len(plan.layers) <= LAYERS[precision] + 2
    assert len(plan.convolutions) == 21
    # TensorRT for RTX takes some 1x1 convolutions for matrix products, and those take no activation in.
    alone = {name.split("_")[1] for layer in plan.lonely_activations for name in layer.onnx}
    assert alone <= {"5", "13", "21"}, alone
    # The first convolution may take the picture itself.
    assert plan.precisions[{"fp32": "Float", "fp16": "Half"}[precision]] >= 20, plan.precisions
    assert plan.key["runtime"] == "tensorrt-rtx"


@pytest.mark.slow
def test_the_int8_plan_of_the_shipped_model(tmp_path: Path) -> None:
    out = tmp_path / "doom"
    shutil.copytree(ROOT / "models" / "doom-yolov4-tiny", out)
    plan = read(convert(Request(find(str(out)), out, "int8", "tensorrt-rtx"), quiet) / "int8.tensorrt-rtx.engine")
    network = find(str(out)).network()
    # Those that give boxes and scores are float16, all others Int8.
    assert plan.precisions == {"Int8": len(network.convolutions) - len(network.heads), "Half": len(network.heads)}
    assert not plan.lonely_activations


def test_mish_is_fused_into_its_convolution(tmp_path: Path) -> None:
    cfg, weights, _ = small_files(tmp_path)
    for precision in ("fp32", "fp16"):
        out = convert(Request(ModelFiles(cfg, weights, NAMES), tmp_path / "small", precision, "tensorrt-rtx"), quiet)
        plan = read(out / f"{precision}.tensorrt-rtx.engine")
        mish = [layer for layer in plan.layers if any(name.startswith("convolutional_1_mish") for name in layer.onnx)]
        assert mish
        assert all("convolutional_1" in layer.onnx for layer in mish), "Mish is a kernel of its own"


def test_a_graph_that_tensorrt_refuses_is_one_sentence() -> None:
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("NoSuchThing", ["x"], ["y"])], "g", values[:1], values[1:])
    with pytest.raises(UserError, match="tensorrt-rtx cannot take the network"):
        build("tensorrt-rtx", helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)]), quiet)


def test_an_engine_without_a_gpu_and_a_changed_one_are_said(tmp_path: Path) -> None:
    cfg, weights, _ = small_files(tmp_path)
    out = convert(Request(ModelFiles(cfg, weights, NAMES), tmp_path / "small", "fp16", "tensorrt-rtx"), quiet)
    model, _ = load(find(str(out)))
    with pytest.raises(UserError, match="no engine for tensorrt-rtx at fp32 yet: make it with .*--target tensorrt-rtx"):
        load_engine("tensorrt-rtx", model, "fp32")
    engine = out / "fp16.tensorrt-rtx.engine"
    engine.write_bytes(engine.read_bytes()[:-1])
    with pytest.raises(UserError, match="not the one the bundle was made with"):
        load_engine("tensorrt-rtx", model, "fp16")


@pytest.mark.parametrize(
    ("change", "says"),
    [({"version": "0.1"}, "this engine's version is 0.1, here it is"), ({"size": [32, 32]}, r"size is \[32, 32\]")],
)
def test_an_engine_of_another_version_or_size_is_refused(tmp_path: Path, monkeypatch, change: dict, says: str) -> None:
    import json

    cfg, weights, _ = small_files(tmp_path)
    out = convert(Request(ModelFiles(cfg, weights, NAMES), tmp_path / "small", "fp16", "tensorrt-rtx"), quiet)
    monkeypatch.setattr(tensorrt_engine, "runtime", lambda: None)  # there is no GPU here to ask
    monkeypatch.setattr(tensorrt_engine, "gpu", lambda cudart: ("a GPU", "8.9"))
    plan = out / "fp16.tensorrt-rtx.json"
    made = json.loads(plan.read_text())
    plan.write_text(json.dumps({**made, "key": {**made["key"], **change}}))
    model, _ = load(find(str(out)))
    with pytest.raises(UserError, match=says):
        load_engine("tensorrt-rtx", model, "fp16")


@pytest.mark.parametrize("name", ["tensorrt-rtx", "tensorrt-lean", "tensorrt"])
def test_every_name_that_running_uses_is_in_the_real_modules(name: str) -> None:
    """What cannot be executed here is at least spelt as the modules spell it."""
    cuda = pytest.importorskip("cuda.bindings.runtime")
    from engine import cuda as ours

    trt = real(name)
    assert tensorrt_api.is_rtx(trt) == (name == "tensorrt-rtx")
    owners = {
        "trt": trt, "self._runtime": trt.Runtime, "engine": trt.ICudaEngine, "self._context": trt.IExecutionContext,
        "cudart": cuda, "self._cudart": cuda,
    }  # fmt: skip
    if tensorrt_api.is_rtx(trt):
        owners |= {"config": trt.IRuntimeConfig, "kept": trt.IRuntimeCache}
    seen = 0
    for module in (tensorrt_engine, ours):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in owners:
                if node.attr == "create_runtime_config" and not tensorrt_api.is_rtx(trt):
                    continue
                assert hasattr(owners[ast.unparse(node.value)], node.attr), f"{ast.unparse(node)} does not exist"
                seen += 1
    assert seen > 25
    properties = cuda.cudaDeviceProp
    assert all(hasattr(properties, name) for name in ("name", "major", "minor"))
    for kind, names in (
        (cuda.cudaMemcpyKind, ("cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost")),
        (trt.TensorIOMode, ("INPUT",)),
    ):
        assert all(hasattr(kind, name) for name in names)


def real(name: str):
    """Return an engine's module, or skip."""
    try:
        return tensorrt_api.load(name)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ["tensorrt-rtx", "tensorrt-lean", "tensorrt"])
def test_signatures_of_the_calls_that_running_makes(name: str) -> None:
    trt = real(name)
    caching = [
        (trt.ICudaEngine.create_execution_context, "runtime_config: tensorrt"),
        (trt.IRuntimeConfig.set_runtime_cache, "cache: "),
        (trt.IRuntimeCache.deserialize, "(self"),
    ] if tensorrt_api.is_rtx(trt) else []  # fmt: skip
    for method, arguments in (
        *caching,
        (trt.IExecutionContext.execute_async_v3, "stream_handle: "),
        (trt.IExecutionContext.set_tensor_address, "name: str, memory: "),
        (trt.IExecutionContext.set_input_shape, "name: str, shape: "),
        (trt.Runtime.deserialize_cuda_engine, "serialized_engine: "),
    ):
        assert arguments in method.__doc__, (method, method.__doc__)


def test_flags_of_version_compatible_engines() -> None:
    """The lean module has the builder's flags without a builder."""
    flags = real("tensorrt-lean").BuilderFlag
    assert flags.VERSION_COMPATIBLE != flags.EXCLUDE_LEAN_RUNTIME


VERSIONS = st.tuples(st.integers(8, 13), st.integers(0, 20), st.integers(0, 9), st.integers(0, 200))


@given(VERSIONS, VERSIONS)
def test_a_lean_runtime_takes_engines_of_its_version_and_earlier_ones(here: tuple, made: tuple) -> None:
    takes = tensorrt_api.runs(".".join(map(str, here)), ".".join(map(str, made)))
    if here[0] == made[0]:
        assert takes == (here >= made)
    else:
        assert takes == ((made[0], here[0]) in ((8, 10), (10, 11)))


def test_an_engine_that_is_newer_than_the_lean_runtime_is_refused(tmp_path: Path, monkeypatch) -> None:
    import json

    from core.files import sha256

    here = real("tensorrt-lean").__version__
    cfg, weights, _ = small_files(tmp_path)
    out = convert(Request(ModelFiles(cfg, weights, NAMES), tmp_path / "small", "fp16", "tensorrt-rtx"), quiet)
    model, _ = load(find(str(out)))
    with pytest.raises(UserError, match="make it with .*--target tensorrt --version-compatible"):
        load_engine("tensorrt-lean", model, "fp16")
    monkeypatch.setattr(tensorrt_engine, "runtime", lambda: None)  # there is no GPU here to ask
    monkeypatch.setattr(tensorrt_engine, "gpu", lambda cudart: ("a GPU", "8.9"))
    engine = out / "fp16.tensorrt-lean.engine"
    engine.write_bytes(b"an engine")
    size = [model.network.width, model.network.height]
    card = {"gpu": "a GPU", "compute_capability": "8.9"}
    engine.with_suffix(".json").write_text(json.dumps({"key": {"version": "99.1.0", "size": size, **card}}))
    known = {**model.sha256, engine.name: sha256(engine)}
    with pytest.raises(UserError, match=f"this engine's version is 99.1.0, here it is {here}"):
        load_engine("tensorrt-lean", replace(model, sha256=known), "fp16")
