"""ONNX detectors of every known layout: recognised, read, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from core.errors import UserError
from core.images import read_image
from engine.coco import COCO_NAMES
from engine.engine import GraphStages
from engine.graphs import float_graph, with_stages
from engine.layouts import FAMILIES
from engine.models import OnnxFiles, find, load
from engine.onnx_input import IMAGENET, InputSpec, with_words
from engine.onnx_network import open_onnx
from engine.onnx_preprocess import Preprocess
from engine.pipeline import Pipeline
from engine.preprocess import Preprocessor
from engine.runtimes.openvino import OpenVinoEngine
from tests.detectors import CELLS, CLASSES, SIZE, centred, constant_network, convolving

W, H = SIZE
BOXES = [[8.0, 4.0, 40.0, 36.0], [50.0, 10.0, 90.0, 60.0], [9.0, 5.0, 41.0, 37.0]]
"""The third overlaps the first."""
SCORES = [0.9, 0.6, 0.5]
KINDS = [0, 2, 0]
NAMES = {"names": "{0: 'a', 1: 'b', 2: 'c'}"}
PIXELS = np.random.default_rng(0).integers(0, 255, (H, W, 3), np.uint8)
AT = [3, 40, 70]
"""The cells that hold the boxes."""


def probabilities(rows: int) -> np.ndarray:
    table = np.full((rows, CLASSES), 0.01, np.float32)
    for row, score, kind in zip(AT if rows > 10 else range(3), SCORES, KINDS, strict=True):
        table[row, kind] = score
    return table


def of_cells(boxes: np.ndarray, count: int) -> np.ndarray:
    """Return a table of cells with boxes at `AT`, and small ones elsewhere."""
    table = np.tile(np.array([W / 2, H / 2, 8, 8], np.float32), (count, 1))
    table[AT] = boxes
    return table


def yolov8(path: Path, **options: object) -> Path:
    table = np.concatenate((of_cells(centred(BOXES), CELLS), probabilities(CELLS)), axis=1).T[None]
    return constant_network(path, {"output0": np.ascontiguousarray(table)}, {**NAMES, "task": "detect"}, **options)


def yolov5(path: Path, **options: object) -> Path:
    sure = np.full((3 * CELLS, 1), 0.0, np.float32)
    sure[AT] = 0.8
    scores = probabilities(3 * CELLS) / 0.8
    table = np.concatenate((of_cells(centred(BOXES), 3 * CELLS), sure, scores), axis=1)[None]
    return constant_network(path, {"output": table}, NAMES, **options)


def yolox(path: Path, raw: bool = True) -> Path:
    cells = []
    for stride in (8, 16, 32):
        y, x = np.mgrid[: H // stride, : W // stride]
        cells.append(np.stack((x.ravel(), y.ravel(), np.full(x.size, stride)), axis=1))
    grid = np.concatenate(cells)
    table = of_cells(centred(BOXES), CELLS)
    if raw:
        table = np.concatenate((table[:, :2] / grid[:, 2:] - grid[:, :2], np.log(table[:, 2:] / grid[:, 2:])), axis=1)
    sure = np.full((CELLS, 1), 0.5, np.float32)
    rows = np.concatenate((table, sure, probabilities(CELLS) / 0.5 * 0.5), axis=1)
    rows[:, 5:] = np.minimum(1, rows[:, 5:] / 0.5 * 0.5)
    rows[:, 4] = 1.0
    return constant_network(path, {"output": rows[None].astype(np.float32)})


def end_to_end(path: Path, metadata: bool = True) -> Path:
    rows = np.zeros((300, 6), np.float32)
    rows[:3] = np.column_stack((BOXES, SCORES, KINDS))
    about = {**NAMES, "task": "detect", "end2end": "True"} if metadata else NAMES
    return constant_network(path, {"output0": rows[None]}, about)


def deployed(path: Path) -> Path:
    boxes = np.array([BOXES], np.float32) / (W, H, W, H)
    outputs = {
        "labels": np.array([KINDS], np.int64),
        "boxes": boxes.astype(np.float32),
        "scores": np.array([SCORES], np.float32),
    }
    return constant_network(path, outputs, NAMES, sizes=True)


def logits(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p)).astype(np.float32)


def raw_detr(path: Path) -> Path:
    boxes = centred(BOXES) / (W, H, W, H)
    return constant_network(
        path, {"pred_logits": logits(probabilities(3))[None], "pred_boxes": boxes[None].astype(np.float32)}
    )


def rf_detr(path: Path) -> Path:
    boxes = centred(BOXES) / (W, H, W, H)
    table = np.full((3, 91), 0.01, np.float32)
    for row, (score, coco_id) in enumerate(zip(SCORES, (1, 90, 1), strict=True)):
        table[row, coco_id] = score
    outputs = {"dets": boxes[None].astype(np.float32), "labels": logits(table)[None]}
    return constant_network(path, outputs, name="input")


def ranked(path: Path) -> Path:
    rows = np.zeros((300, 6), np.float32)
    rows[:3] = np.column_stack((centred(BOXES) / (W, H, W, H), SCORES, KINDS))
    return constant_network(path, {"output0": rows[None]}, {**NAMES, "head": "RTDETRDecoder", "end2end": "False"})


def queries(path: Path) -> Path:
    rows = np.concatenate((centred(BOXES) / (W, H, W, H), probabilities(3)), axis=1)
    return constant_network(path, {"output0": rows[None].astype(np.float32)}, NAMES)


MADE = {
    "yolov8": yolov8,
    "yolov5": yolov5,
    "yolox": yolox,
    "yolox-decoded": lambda path: yolox(path, raw=False),
    "end-to-end": end_to_end,
    "detr": deployed,
    "detr-raw": raw_detr,
    "rf-detr": rf_detr,
    "rt-detr-ultralytics": ranked,
    "rt-detr-queries": queries,
}


def test_every_known_layout_is_made_here() -> None:
    assert list(MADE) == [name for name in MADE if name in {family.name for family in FAMILIES}]
    assert set(MADE) == {family.name for family in FAMILIES}


@pytest.mark.parametrize("name", MADE)
def test_a_layout_is_recognised_and_read(name: str, tmp_path: Path) -> None:
    files = OnnxFiles(MADE[name](tmp_path / "a.onnx"))
    model, names = load(files)
    network = model.network
    assert network.family.name == name
    found = Pipeline(model, confidence=0.3).run(PIXELS)
    nms = network.family.nms
    order = [0, 1] if nms else [0, 1, 2]
    tolerance = 0.6 if name == "yolox" else 0.05
    np.testing.assert_allclose(found[0], np.array(BOXES)[order], atol=tolerance)
    np.testing.assert_allclose(found[1], np.array(SCORES)[order], atol=1e-3)
    kinds = [{0: 0, 2: 79}[k] for k in KINDS] if name == "rf-detr" else KINDS
    assert found[2].tolist() == [kinds[i] for i in order]
    if name == "rf-detr":
        assert names == COCO_NAMES
    elif "names" in {entry.key for entry in onnx.load(str(files.onnx)).metadata_props}:
        assert names == ("a", "b", "c")
    boxes, scores = network.layout.table(Pipeline(model, where="host").engine.infer())
    assert len(boxes) == len(scores)
    assert scores.shape[1] == network.classes


@pytest.mark.parametrize("options", [{"dynamic": True}, {"kind": np.float16}, {"opset": 12}])
def test_dynamic_axes_half_precision_and_older_operators(options: dict[str, object], tmp_path: Path) -> None:
    if "kind" in options:  # outputs too
        made = onnx.load(str(yolov8(tmp_path / "a.onnx")))
        table = numpy_helper.to_array(made.graph.initializer[0]).astype(np.float16)
        path = constant_network(tmp_path / "b.onnx", {"output0": table}, {**NAMES, "task": "detect"}, kind=np.float16)
    else:
        path = yolov8(tmp_path / "b.onnx", **options)
    model, _ = load(OnnxFiles(path), SIZE)
    found = Pipeline(model, confidence=0.3).run(PIXELS)
    np.testing.assert_allclose(found[0], BOXES[:2], atol=0.1)
    if "dynamic" not in options:
        with pytest.raises(UserError, match="fixed at 96x64"):
            open_onnx(path, (64, 64))


def test_one_class_is_no_end_to_end(tmp_path: Path) -> None:
    """YOLOv5 of one class has rows of six numbers, as a list of found boxes has."""
    rows = np.zeros((3 * CELLS, 6), np.float32)
    rows[:, :4] = (W / 2, H / 2, 8, 8)
    rows[5] = (40, 30, 20, 20, 0.9, 1.0)
    network = open_onnx(constant_network(tmp_path / "a.onnx", {"output0": rows[None]}, {"names": "['a']"}))
    assert network.family.name == "yolov5"
    assert network.classes == 1


def test_masks_and_keypoints_are_left_alone(tmp_path: Path) -> None:
    table = np.concatenate((of_cells(centred(BOXES), CELLS), probabilities(CELLS), np.ones((CELLS, 32))), axis=1)
    outputs = {"output0": table.T[None].astype(np.float32), "output1": np.zeros((1, 32, 16, 24), np.float32)}
    path = constant_network(tmp_path / "a.onnx", outputs, {**NAMES, "task": "segment"})
    network = open_onnx(path)
    assert network.classes == CLASSES
    assert any("left alone" in sentence for sentence in network.how)
    model, _ = load(OnnxFiles(path))
    assert [output.name for output in float_graph(model).graph.output] == ["output0"]
    np.testing.assert_allclose(Pipeline(model, confidence=0.3).run(PIXELS)[0], BOXES[:2], atol=0.05)
    points = np.concatenate(
        (of_cells(centred(BOXES), CELLS), probabilities(CELLS)[:, :1], np.ones((CELLS, 51))), axis=1
    )
    about = {"names": "{0: 'person'}", "task": "pose", "kpt_shape": "[17, 3]"}
    pose = constant_network(tmp_path / "b.onnx", {"output0": points.T[None].astype(np.float32)}, about)
    assert open_onnx(pose).classes == 1


@pytest.mark.parametrize(
    ("outputs", "metadata", "says"),
    [
        ({"output0": np.zeros((1, 1000), np.float32)}, {"task": "classify"}, "classifies whole pictures"),
        ({"output0": np.zeros((1, 20, CELLS), np.float32)}, {"task": "obb"}, "boxes that are turned"),
        ({"heat": np.zeros((1, 17, 16, 24), np.float32)}, {}, r"heat \(1, 17, 16, 24\), and the layouts are"),
        ({"output0": np.zeros((1, 7, CELLS), np.float32)}, {"names": "nonsense("}, "give --names"),
        ({"output0": np.zeros((1, CELLS, 8), np.float32)}, {}, "say which with --layout.*yolox, yolox-decoded"),
        ({"output0": np.zeros((1, 7, CELLS), np.float32)}, {"names": "['a', 'b']"}, "3 classes apart.*2 names"),
    ],
)
def test_what_is_no_detector_is_refused(
    tmp_path: Path, outputs: dict[str, np.ndarray], metadata: dict[str, str], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        load(OnnxFiles(constant_network(tmp_path / "a.onnx", outputs, metadata)))


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, says in (
        ("a.pt", "export it to ONNX"),
        ("a.tflite", "export the network to ONNX"),
        ("a.engine", "give the ONNX file"),
        ("a.weights", "need their cfg"),
    ):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UserError, match=says):
            find(str(tmp_path / name))
    (tmp_path / "a.onnx").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"not an ONNX file|cannot be read|takes one picture"):
        load(find(str(tmp_path / "a.onnx")))
    with pytest.raises(UserError, match="No such file"):
        load(find(str(tmp_path / "gone.onnx")))


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_damaged_file_is_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = yolox(tmp_path_factory.mktemp("x") / "a.onnx")
    content = bytearray(path.read_bytes())
    end = data.draw(st.integers(1, len(content)))
    for _ in range(3):
        content[data.draw(st.integers(0, min(len(content), 400) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[:end]))
    try:
        load(OnnxFiles(path))
    except UserError as error:
        assert str(path) in str(error)


def test_a_layout_by_name(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "a.onnx", {"output0": np.zeros((1, CELLS, 8), np.float32)})
    assert open_onnx(path, layout="yolox").family.name == "yolox"
    with pytest.raises(UserError, match='no layout "yolo"; choose one of: yolov8, '):
        open_onnx(path, layout="yolo")
    with pytest.raises(UserError, match="not of the layout yolov8"):
        open_onnx(path, layout="yolov8")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", InputSpec()),
        ("bgr, 0-255", InputSpec(colour="bgr", divisor=1)),
        ("imagenet,stretch", InputSpec(mean=IMAGENET[0], std=IMAGENET[1], resize="stretch")),
        ("top-left,pad=0", InputSpec(corner=True, pad=0)),
    ],
)
def test_words_of_preprocess(words: str, expected: InputSpec) -> None:
    assert with_words(InputSpec(), words) == expected


@pytest.mark.parametrize("words", ["blue", "pad=300", "pad=-1", "0-2"])
def test_words_that_are_unknown(words: str) -> None:
    with pytest.raises(UserError, match=r"it takes rgb, bgr"):
        with_words(InputSpec(), words)


@pytest.mark.parametrize(
    "words", ["rgb,0-1", "bgr,0-1", "rgb,0-255", "bgr,0-255", "rgb,imagenet", "bgr,imagenet,top-left"]
)
def test_pixels_arrive_as_the_network_wants_them(words: str, tmp_path: Path) -> None:
    """The network's own input is tapped, with pixels prepared on the host and in the graph."""
    path = convolving(tmp_path / "a.onnx")
    model, _ = load(OnnxFiles(path, layout="yolox", preprocess=words))
    spec = model.network.spec
    rgb = PIXELS[:, :, ::-1].astype(np.float32)
    wanted = (rgb / spec.divisor - np.array(spec.mean)) / np.array(spec.std)
    wanted = wanted if spec.colour == "rgb" else wanted[:, :, ::-1]
    for stages in (GraphStages(), GraphStages(Preprocess(H, W))):
        proto = onnx.load_model_from_string(with_stages(float_graph(model), model, stages))
        own = next(node.input[0] for node in proto.graph.node if node.output[0] == "unit")
        del proto.graph.output[:]
        proto.graph.output.append(onnx.helper.make_tensor_value_info("unit", onnx.TensorProto.FLOAT, None))
        assert own
        engine = OpenVinoEngine(proto.SerializeToString())
        Preprocessor(engine.input, engine.layout, spec.fit).run(PIXELS)
        np.testing.assert_allclose(engine.infer()[0], wanted / 255, atol=1e-5)


