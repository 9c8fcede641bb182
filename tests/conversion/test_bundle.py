import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from conversion.bundle import make_bundle
from conversion.convert import Request, convert
from core.errors import UserError
from core.progress import silent
from engine.models import ModelFiles, sha256
from tests.networks import NAMES, small_files
from tests.pictures import folder_of


def test_the_manifest_says_what_is_in_the_bundle(tmp_path: Path) -> None:
    cfg, weights, _ = small_files(tmp_path)
    out = make_bundle(ModelFiles(cfg, weights, NAMES, (32, 32)), tmp_path / "m" / "small")
    manifest = yaml.safe_load((out / "model.yaml").read_text())
    assert manifest["names"] == list(NAMES)
    assert manifest["size"] == [32, 32]
    assert manifest["anchors"][0] == [[16, 16], [24, 30], [40, 50]]
    assert manifest["sha256"]["network.weights"] == sha256(weights) == sha256(out / "network.weights")
    assert sorted(p.name for p in out.parent.iterdir()) == ["small"]


def test_a_bundle_is_replaced_only_by_a_complete_one(tmp_path: Path) -> None:
    cfg, weights, _ = small_files(tmp_path)
    out = make_bundle(ModelFiles(cfg, weights, NAMES), tmp_path / "small")
    before = sha256(out / "network.weights")
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(UserError, match="too short"):
        make_bundle(ModelFiles(cfg, weights, NAMES), out)
    assert sha256(out / "network.weights") == before
    small_files(tmp_path, seed=1)
    make_bundle(ModelFiles(cfg, weights, NAMES), out)
    assert sha256(out / "network.weights") == sha256(weights) != before


def test_what_somebody_put_into_a_bundle_outlives_its_next_conversion(tmp_path: Path) -> None:
    cfg, weights, _ = small_files(tmp_path)
    out = convert(Request(ModelFiles(cfg, weights, NAMES), tmp_path / "small"), silent)
    (out / "card.md").write_text("mine")
    (out / "pictures").mkdir()
    (out / "pictures" / "misses.png").write_bytes(b"mine too")
    (out / "int8.tensorrt-rtx.cache").write_bytes(b"compiled for the engine that is replaced")
    for seed in (0, 1):  # the same network, then another one
        small_files(tmp_path, seed=seed)
        assert convert(Request(ModelFiles(cfg, weights, NAMES), out), silent) == out
        assert (out / "card.md").read_text() == "mine"
        assert (out / "pictures" / "misses.png").read_bytes() == b"mine too"
        assert not list(out.glob("*.cache"))
    make_bundle(ModelFiles(cfg, weights, NAMES, (64, 64)), out)
    assert (out / "card.md").exists()
    assert not (out / "fp32.onnx").exists(), "what was made of another size is the bundle's own, and goes"
    (out / "model.yaml").write_text("[]")
    make_bundle(ModelFiles(cfg, weights, NAMES), out)
    assert (out / "card.md").exists(), "a damaged manifest is no reason"


def test_a_kill_while_a_bundle_is_replaced_loses_nothing(tmp_path: Path) -> None:
    cfg, weights, _ = small_files(tmp_path)
    out = make_bundle(ModelFiles(cfg, weights, NAMES), tmp_path / "small")
    (out / "card.md").write_text("mine")
    shutil.copytree(out, tmp_path / ".small.part")
    out.rename(tmp_path / ".small.old")  # where `finish` was killed
    make_bundle(ModelFiles(cfg, weights, NAMES), out)
    assert (out / "card.md").read_text() == "mine"
    assert not list(tmp_path.glob(".small.*"))


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path: Path) -> None:
    cfg, weights, _ = small_files(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep").write_text("x")
    with pytest.raises(UserError, match="exists and is no bundle"):
        make_bundle(ModelFiles(cfg, weights, NAMES), tmp_path / "mine")
    assert (tmp_path / "mine" / "keep").read_text() == "x"


@pytest.mark.slow
def test_graphs_for_batches_give_each_picture_what_it_gets_alone(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    small_files(tmp_path)
    files = ModelFiles(tmp_path / "small.cfg", tmp_path / "small.weights", NAMES)
    pictures = folder_of(tmp_path / "p", 32)
    made = convert(Request(files, tmp_path / "m", "int8", "onnx", pictures, max_batch=4), silent)
    images = np.random.default_rng(0).random((3, 3, 96, 64), np.float32)
    for name in ("fp32.onnx", "int8-uint8.onnx", "int8.onnx"):
        session = onnxruntime.InferenceSession(made / name, providers=["CPUExecutionProvider"])
        assert session.get_inputs()[0].shape[0] == "batch"
        together = session.run(None, {"image": images})
        for i, image in enumerate(images):
            for alone, part in zip(session.run(None, {"image": image[None]}), together, strict=True):
                np.testing.assert_allclose(alone[0], part[i], rtol=1e-4, atol=1e-4)
