"""`engine: auto`, with real engines in their own processes."""

import json
from pathlib import Path

import numpy as np
import pytest

from conversion.bundle import make_bundle
from core.errors import UserError
from engine import choice
from engine.models import ModelFiles, find, load
from engine.worker import Job, Worker
from tests.networks import NAMES, small_files
from tests.pictures import picture


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    cfg, weights, _ = small_files(tmp_path)
    return find(str(make_bundle(ModelFiles(cfg, weights, NAMES), tmp_path / "small")))


@pytest.mark.slow
def test_an_engine_that_fails_is_passed_over_with_its_reason(files: ModelFiles) -> None:
    wanted = [("openvino", "fp32"), ("openvino:npu", "fp32"), ("openvino", "int8"), ("onnx:cpu", "fp32")]
    done = []
    trials = list(choice.attempt(files, None, wanted, lambda: done.append(1)))
    assert [(t.engine, t.precision) for t in trials] == wanted
    assert len(done) == 4
    good, npu, int8, onnx = trials
    assert good.good
    assert good.error == 0
    assert "OpenVINO finds no NPU" in npu.reason
    assert "no INT8 graph" in int8.reason
    assert onnx.good
    assert onnx.error < 1e-4
    best = choice.side_by_side(files, None, trials)
    assert {(t.engine, t.precision) for t in best} == {("openvino", "fp32"), ("onnx:cpu", "fp32")}
    assert best[0].p50_ms <= best[1].p50_ms


@pytest.mark.slow
def test_an_engine_that_computes_something_else_is_passed_over(files: ModelFiles, monkeypatch) -> None:
    monkeypatch.setitem(choice.TOLERANCE, "fp32", 1e-12)
    (trial,) = choice.attempt(files, None, [("onnx:cpu", "fp32")], lambda: None)
    assert not trial.good
    assert "disagrees with the FP32 reference" in trial.reason


def test_what_is_right_in_the_first_run_alone_is_passed_over(files: ModelFiles, monkeypatch) -> None:
    class Drifting:
        """Its `onnx:cpu` adds a bias in every run, as ONNX Runtime's CUDA provider did."""

        description = "it drifts"

        def __init__(self, job: Job) -> None:
            self.each = float(job.engine == "onnx:cpu")
            self.runs = 0

        def outputs(self, pixels):
            self.runs += 1
            return [np.full((2, 2, 18), 10 + 0.005 * self.each * self.runs, np.float32)]

        def time(self, pixels, runs: int):
            self.runs += runs
            return [(1_000_000, 0)] * runs

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(choice, "Worker", Drifting)
    wanted = [("openvino", "fp32"), ("onnx:cpu", "fp32")]
    right, drifting = choice.attempt(files, None, wanted, lambda: None)
    assert right.good
    assert "disagrees with the FP32 reference" in drifting.reason


def test_without_openvino_onnx_runtime_is_what_the_others_are_compared_with(files: ModelFiles, monkeypatch) -> None:
    asked = []

    def refused(job: Job) -> None:
        asked.append(job.engine)
        raise UserError("as far as this")

    monkeypatch.setattr(choice, "Worker", refused)
    without = {name: entry for name, entry in choice.registered().items() if name != "openvino"}
    monkeypatch.setattr(choice, "registered", lambda: without)
    assert choice.candidates(files)[0] == ("onnx:cpu", "fp32")
    with pytest.raises(UserError, match="as far as this"):
        list(choice.attempt(files, None, [], lambda: None))
    assert asked == ["onnx:cpu"]


def test_a_busy_moment_does_not_choose(files: ModelFiles, monkeypatch) -> None:
    """The fastest few run again side by side; what each took by itself decides no more."""
    takes_ms = {"a": 3, "b": 2, "c": 9, "d": 1}

    class Timed:
        def __init__(self, job: Job) -> None:
            self.ms = takes_ms[job.engine]

        def time(self, pixels, runs: int):
            return [(self.ms * 1_000_000, 0)] * runs

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(choice, "Worker", Timed)
    alone = {"a": 1.0, "b": 1.1, "c": 1.2, "d": 50.0}
    trials = [choice.Trial(name, "fp32", p50_ms=ms) for name, ms in alone.items()]
    trials.append(choice.Trial("e", "fp32", reason="it failed"))
    found = choice.side_by_side(files, None, trials)
    assert [(t.engine, t.p50_ms) for t in found] == [("b", 2.0), ("a", 3.0), ("c", 9.0)]
    assert choice.side_by_side(files, None, trials[-1:]) == []
    assert choice.side_by_side(files, None, trials[2:3]) == trials[2:3]


@pytest.mark.slow
def test_the_choice_is_remembered_until_the_model_changes(files: ModelFiles, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RETICLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "candidates", lambda files: [("openvino", "fp32"), ("onnx:cpu", "fp32")])
    model, _ = load(files)
    first = choice.resolve("auto", model, "fp32")
    assert first[0] in ("openvino", "onnx:cpu")
    assert len(json.loads((tmp_path / "cache" / "engines.json").read_text())) == 1
    monkeypatch.setattr(choice, "attempt", lambda *_: pytest.fail("it was tried again"))
    assert choice.resolve("auto", model, "fp32") == first
    monkeypatch.undo()
    assert choice.resolve("onnx:cpu", model, "auto") == ("onnx:cpu", "fp32")


def test_a_worker_finds_what_the_engine_finds_here(files: ModelFiles) -> None:
    from engine.pipeline import Pipeline

    model, _ = load(files)
    here = Pipeline(model, "openvino", "fp32", 0.3).run(picture(0))
    with Worker(Job(files, None, "openvino", "fp32", 0.3)) as worker:
        there = worker.rows(picture(0))
        assert worker.description == "f32"
        times = worker.time(picture(0), 3)
    assert len(here[0])
    for mine, theirs in zip(here, there, strict=True):
        assert (mine == theirs).all()
    assert all(whole >= network > 0 for whole, network in times)


def test_a_worker_that_dies_is_one_sentence(files: ModelFiles) -> None:
    with Worker(Job(files, None, "openvino", "fp32")) as worker:
        worker._process.kill()
        with pytest.raises(UserError, match="the engine openvino ended its process"):
            worker.rows(picture(0))