def test_a_stored_picture_tells_raw_from_decoded_boxes(tmp_path: Path) -> None:
    for name in ("yolox", "yolox-decoded"):
        network = open_onnx(MADE[name](tmp_path / f"{name}.onnx"))
        assert network.family.name == name
        assert "by a run on a stored picture" in network.how[0]
    assert read_image(Path(__file__).parents[2] / "engine" / "check.jpg").ndim == 3


def test_half_precision_of_other_families(tmp_path: Path) -> None:
    """Numbers that the graph makes itself, a mask's minus infinity, and a range, which float16 lacks."""
    from onnx import TensorProto, helper

    from engine.onnx_fp16 import to_fp16
    from engine.runtimes.onnx import OnnxEngine

    made = onnx.load(str(yolov8(tmp_path / "a.onnx")))
    graph = made.graph
    last = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["found" if name == last else name for name in node.output]
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(value, kind), name)
            for name, value, kind in (
                ("zero", 0, np.float32),
                ("one", 1, np.float32),
                ("two", 2, np.float32),
                ("shape", [1], np.int64),
                ("mask", -1e9, np.float32),
                ("int0", 0, np.int64),
                ("int2", 2, np.int64),
                ("int1", 1, np.int64),
            )
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Range", ["zero", "two", "one"], ["steps"]),
            helper.make_node("Range", ["int0", "int2", "int1"], ["places"]),
            helper.make_node("Cast", ["places"], ["placed"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["steps", "placed"], ["nothings"]),
            helper.make_node("ReduceSum", ["nothings"], ["none"], keepdims=0),
            helper.make_node("ConstantOfShape", ["shape"], ["filled"]),
            helper.make_node("Max", ["filled", "mask"], ["masked"]),
            helper.make_node("Add", ["none", "masked"], ["nought"]),
            helper.make_node("Add", ["found", "nought"], [last]),
        ]
    )
    (tmp_path / "b.onnx").write_bytes(made.SerializeToString())
    model, _ = load(OnnxFiles(tmp_path / "b.onnx"))
    half = to_fp16(float_graph(model))
    assert not any(tensor.data_type == TensorProto.FLOAT for tensor in half.graph.initializer)
    engine = OnnxEngine(half.SerializeToString(), "cpu", precision="fp16")
    Preprocessor(engine.input, engine.layout, model.network.fit).run(PIXELS)
    boxes, scores = model.network.layout.table(engine.infer())
    np.testing.assert_allclose(boxes[AT], BOXES, atol=0.1)
    np.testing.assert_allclose(scores.max(axis=1)[AT], SCORES, atol=1e-3)


