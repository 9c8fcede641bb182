from pathlib import Path

import pytest

from conversion.bundle import make_bundle
from core.errors import UserError
from engine.models import ModelFiles, find, load, read_names
from tests.networks import NAMES, small_files


def bundle(tmp_path: Path) -> Path:
    cfg, weights, _ = small_files(tmp_path)
    return make_bundle(ModelFiles(cfg, weights, NAMES), tmp_path / "models" / "small")


def test_a_bundle_is_found_by_folder_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bundle(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in (str(folder), "small", "models/small"):
        model, names = load(find(name))
        assert names == NAMES
        assert (model.network.width, model.network.height) == (64, 96)


@pytest.mark.parametrize("name", ["network.cfg", "network.weights"])
def test_a_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = bundle(tmp_path)
    file = folder / name
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(UserError, match=f"{name}: the file is not the one the bundle was made with"):
        find(str(folder))


def test_a_missing_file_and_a_broken_manifest(tmp_path: Path) -> None:
    folder = bundle(tmp_path)
    (folder / "network.weights").unlink()
    with pytest.raises(UserError, match=r"network.weights: the bundle lacks this file"):
        find(str(folder))
    (folder / "model.yaml").write_text("names: []")
    with pytest.raises(UserError, match=r"model.yaml: the bundle's manifest is damaged: names: "):
        find(str(folder))


def test_says_how_to_get_a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETICLE_TEST_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r'get it with "(python|uv run) agent.py fetch yolov4-tiny"'):
        find("yolov4-tiny")
    with pytest.raises(UserError, match=r'make one .* ".* agent.py convert .* --out models/mine"'):
        find("mine")


def test_names_must_be_as_many_as_classes(tmp_path: Path) -> None:
    cfg, weights, _ = small_files(tmp_path)
    with pytest.raises(UserError, match="tells 2 classes apart, and there are 3 names"):
        load(ModelFiles(cfg, weights, ("a", "b", "c")))
    assert load(ModelFiles(cfg, weights))[1] == ("class 0", "class 1")


def test_names_files(tmp_path: Path) -> None:
    path = tmp_path / "x.names"
    path.write_text("a\n\n b \n")
    assert read_names(path) == ("a", "b")
    path.write_text("\n")
    with pytest.raises(UserError, match="there are no class names"):
        read_names(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_names(tmp_path / "none")
