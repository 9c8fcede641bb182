from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.modules import RUNTIME_FILES_VARIABLE
from engine import choice
from engine.models import ModelFiles, load
from engine.pipeline import Pipeline
from engine.runtime import find_runtime, registered
from engine.worker import Job, Worker
from tests.conftest import ROOT
from tests.networks import small_files
from tests.pictures import picture

OPENCV = ROOT / "examples" / "plugins" / "runtime.py"


@pytest.fixture
def with_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUNTIME_FILES_VARIABLE, str(OPENCV))


def test_the_built_in_ones_say_what_they_are() -> None:
    found = registered()
    assert list(found)[:6] == ["openvino", "onnx", "tensorflow", "tensorrt", "tensorrt-rtx", "tensorrt-lean"]
    for name, entry in found.items():
        assert entry.runtime.name == name
        assert entry.runtime.packages
        assert entry.runtime.precisions
        assert entry.runtime.install


def test_a_wrong_engine_or_device_is_one_sentence() -> None:
    with pytest.raises(UserError, match='there is no engine "openvin"; choose one of: openvino, onnx, .*auto'):
        find_runtime("openvin")
    with pytest.raises(UserError, match='there is no engine "onnx:tpu"; choose one of: onnx:cuda'):
        find_runtime("onnx:tpu")


@pytest.mark.usefixtures("with_opencv")
def test_a_runtime_from_a_plugin_file_runs_here_in_a_worker_and_in_the_trial(tmp_path: Path) -> None:
    assert registered()["opencv"].source == str(OPENCV)
    files = ModelFiles(*small_files(tmp_path)[:2])
    model, _ = load(files)
    ours = Pipeline(model, "openvino", "fp32", 0.3).run(picture(0))
    here = Pipeline(model, "opencv", "fp32", 0.3).run(picture(0))
    assert len(here[0])
    assert np.allclose(here[0], ours[0], atol=0.1)
    with Worker(Job(files, None, "opencv", "fp32", 0.3)) as worker:
        there = worker.rows(picture(0))
        assert worker.description.startswith("cv2.dnn")
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
    assert ("opencv", "fp32") in choice.candidates(files)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("from reticle import hookimpl\n@hookimpl\ndef reticle_runtime(): return 7\n", "must return a Runtime, not 7"),
        ("def reticle_runtime(): 1 / 0\n", "its hook reticle_runtime raised: ZeroDivisionError"),
        (
            "from engine.runtimes.onnx import RUNTIME\nfrom dataclasses import replace\n"
            "def reticle_runtime(): return replace(RUNTIME)\n",
            'the runtime "onnx" is offered by both built-in and',
        ),
    ],
)
def test_a_bad_runtime_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str) -> None:
    (tmp_path / "r.py").write_text(code)
    monkeypatch.setenv(RUNTIME_FILES_VARIABLE, str(tmp_path / "r.py"))
    with pytest.raises(UserError, match=says):
        registered()