def test_weights_in_a_file_beside_it(tmp_path: Path) -> None:
    yolov8(tmp_path / "a.onnx")
    for name in "bcd":
        made = onnx.load(str(tmp_path / "a.onnx"))  # saving takes the weights out of it
        data = f"{name}.data"
        onnx.save(made, str(tmp_path / f"{name}.onnx"), save_as_external_data=True, location=data, size_threshold=100)
    model, _ = load(OnnxFiles(tmp_path / "b.onnx"))
    np.testing.assert_allclose(Pipeline(model, confidence=0.3).run(PIXELS)[0], BOXES[:2], atol=0.05)
    (tmp_path / "c.data").write_bytes(b"short")
    (tmp_path / "d.data").unlink()
    for name in "cd":
        with pytest.raises(UserError, match="copy it beside this one"):
            load(OnnxFiles(tmp_path / f"{name}.onnx"))


@pytest.mark.parametrize("name", ["end-to-end", "detr", "rt-detr-ultralytics", "yolov8"])
def test_other_names_than_the_file_has_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has 3 class names, and 2 are given"):
        open_onnx(MADE[name](tmp_path / "a.onnx"), names=("a", "b"))


@pytest.mark.parametrize("names", ["'ab'", "{0: 'a', 5: 'b'}", "{0: 'a', 1: None}", "{}", "["])
def test_names_that_are_none_ask_for_names(names: str, tmp_path: Path) -> None:
    rows = np.zeros((1, 6, CELLS), np.float32)
    path = constant_network(tmp_path / "a.onnx", {"output0": rows}, {"names": names})
    with pytest.raises(UserError, match="give --names"):
        open_onnx(path)
    assert open_onnx(path, names=("a", "b")).names == ("a", "b")


