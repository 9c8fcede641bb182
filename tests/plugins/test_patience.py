"""Targets that stay where they are however long they are aimed at: the other one's turn comes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history import CommandHistory, View
from agent.types import Detections
from plugins.selection import best, nearest, tracker
from tests.agent.fakes import context, detections, frame

NAMES = ("body",)
STEP_NS = 1_000_000_000 // 30
F = 50.0
KINDS = {
    "nearest": lambda given, **s: nearest.NearestSelection(nearest.Settings(**s), given),
    "best": lambda given, **s: best.BestSelection(best.Settings(**s), given),
    "tracker": lambda given, **s: tracker.TrackerSelection(tracker.Settings(**s), given),
}


def see(*centres: float) -> Detections:
    return detections(*[(x - 5, 45, x + 5, 55) for x in centres])


def picture(i: int):
    return frame(i, 100, 100, at_ns=(i + 1) * STEP_NS)


def aims(selection, seen, frames: int) -> list[float]:
    selection.begin(0)
    return [t.aim_x if (t := selection.select(seen(i), picture(i))) else np.nan for i in range(frames)]


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_stays_is_given_up_and_later_tried_again(kind: str) -> None:
    selection = KINDS[kind](context(names=NAMES), patience_s=1.0)
    aimed = aims(selection, lambda i: see(52, 80), 60)
    assert aimed[:30] == [52] * 30
    assert aimed[35:60] == [80] * 25
    assert aims(selection, lambda i: see(52, 80), 5) == [52] * 5, "a new episode forgets"
    alone = aims(selection, lambda i: see(52), 30 * 25)
    assert np.isnan(alone[40:600]).all(), "there is nothing else to aim at"
    assert alone[635:655] == [52] * 20, "it may have been somebody who is back"
    never = KINDS[kind](context(names=NAMES))
    assert aims(never, lambda i: see(52, 80), 90) == [52] * 90


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_stands_still_in_the_world_stays_given_up_as_the_view_turns(kind: str) -> None:
    """The view turns by 3 degrees a picture, all the way round; the statue is seen now and then, at its place."""
    history = CommandHistory()
    selection = KINDS[kind](context(names=NAMES, view=View(history, lambda width: F)), patience_s=0.5)
    for i in range(20):
        selection.select(see(50), picture(i))
    aimed = []
    for i in range(20, 20 + 120):
        history.add(i * STEP_NS + 1, 3.0, 0.0)
        angle = (3.0 * (i - 19) + 180) % 360 - 180
        seen = see(50 - F * np.tan(np.radians(angle))) if abs(angle) < 40 else Detections.empty()
        aimed.append(selection.select(seen, picture(i)))
    assert aimed == [None] * 120


@given(speed=st.floats(9, 60), left=st.booleans())
def test_one_that_moves_is_not_given_up(speed: float, left: bool) -> None:
    """Pixels a second, of a box 10 wide."""
    selection = KINDS["nearest"](context(names=NAMES), patience_s=1.0)
    way = -1 if left else 1
    aimed = aims(selection, lambda i: see(50 + way * (i * speed / 30 % 40)), 200)
    assert not np.isnan(aimed).any()


@given(st.lists(st.sampled_from([0.5, 1.0]), min_size=1, max_size=6))
def test_one_that_is_lost_in_between_is_begun_with_anew(gaps: list[float]) -> None:
    selection = KINDS["nearest"](context(names=NAMES), patience_s=1.0)
    i = 0
    for gap in gaps:
        for _ in range(20):
            assert selection.select(see(50), picture(i)) is not None
            i += 1
        i += round(30 * (gap + 0.1))
