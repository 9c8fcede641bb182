from pathlib import Path

import pytest
import yaml

from conversion.bundle import make_bundle
from core.errors import UserError
from engine.models import ModelFiles, sha256
from tests.networks import NAMES, small_files


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


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path: Path) -> None:
    cfg, weights, _ = small_files(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep").write_text("x")
    with pytest.raises(UserError, match="exists and is no bundle"):
        make_bundle(ModelFiles(cfg, weights, NAMES), tmp_path / "mine")
    assert (tmp_path / "mine" / "keep").read_text() == "x"
