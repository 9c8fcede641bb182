"""Selections that keep to their target: by where it should be, and by ids."""

import numpy as np
import pytest
from pydantic import ValidationError

from agent.history import CommandHistory, View
from agent.types import Detections
from core.errors import UserError
from plugins.selection import best, nearest, tracker
from tests.agent.fakes import context, detections, frame

NAMES = ("body", "head", "tree")
FRAME_NS = 1_000_000_000 // 60
F = 50.0
"""The focal length of a view of 90 degrees, 100 pixels wide."""


def see(*centres: float, size: float = 10, at_ns: int = 0, classes: list[int] | None = None) -> Detections:
    found = detections(*[(x - size / 2, 45, x + size / 2, 55) for x in centres], classes=classes)
    return Detections(found.xyxy, found.confidence, found.class_id, at_ns)


def make(kind: str, view: View | None = None, **settings: object):
    given = context(names=NAMES, **({"view": view} if view else {}))
    if kind == "best":
        return best.BestSelection(best.Settings(**settings), given)
    return tracker.TrackerSelection(tracker.Settings(method=kind, **settings), given)


def picture(i: int = 0):
    return frame(i, 100, 100, at_ns=(i + 1) * FRAME_NS)


def test_what_counts_is_weighed() -> None:
    found = detections((45, 45, 55, 55), (60, 40, 90, 70), (0, 0, 10, 10))
    for weights, expected in (({"nearest": 1}, 45), ({"biggest": 1}, 60), ({"nearest": 0.1, "biggest": 1}, 60)):
        assert make("best", weights=weights).select(found, picture()).box[0] == expected
    sure = Detections(found.xyxy, np.array([0.3, 0.4, 0.9], np.float32), found.class_id)
    assert make("best", weights={"surest": 1}).select(sure, picture()).box[0] == 0
    with pytest.raises(ValidationError):
        best.Settings(weights={"prettiest": 1})


def test_field_of_view_and_classes() -> None:
    corner = detections((65, 65, 75, 75))  # 20 pixels off along both axes, 28 away
    assert make("best", fov_px=25).select(corner, picture()) is None
    assert make("best", fov_px=25, fov_shape="box").select(corner, picture()) is not None
    two = see(50, 60, classes=[0, 1])
    assert make("best", classes=("head", "body")).select(two, picture()).class_id == 1
    assert make("best", classes=("tree",)).select(two, picture()) is None
    with pytest.raises(UserError, match='did you mean "head"'):
        make("best", classes=("haed",))


def test_each_class_is_aimed_at_where_its_own_aim_point_is() -> None:
    found = see(30, 70, classes=[0, 1])
    settings = {"aim_points": {"body": (0.5, 0.2)}, "classes": ("body", "head")}
    for kind in ("best", "nearest"):
        selection = (
            make(kind, **settings)
            if kind == "best"
            else nearest.NearestSelection(nearest.Settings(**settings), context(names=NAMES))
        )
        target = selection.select(found, picture())
        assert (target.aim_x, target.aim_y) == pytest.approx((30, 47))
        only_head = see(70, classes=[1])
        assert selection.select(only_head, picture()).aim_y == pytest.approx(50)
    with pytest.raises(UserError, match="selection.aim_points: the detector knows no class"):
        make("best", aim_points={"haed": (0.5, 0.5)})


@pytest.mark.parametrize("kind", ["best", "bytetrack", "ocsort", "sort"])
def test_a_target_is_kept_until_another_is_better_by_the_margin(kind: str) -> None:
    """Two targets that take turns in being the nearer by a pixel: without a margin the hand would go to and fro."""
    for margin, expected in ((0.2, 1), (0.0, 2)):
        selection = make(kind, margin=margin)
        chosen = set()
        for i in range(12):
            wobble = 1 if i % 2 else -1
            target = selection.select(see(30 + wobble, 70 + wobble), picture(i))
            chosen.add(target.aim_x > 50)
        assert len(chosen) == expected
    selection = make(kind, margin=0.2)
    selection.select(see(30, 71), picture(0))
    assert selection.select(see(30, 52), picture(1)).aim_x == 52