@pytest.mark.parametrize(
    ("imgsz", "size", "says"),
    [
        ("[333, 333]", None, "333x333; give --size"),
        ("[-5, 100000]", None, "give --size"),
        ("[64, 96]", (100, 64), "100x64"),
    ],
)
def test_a_size_that_no_network_has(imgsz: str, size: tuple[int, int] | None, says: str, tmp_path: Path) -> None:
    rows = np.zeros((1, 6, CELLS), np.float32)
    path = constant_network(tmp_path / "a.onnx", {"output0": rows}, {"imgsz": imgsz}, dynamic=True)
    with pytest.raises(UserError, match=says):
        open_onnx(path, size)


def test_one_side_may_be_fixed(tmp_path: Path) -> None:
    made = onnx.load(str(yolov8(tmp_path / "a.onnx", dynamic=True)))
    made.graph.input[0].type.tensor_type.shape.dim[3].dim_value = W
    (tmp_path / "b.onnx").write_bytes(made.SerializeToString())
    assert open_onnx(tmp_path / "b.onnx", (W, H)).width == W
    with pytest.raises(UserError, match="fixed at 96xany, not 64x64"):
        open_onnx(tmp_path / "b.onnx", (64, 64))


def test_words_that_contradict_each_other() -> None:
    for words in ("rgb,bgr", "letterbox,stretch", "0-1,0-255", "imagenet,0-255"):
        with pytest.raises(UserError, match="contradicts"):
            with_words(InputSpec(), words)
