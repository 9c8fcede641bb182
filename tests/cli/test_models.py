"""convert, evaluate, bench, doctor and plan, as a user starts them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.conftest import ROOT
from tests.networks import small_files
from tests.pictures import folder_of, noise, picture

SMALL = ("--cfg", "small.cfg", "--weights", "small.weights", "--names", "small.names")
INT8 = ("--precision", "int8", "--calibrate", "pictures")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    small_files(tmp_path)
    folder_of(tmp_path / "pictures", 33)
    return tmp_path


@pytest.fixture
def annotated(small: Path) -> Path:
    """What the float network finds, as YOLO text: an accuracy to lose."""
    from engine.models import ModelFiles, load
    from engine.pipeline import Pipeline

    model, _ = load(ModelFiles(small / "small.cfg", small / "small.weights"))
    pipeline = Pipeline(model, confidence=0.4)
    (small / "labels").mkdir()
    folder_of(small / "val", 5)
    for i in range(5):
        boxes, _, classes = pipeline.run(picture(i))
        lines = [
            f"{c} {(x1 + x2) / 2 / 96} {(y1 + y2) / 2 / 72} {(x2 - x1) / 96} {(y2 - y1) / 72}\n"
            for (x1, y1, x2, y2), c in zip(boxes[:5].tolist(), classes[:5].tolist(), strict=True)
        ]
        (small / "labels" / f"{i:03d}.txt").write_text("".join(lines))
    return small


def well(done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def one_sentence(done, says: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert says in " ".join(done.stderr.split()), done.stderr


def test_int8_from_end_to_end(agent, annotated: Path) -> None:
    well(agent("convert", *SMALL, "--out", "m", *INT8, "--json", "c.json"))
    written = {path.name: path.stat().st_mtime_ns for path in (annotated / "m").iterdir()}
    assert set(written) == {
        "model.yaml",
        "network.cfg",
        "network.weights",
        "fp32.onnx",
        "calibration.json",
        "int8.onnx",
        "int8-uint8.onnx",
    }
    assert json.loads((annotated / "c.json").read_text())["files"] == sorted(written)
    # The same again makes nothing anew.
    well(agent("convert", *SMALL, "--out", "m", *INT8))
    again = {path.name: path.stat().st_mtime_ns for path in (annotated / "m").iterdir()}
    assert {n: t for n, t in again.items() if n.endswith("onnx")} == {
        n: t for n, t in written.items() if n.endswith("onnx")
    }
    scores = {}
    for engine, precision in (("openvino", "fp32"), ("openvino", "int8"), ("onnx:cpu", "int8")):
        well(
            agent(
                "evaluate",
                "--model",
                "m",
                "--images",
                "val",
                "--annotations",
                "labels",
                "--engine",
                engine,
                "--precision",
                precision,
                "--json",
                "e.json",
            )
        )
        row = json.loads((annotated / "e.json").read_text())
        provenance = row.pop("provenance")
        assert (provenance["engine"], provenance["precision"], provenance["model"]["name"]) == (engine, precision, "m")
        assert set(row) == {
            "engine",
            "precision",
            "size",
            "images",
            "ap50",
            "ap",
            "darknet_ap50",
            "seed_protocol_ap50",
            "classes",
            "against",
            "intervals",
        }
        assert row["images"] == 5
        assert row["intervals"]["ap50"]["mean"] == row["ap50"]
        scores[engine, precision] = row["ap50"]
    assert scores["openvino", "fp32"] > 30
    assert abs(scores["openvino", "int8"] - scores["onnx:cpu", "int8"]) < 3
    well(
        agent(
            "bench",
            "--model",
            "m",
            "--engines",
            "openvino:fp32,openvino:int8",
            "--frames",
            10,
            "--out",
            "b.png",
            "--markdown",
            "b.md",
            "--json",
            "b.json",
            "--images",
            "val",
            "--annotations",
            "labels",
        )
    )
    rows = json.loads((annotated / "b.json").read_text())["rows"]
    assert [row["precision"] for row in rows] == ["fp32", "int8"]
    assert all(row["p50_ms"] <= row["p99_ms"] for row in rows)
    assert rows[1]["ap50"] == pytest.approx(scores["openvino", "int8"], abs=0.5)
    assert cv2.imread(str(annotated / "b.png")) is not None
    assert "| openvino | int8 |" in (annotated / "b.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["keras", "savedmodel"])
def test_ones_own_training_comes_back_to_the_bit(cli, small: Path, kind: str) -> None:
    if kind == "keras":
        code = (
            "from pathlib import Path; from engine.darknet import read_cfg, read_weights; from engine.keras_network import build\n"
            f"n = read_cfg(Path({str(small / 'small.cfg')!r}))\n"
            f"build(n, read_weights(Path({str(small / 'small.weights')!r}), n)).save({str(small / 'mine.keras')!r})\n"
        )
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            check=True,
            timeout=120,
        )
        source = "mine.keras"
    else:
        well(cli("convert", *SMALL, "--out", "first", "--target", "savedmodel"))
        source = "first/savedmodel"
    well(cli("convert", "--keras", source, "--names", "small.names", "--out", "back"))
    assert (small / "back" / "network.weights").read_bytes()[20:] == (small / "small.weights").read_bytes()[20:]


@pytest.mark.slow
def test_what_a_conversion_refuses(cli, small: Path) -> None:
    well(cli("convert", *SMALL, "--out", "m"))
    before = {path.name: path.read_bytes() for path in (small / "m").iterdir()}
    (small / "empty").mkdir()
    shutil.copytree(small / "pictures", small / "corrupt")
    (small / "corrupt" / "005.png").write_bytes(b"\x89PNG and no more")
    (small / "noise").mkdir()
    for i in range(40):
        cv2.imwrite(str(small / "noise" / f"{i}.png"), noise(i))
    (small / "rubbish.keras").write_bytes(b"no zip")
    cases = [
        (("--precision", "int8", "--calibrate", "empty"), "empty: there are no images in this folder"),
        (("--precision", "int8", "--calibrate", "corrupt"), "005.png: this is no image or is damaged; take it out"),
        (("--precision", "int8", "--calibrate", "noise"), "is noise (its neighbouring pixels have nothing to do with each other)"),
        (("--precision", "int8"), "INT8 needs pictures of what the agent will see: give a folder or a video to calibrate on"),
        (("--precision", "int4"), '--precision is "int4"; choose one of: fp32, fp16, int8'),
        (("--precision", "fp16", "--target", "savedmodel"), "a SavedModel is fp32"),
        (("--target", "tensorrt"), 'the engine "tensorrt" needs the package tensorrt, which is not installed'),
        (("--method", "kl"), "--method belongs to --calibrate"),
        (("--tune",), "--tune belongs to --precision int8"),
        (("--no-sensitive",), "--no-sensitive belongs to --calibrate"),
        (("--precision", "int8", "--calibrate", "pictures", "--tune", "--no-sensitive"), "--no-sensitive belongs to"),
        (("--workspace-gb", 2), "--workspace-gb belongs to --target tensorrt"),
        (("--version-compatible", "--target", "tensorrt-rtx"), "--version-compatible belongs to --target tensorrt;"),
        (("--size", 161), "--size is 161; a side is a multiple of 32 pixels"),
    ]  # fmt: skip
    for arguments, says in cases:
        one_sentence(cli("convert", *SMALL, "--out", "m", *arguments), says)
        assert {path.name: path.read_bytes() for path in (small / "m").iterdir()} == before, arguments
    one_sentence(
        cli("convert", "--keras", "rubbish.keras", "--out", "x"),
        "rubbish.keras: this is no .keras file, or it is damaged",
    )
    one_sentence(
        cli("evaluate", "--model", str(small / "nowhere"), "--images", "pictures", "--annotations", "pictures"),
        "nowhere: there is no bundle here",
    )
    assert not (small / "x").exists()


@pytest.mark.slow
def test_noise_is_taken_where_it_is_asked_for(cli, small: Path) -> None:
    for i in range(40):
        cv2.imwrite(str(small / "pictures" / f"{i:03d}.png"), noise(i))
    one_sentence(cli("convert", *SMALL, "--out", "m", *INT8), "is noise")
    well(cli("convert", *SMALL, "--out", "m", *INT8, "--allow-unfit"))


@pytest.mark.slow
def test_a_changed_file_of_a_bundle_is_refused_and_made_again(cli, small: Path) -> None:
    well(cli("convert", *SMALL, "--out", "m", *INT8))
    graph = small / "m" / "int8-uint8.onnx"
    good = graph.read_bytes()
    graph.write_bytes(good[:-100] + bytes(100))
    use = ("detect", "pictures/000.png", "--model", "m", "--precision", "int8")
    one_sentence(
        cli(*use),
        "int8-uint8.onnx: the file is not the one the bundle was made with (sha256 differs from model.yaml); convert again",
    )
    one_sentence(cli("convert", "--model", "m", "--precision", "int8"), "int8-uint8.onnx is missing or damaged")
    well(cli("convert", *SMALL, "--out", "m", *INT8))
    assert graph.read_bytes() == good
    well(cli(*use))


def test_what_is_no_plan_is_refused(cli, small: Path) -> None:
    (small / "fp32.onnx").write_bytes(b"no plan")
    one_sentence(cli("plan", "fp32.onnx"), "the engine's plan cannot be read")
    (small / "x.json").write_text("[1]")
    one_sentence(cli("plan", "x.engine"), "the engine's plan is damaged")
