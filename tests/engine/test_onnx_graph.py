import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from engine.darknet import parse_cfg, random_weights, read_cfg, read_weights
from engine.engine import Model, load_engine
from tests.conftest import ROOT
from tests.engine.reference import forward
from tests.networks import CFG, small


def heads_of(engine_name: str, network, weights, image: np.ndarray) -> list[np.ndarray]:
    engine = load_engine(engine_name, Model(network, weights))
    engine.input[...] = image if engine.layout == "NCHW" else image.transpose(0, 2, 3, 1)
    return [head.transpose(2, 0, 1).copy() for head in engine.infer()]


def run_engine(engine: str, folder: Path, cfg: Path, weights: Path, image: np.ndarray) -> list[np.ndarray]:
    """Run an engine in a process of its own, so that what it imports can be told."""
    np.save(folder / "image.npy", image)
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from engine.darknet import read_cfg, read_weights\n"
        "from tests.engine.test_onnx_graph import heads_of\n"
        f"network = read_cfg(Path({str(cfg)!r})); weights = read_weights(Path({str(weights)!r}), network)\n"
        f"image = np.load({str(folder / 'image.npy')!r})\n"
        f"np.savez({str(folder / 'heads.npz')!r}, *heads_of({engine!r}, network, weights, image))\n"
        "assert ('tensorflow' in sys.modules) == ({!r} == 'tensorflow')\n".format(engine)
        + f"assert ('keras' in sys.modules) == ({engine!r} == 'tensorflow')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=300)
    with np.load(folder / "heads.npz") as heads:
        return list(heads.values())


def installed(engine: str) -> None:
    if engine == "tensorflow":
        pytest.importorskip("tensorflow", reason="TensorFlow is not installed (the extra tensorflow)")


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
@pytest.mark.slow
def test_every_layer_computes_what_darknet_means(engine: str, tmp_path: Path) -> None:
    installed(engine)
    from tests.networks import small_files

    cfg, weights, _ = small_files(tmp_path)
    network, arrays = small()
    image = np.random.default_rng(5).random((1, 3, network.height, network.width), np.float32)
    expected = forward(network, arrays, image[0])
    actual = run_engine(engine, tmp_path, cfg, weights, image)
    assert [a.shape for a in actual] == [(21, 12, 8), (21, 24, 16)] == [e.shape for e in expected]
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_engines_agree_on_real_weights(data: Path, tmp_path: Path) -> None:
    installed("tensorflow")
    cfg, weights = data / "cfg" / "yolov4-tiny.cfg", data / "weights" / "yolov4-tiny.weights"
    image = np.random.default_rng(1).random((1, 3, 416, 416), np.float32)
    one = run_engine("openvino", tmp_path, cfg, weights, image)
    other = run_engine("tensorflow", tmp_path, cfg, weights, image)
    for a, b in zip(one, other, strict=True):
        assert np.abs(a - b).max() / np.abs(b).max() < 1e-4


@pytest.mark.parametrize(
    ("pad", "size", "stride"),
    [(pad, size, stride) for pad in ("pad=1", "pad=0") for size, stride in ((1, 1), (3, 1), (3, 2), (5, 2), (2, 2))]
    + [("padding=1", 3, 1), ("padding=1", 5, 2)],
)
def test_padding_of_convolutions(pad: str, size: int, stride: int) -> None:
    text = (
        f"[net]\nwidth=33\nheight=32\n[convolutional]\nfilters=7\nsize={size}\nstride={stride}\n{pad}\n"
        "activation=linear\n[yolo]\nanchors=1,1\nclasses=2\nnum=1\n"
    )
    network = parse_cfg(text)
    weights = random_weights(network, 1)
    image = np.random.default_rng(0).random((1, 3, 32, 33), np.float32)
    (actual,) = heads_of("openvino", network, weights, image)
    if pad == "padding=1":
        network.layers[0].section.options["pad"] = "0"
        image = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
    (expected,) = forward(network, weights, image[0])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_weights_survive_keras_bit_exact(data: Path) -> None:
    from engine.keras_network import build, unload

    network = read_cfg(data / "cfg" / "yolov4-tiny.cfg")
    weights = read_weights(data / "weights" / "yolov4-tiny.weights", network)
    back = unload(build(network, weights), network)
    for mine, theirs in zip(back.arrays, weights.arrays, strict=True):
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[key], theirs[key]) for key in theirs)


