from pathlib import Path

import pytest

from conversion.calibration import calibrate
from conversion.convert import Material
from conversion.pictures import find
from core.geometry import STRETCH
from tests.networks import small
from tests.pictures import folder_of


@pytest.fixture(scope="package")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A small network and 32 pictures, counted."""
    from engine.onnx_graph import to_onnx

    folder: Path = folder_of(tmp_path_factory.mktemp("material") / "p", 32)
    model = to_onnx(*small())
    found = find(folder)
    return Material(model, calibrate(model, found, STRETCH), found, STRETCH)