@pytest.mark.parametrize("kind", ["nearest", "best", "bytetrack"])
def test_the_agents_own_turn_is_taken_off(kind: str) -> None:
    """The view turned by 30 degrees to the right, and the picture does not show it yet.

    What is in the middle of the picture has been left; the target is what will be there.
    """
    history = CommandHistory()
    view = View(history, lambda width: F * width / 100)
    given = context(names=NAMES, view=view)
    selection = nearest.NearestSelection(nearest.Settings(), given) if kind == "nearest" else make(kind, view)
    history.add(5 * FRAME_NS, 30.0, 0.0)
    late = see(50, 50 + F * np.tan(np.radians(30)), at_ns=FRAME_NS)
    target = selection.select(late, picture(6))
    assert target.aim_x == pytest.approx(78.9, abs=0.1)
    assert target.error_x == pytest.approx(28.9, abs=0.1), "what the controller gets is of the picture"


@pytest.mark.parametrize("kind", ["best", "bytetrack"])
def test_a_turn_does_not_make_another_of_it(kind: str) -> None:
    """The view turns by 20 degrees between two pictures, on to a second target: the first is still the one."""
    history = CommandHistory()
    view = View(history, lambda width: F * width / 100)
    selection = make(kind, view, margin=0.6, same_px=10)

    def at(*angles: float, at_ns: int) -> Detections:
        return see(*[50 + F * np.tan(np.radians(a)) for a in angles], at_ns=at_ns)

    assert selection.select(at(10, 32, at_ns=FRAME_NS), picture(0)).aim_x < 60
    history.add(FRAME_NS, 20.0, 0.0)
    after = selection.select(at(-10, 12, at_ns=2 * FRAME_NS), picture(1))
    assert after.aim_x < 50, "kept, though a target is now where the first one was in the picture"


@pytest.mark.parametrize("kind", ["bytetrack", "ocsort", "sort"])
def test_an_id_outlasts_pictures_that_lack_the_target(kind: str) -> None:
    """It is gone for five pictures, in which another is aimed at, and is the target again when it is back."""
    selection = make(kind, margin=0.7, lost_ms=1000)
    for i in range(5):
        assert selection.select(see(38, 75), picture(i)).aim_x == 38
    for i in range(5, 10):
        assert selection.select(see(75), picture(i)).aim_x == 75
    assert selection.select(see(38, 75), picture(10)).aim_x == 38
    brief = make(kind, margin=0.7, lost_ms=20)
    for i in range(5):
        brief.select(see(38, 75), picture(i))
    for i in range(5, 10):
        brief.select(see(75), picture(i))
    assert brief.select(see(38, 75), picture(10)).aim_x == 75, "lost for longer than lost_ms"


@pytest.mark.parametrize("kind", ["best", "bytetrack"])
def test_what_does_not_count_is_not_kept(kind: str) -> None:
    """Each target is also found as a class that is left out, right where it is."""
    selection = make(kind, classes=("body",), margin=0.3)
    chosen = set()
    for i in range(12):
        wobble = 1 if i % 2 else -1
        found = see(30 + wobble, 30 + wobble, 70 + wobble, 70 + wobble, classes=[1, 0, 1, 0])
        chosen.add(selection.select(found, picture(i)).aim_x > 50)
    assert len(chosen) == 1


def test_an_older_picture_costs_no_id() -> None:
    selection = make("bytetrack", margin=0.3)
    for i in range(5):
        selection.select(see(30, 72, at_ns=(i + 1) * FRAME_NS), picture(i))
    known = selection._id
    assert known >= 0
    selection.select(see(30, 72, at_ns=2 * FRAME_NS), picture(5))
    assert selection._id == known


def test_a_missing_tracker_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--extra track"):
        make("sort")
