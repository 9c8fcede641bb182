"""The conformance check passes what is right and says what is wrong; the examples and the built-in plugins pass it."""

from dataclasses import replace

import numpy as np
import pytest

from agent.context import Context
from agent.discovery import discover
from agent.factories import (
    ControllerFactory,
    DetectorFactory,
    NoSettings,
    SelectionFactory,
)
from agent.types import Action, Detections, Frame, Target
from core.modules import load_file
from reticle.testing import FakeDetector, conforms
from tests.conftest import ROOT

EXAMPLES = sorted(path for path in (ROOT / "examples" / "plugins").glob("*.py") if path.stem not in ("runtime",))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_examples_conform(path) -> None:
    from agent.calibration import Calibration
    from reticle import testing

    module = load_file(path)
    hook = next(value for name, value in vars(module).items() if name.startswith("reticle_"))
    given = testing.context(
        environment=testing.FakeEnvironment(), calibration=Calibration(fov_deg=90, degrees_per_count=0.1)
    )
    conforms(hook(), given)


@pytest.mark.parametrize(
    ("role", "name", "settings"),
    [
        ("selection", "nearest", {}),
        ("selection", "best", {}),
        ("controller", "proportional", {}),
        ("controller", "pid", {}),
        ("controller", "predictive", {}),
        ("actuation", "environment", {}),
        ("guard", "rate", {}),
        ("guard", "staleness", {}),
        ("detector", "oracle", {}),
    ],
)
def test_built_in_plugins_conform(role, name: str, settings: dict) -> None:
    conforms(discover().find(role, name), **settings)


def detector(**changes: object) -> DetectorFactory:
    class Changed(FakeDetector):
        def __init__(self, settings: NoSettings, context: Context) -> None:
            pass

        def detect(self, frame: Frame) -> Detections:
            found = FakeDetector.detect(self, frame)
            return changes["detect"](found, frame) if "detect" in changes else found

    return DetectorFactory("changed", Changed, summary="finds")


def test_a_detector_that_is_right_conforms() -> None:
    conforms(detector())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda found, frame: None, "detect must return Detections"),
        (lambda found, frame: replace(found, class_id=np.array([7], np.int32)), "class_id from 0 to 0.*class 7"),
        (lambda found, frame: replace(found, xyxy=found.xyxy * np.float32(np.nan)), "finite boxes"),
        (lambda found, frame: replace(found, at_ns=frame.at_ns + 1), "at_ns not after the frame's"),
        (lambda found, frame: replace(found, confidence=np.random.rand(1).astype(np.float32)), "same|twice|differ"),
    ],
)
def test_a_detector_that_is_wrong_is_told_how(change, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        conforms(detector(detect=change))


def test_a_selection_and_a_controller_that_are_wrong_are_told_how() -> None:
    class Select:
        def __init__(self, settings: NoSettings, context: Context) -> None:
            pass

        def select(self, detections: Detections, frame: Frame) -> Target | None:
            return detections.xyxy[0]  # and nothing is there in an empty frame

    with pytest.raises((AssertionError, IndexError)):
        conforms(SelectionFactory("s", Select, summary="selects"))

    class Decide:
        def __init__(self, settings: NoSettings, context: Context) -> None:
            pass

        def decide(self, target: Target | None, frame: Frame) -> Action:
            return Action(dx=0.5)

        def sent(self, action: Action, frame: Frame) -> None:
            pass

    with pytest.raises(AssertionError, match="dx, dy and buttons of type int"):
        conforms(ControllerFactory("c", Decide, summary="decides"))


def test_a_factory_without_a_summary_is_told_so() -> None:
    with pytest.raises(AssertionError, match="summary"):
        conforms(replace(detector(), summary=""))
