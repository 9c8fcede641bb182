"""Training as a user starts it: it learns, goes on after a kill, and says what is wrong."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT

CFG = """[net]
width=64
height=64
[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=32
size=3
stride=2
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=32
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=170
size=1
activation=linear
[yolo]
mask=0,1
anchors=14,14, 24,24
num=2
classes=80
iou_normalizer=0.5
"""
OPTIONS = ("--cfg", "net.cfg", "--epochs", "6", "--batch", "8", "--rate", "0.01", "--mosaic", "0")
TRAIN = ("train", "--data", "set", "--names", "names", *OPTIONS, "--out", "m", "--json", "h.json")

pytestmark = pytest.mark.slow  # networks are trained


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Squares, red or blue, on blurred noise: YOLO's form."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed (the extra tensorflow)")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for i in range(80):
        pixels = cv2.resize(rng.integers(0, 60, (8, 8, 3), np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)
        kind, side = int(rng.integers(2)), int(rng.integers(12, 28))
        x, y = (int(v) for v in rng.integers(0, 64 - side, 2))
        pixels[y : y + side, x : x + side] = (0, 0, 255) if kind else (255, 0, 0)
        cv2.imwrite(str(tmp_path / "set" / "images" / f"{i:03d}.png"), pixels)
        line = f"{kind} {(x + side / 2) / 64} {(y + side / 2) / 64} {side / 64} {side / 64}\n"
        (tmp_path / "set" / "labels" / f"{i:03d}.txt").write_text(line)
    (tmp_path / "names").write_text("blue\nred\n")
    (tmp_path / "net.cfg").write_text(CFG)
    return tmp_path


def test_it_learns_and_what_it_makes_detects(agent, data: Path) -> None:
    more = ("--tensorboard", "board", "--convert", "int8")
    done = agent(
        *TRAIN, "--curves", "curves.png", "--epochs", "25", *more, env={"KERAS_BACKEND": "tensorflow"}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    epochs = json.loads((data / "h.json").read_text())["epochs"]
    assert epochs[-1]["loss"] < epochs[0]["loss"] / 2
    assert epochs[0]["ap50"] < 30
    assert max(epoch["ap50"] for epoch in epochs) > 60
    assert cv2.imread(str(data / "curves.png")) is not None
    assert not list(data.glob(".m.*"))
    (events,) = (data / "board").iterdir()
    assert events.read_bytes().count(b"held_out/ap50") == len(epochs) == 25
    found = agent(
        "detect", "set/images", "--model", "m", "--confidence", "0.005", "--json", "d.json",
        "--engine", "openvino", "--precision", "int8",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert {d["class"] for row in json.loads((data / "d.json").read_text())["images"] for d in row["detections"]} == {
        "blue",
        "red",
    }


def test_after_a_kill_it_goes_on_with_the_same_numbers(cli, data: Path) -> None:
    done = cli(*TRAIN, "--epochs", "4")
    assert done.returncode == 0, done.stderr
    whole = json.loads((data / "h.json").read_text())["epochs"]
    shutil.rmtree(data / "m")
    command = [sys.executable, str(ROOT / "agent.py"), "train", "--data", "set", "--names", "names", *OPTIONS]
    command += ["--out", "m", "--epochs", "4"]
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    process = subprocess.Popen(command, cwd=data, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    state = data / ".m.training" / "state.npz"
    until = time.monotonic() + 120
    while not state.is_file() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert state.is_file()
    refused = cli(*TRAIN, "--epochs", "4", "--seed", "1")
    assert refused.returncode == 2
    assert "another plan was begun here" in " ".join(refused.stderr.split())
    done = cli(*TRAIN, "--epochs", "4")
    assert done.returncode == 0, done.stderr
    again = json.loads((data / "h.json").read_text())["epochs"]
    for a, b in zip(whole, again, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=2e-2)


def test_bad_input_is_one_sentence(cli, data: Path) -> None:
    cases = [
        (("--classes", "green"), 'there is no class "green"'),
        (("--size", "100"), "--size is 100; a side is a multiple of 32 pixels, 4096 at the most"),
        (("--size", ""), '--size is ""; give a side such as 416, or WIDTHxHEIGHT'),
        (("--anchors", "some"), "choose one of: cfg, auto"),
        (("--convert", "int4"), "choose one of: fp32, fp16, int8"),
        (("--from", "nothing"), "there is no bundle models/nothing"),
    ]
    for more, says in cases:
        done = cli(*TRAIN, *more)
        assert done.returncode == 2, done.stdout
        assert says in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
        shutil.rmtree(data / ".m.training", ignore_errors=True)
    for file in (data / "set" / "labels").iterdir():
        file.write_text("")
    done = cli(*TRAIN)
    assert done.returncode == 2
    assert "all are empty" in " ".join(done.stderr.split())
    shutil.rmtree(data / "set" / "images")
    done = cli(*TRAIN)
    assert done.returncode == 2
    assert "this is no data set" in " ".join(done.stderr.split())


def test_what_it_begins_with_is_scored_and_stays_where_nothing_is_better(
    cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cli(*TRAIN, "--epochs", "3")
    assert done.returncode == 0, done.stderr
    first = json.loads((data / "h.json").read_text())
    assert first["start"] is None
    more = ["train", "--data", "set", "--names", "names", *OPTIONS, "--json", "h.json", "--from", "./m", "--out", "n"]
    monkeypatch.setattr("training.fit.on_cpu", lambda: False)  # scored by Keras then, as on a card
    done = cli(*more, "--epochs", "1", "--rate", "1e-7")
    assert done.returncode == 0, done.stderr
    again = json.loads((data / "h.json").read_text())
    best = max(epoch["ap50"] for epoch in first["epochs"])
    assert abs(again["start"]["ap50"] - best) < 0.5, "every row of the heads was taken over"
    assert "backbone held" in done.stderr
    better = again["epochs"][0]["ap50"] > again["start"]["ap50"]
    assert ("no better than what it began with" in done.stdout) != better
    if not better:
        assert (data / "n" / "network.weights").read_bytes()[20:] == (data / "m" / "network.weights").read_bytes()[20:]