def test_layers_are_named_after_the_cfg() -> None:
    from engine.keras_network import build

    names = {layer.name for layer in build(*small()).layers}
    assert {"convolutional_0", "convolutional_0_bn", "route_2", "shortcut_4", "maxpool_7", "upsample_12"} <= names


def test_onnx_is_valid_and_folded() -> None:
    import onnx

    from engine.onnx_graph import to_onnx

    model = to_onnx(*small())
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Conv") == 6
    assert not {"BatchNormalization", "Pad", "Transpose"} & set(kinds)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("openvino:dsp", 'there is no engine "openvino:dsp"; choose one of: openvino:cpu'),
        ("cuda", 'there is no engine "cuda"; choose one of: openvino, onnx'),
    ],
)
def test_engines_that_are_not_there(name: str, says: str) -> None:
    network, weights = small()
    with pytest.raises(UserError, match=says):
        load_engine(name, Model(network, weights))


def test_layers_that_lead_to_no_head_are_left_out() -> None:
    from engine.onnx_graph import to_onnx

    text = CFG + "\n[route]\nlayers=0\n\n[convolutional]\nfilters=4\nsize=1\nactivation=leaky\n"
    network = parse_cfg(text)
    names = {node.name for node in to_onnx(network, random_weights(network, 0)).graph.node}
    assert f"convolutional_{len(network.layers) - 1}" not in names
    assert "convolutional_0" in names


def test_a_batch_can_be_dynamic() -> None:
    from engine.onnx_graph import to_onnx

    graph = to_onnx(*small(), batch="batch").graph
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in (*graph.input, *graph.output)} == {"batch"}


def test_small_network_is_what_the_other_tests_think() -> None:
    network = parse_cfg(CFG)
    assert (network.width, network.height, network.classes, len(network.heads)) == (64, 96, 2, 2)


COMPARE = """
import sys, numpy as np, onnxruntime
from pathlib import Path
from engine.darknet import random_weights, read_cfg
from engine.engine import Model
from engine.keras_network import build
from tests.engine.test_onnx_graph import heads_of

folder, *cfgs = map(Path, sys.argv[1:])
image = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
for cfg in cfgs:
    network = read_cfg(cfg, (64, 64))
    weights = random_weights(network, 0)
    ours = heads_of("openvino", network, weights, image)
    theirs = heads_of("tensorflow", network, weights, image)
    if folder != Path():
        model = build(network, weights)
        model(image.transpose(0, 2, 3, 1))  # it wants to have been called
        model.export(str(folder / "keras.onnx"), format="onnx")
        session = onnxruntime.InferenceSession(str(folder / "keras.onnx"))
        heads = session.run(None, {session.get_inputs()[0].name: image.transpose(0, 2, 3, 1)})
        theirs = [head[0].transpose(2, 0, 1) for head in heads]
    print(cfg.name, max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs, strict=True)))
"""


def differences(*arguments: object) -> dict[str, float]:
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-c", COMPARE, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, timeout=300, env=environment, capture_output=True, text=True)
    lines = [line.rsplit(" ", 1) for line in done.stdout.splitlines() if ".cfg " in line]
    return {name: float(value) for name, value in lines}


@pytest.mark.slow
def test_our_onnx_computes_what_keras_does_on_every_kind_of_cfg(data: Path) -> None:
    installed("tensorflow")
    # The larger cfgs have the same layers, and take a minute: benchmarks.compare_with_opencv has them all.
    names = ("yolov3-tiny", "yolov4-tiny", "yolov4-tiny-3l", "yolov4-csp")
    found = differences(".", *(data / "cfg" / f"{name}.cfg" for name in names))
    assert len(found) == len(names)
    assert max(found.values()) < 1e-4, found


@pytest.mark.slow
def test_our_onnx_computes_what_kerass_own_exporter_writes(data: Path, tmp_path: Path) -> None:
    installed("tensorflow")
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed (the group dev)")
    found = differences(tmp_path, data / "cfg" / "yolov4-tiny.cfg")
    assert found.keys() == {"yolov4-tiny.cfg"}
    assert found["yolov4-tiny.cfg"] < 1e-4
