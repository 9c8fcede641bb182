"""The search, with the nearness of the heads to the float network's as its score: quick, and real engines."""

from pathlib import Path

import numpy as np
import pytest

from conversion.calibration import calibrate
from conversion.convert import Material
from conversion.pictures import find
from conversion.quantization import SCHEMES
from conversion.thresholds import METHODS
from conversion.tuning import FLOAT_LAYERS, Tuning, executor
from engine.choice import difference
from tests.networks import small
from tests.pictures import folder_of, picture


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Material:
    from engine.onnx_graph import to_onnx

    folder: Path = folder_of(tmp_path_factory.mktemp("tuning") / "p", 32)
    model = to_onnx(*small())
    found = find(folder)
    return Material(model, calibrate(model, found, "stretch", lambda what, done, total: None), found, "stretch")


def heads(engine) -> list[np.ndarray]:
    engine.input[...] = np.ascontiguousarray(picture(50, 96, 64)[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255
    return [np.array(head) for head in engine.infer()]


def nearness(material: Material):
    reference = heads(executor(material.model, "asymmetric"))
    return lambda engine: 1e5 - 1e5 * difference(heads(engine), reference)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_method_is_tried_and_the_best_is_taken(material: Material, scheme: str) -> None:
    rows = []
    best = Tuning(nearness(material), 1e5, 1e5, rows, lambda row: None).search(material, scheme)
    assert {(row.method, row.bias_correction) for row in rows} == {(m, b) for m in METHODS for b in (False, True)}
    least = min(rows, key=lambda row: row.loss)
    assert (best.method, best.bias_correction, best.keep) == (least.method, least.bias_correction, ())


@pytest.mark.slow
def test_sensitive_layers_go_back_to_float_until_it_is_good_enough(material: Material) -> None:
    rows = []
    score = nearness(material)
    Tuning(score, 1e5, 1e5, rows, lambda row: None).search(material, "asymmetric")
    least = min(row.loss for row in rows)
    told, more = [], []
    best = Tuning(score, 1e5, least / 2, more, told.append).search(material, "asymmetric")
    assert told == more
    assert 0 < len(best.keep) <= FLOAT_LAYERS
    kept = [row for row in more if row.keep]
    assert [len(row.keep) for row in kept] == list(range(1, len(kept) + 1))
    lowest = min(more, key=lambda row: row.loss)
    assert lowest.loss < least, "a layer in float makes it better"
    # It ends with what is good enough, or else with the best of all that it tried.
    assert best.keep == (kept[-1] if kept[-1].loss <= least / 2 else lowest).keep
