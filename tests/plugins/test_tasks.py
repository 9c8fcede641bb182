"""The aim tasks: the room as a picture, what is a hit, and the scores of ISO 9241-9."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calibration import Calibration
from agent.types import LEFT, Action
from core.errors import UserError
from plugins.tasks.capture import TasksCapture
from plugins.tasks.scene import SPRITES, Scene, Target
from plugins.tasks.score import Flick, throughput
from plugins.tasks.settings import Settings
from plugins.tasks.tasks import FLICK_S, MOTIONS, STEEPEST_TARGET_DEG, _to_and_fro
from tests.agent.fakes import context

CALIBRATION = Calibration(fov_deg=90, degrees_per_count=0.1)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(640, 480, 320.0)


def tasks(seed: int = 1, **settings: object) -> TasksCapture:
    return TasksCapture(Settings(**settings), replace(context(seed=seed), calibration=CALIBRATION, episodes=1))


def follow(world: TasksCapture, gain: float = 1.0, fire: bool = True) -> None:
    """Play by the ground truth: turn towards the nearest target, and shoot when it is under the crosshair."""
    while (frame := world.grab()) is not None:
        boxes = world.truth(frame).xyxy
        if not len(boxes):
            continue
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2 - (frame.width / 2, frame.height / 2)
        x, y = middles[np.argmin(np.abs(middles).sum(axis=1))]
        near = abs(x) < 2 and abs(y) < 2
        turn = [gain * math.degrees(math.atan(v / 320)) / 0.1 for v in (x, y)]
        world.apply(Action(round(turn[0]), round(turn[1]), LEFT if near and fire else 0))


@given(right=st.floats(-40, 40), down=st.floats(-20, 20), view=st.tuples(st.floats(-500, 500), st.floats(-25, 25)))
def test_a_target_that_is_looked_at_is_in_the_middle_and_others_where_a_lens_has_them(
    scene: Scene, right: float, down: float, view: tuple[float, float]
) -> None:
    at = Target(view[0], view[1], 8, 0)
    drawn = scene.place(at, *view)
    assert abs(drawn.left + drawn.width / 2 - 320) <= 1
    assert abs(drawn.top + drawn.height / 2 - 240) <= 1
    aside = scene.place(Target(view[0] + right, 0.0, 8, 0), view[0], 0.0)
    assert abs(aside.left + aside.width / 2 - (320 + 320 * math.tan(math.radians(right)))) <= 1
    above = scene.place(Target(view[0], view[1] + down, 8, 0), *view)
    assert abs(above.top + above.height / 2 - (240 + 320 * math.tan(math.radians(down)))) <= 1


def test_what_is_drawn_is_where_it_is_said_to_be_and_to_the_pixel(scene: Scene) -> None:
    target = Target(5.0, 3.0, 12.0, 0)
    empty, _ = scene.draw(0.0, 0.0, [])
    picture, (drawn,) = scene.draw(0.0, 0.0, [target])
    changed = (picture != empty).any(axis=2)
    ys, xs = np.nonzero(changed)
    box = scene.visible(drawn)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == box
    inside = changed[box[1] : box[3], box[0] : box[2]]
    covered = np.array(
        [[scene.covers(drawn, x + 0.5, y + 0.5) for x in range(box[0], box[2])] for y in range(box[1], box[3])]
    )
    assert (inside <= covered).all(), "what changed is on the sprite; a pixel of it may be as dark as the wall"
    assert inside.sum() > 0.95 * covered.sum()


def test_turning_moves_the_room_as_a_lens_does(scene: Scene) -> None:
    """The middle of the picture after a turn is what was at that angle before."""
    before, _ = scene.draw(0.0, 0.0, [])
    there, elsewhere = [], []
    for angle in range(3, 38):
        after, _ = scene.draw(float(angle), 0.0, [])
        column = 320 + round(320 * math.tan(math.radians(angle)))
        for aside, found in ((0, there), (25, elsewhere)):
            found.append(np.abs(before[230:250, column + aside].astype(int) - after[230:250, 320]).mean())
    assert np.mean(there) < 0.6 * np.mean(elsewhere)


def test_the_same_seed_and_actions_give_the_same_frames() -> None:
    actions = [Action(int(dx), int(dy), LEFT) for dx, dy in np.random.default_rng(3).integers(-40, 40, (80, 2))]

    def played(seed: int) -> list[bytes]:
        world, found = tasks(seed, scenario="switch"), []
        for action in actions:
            found.append(world.grab().pixels.tobytes())
            world.apply(action)
        return found

    assert played(1) == played(1) != played(2)


def test_perfect_flicks_hit_and_are_scored() -> None:
    world = tasks(scenario="flick", flicks=12)
    follow(world)
    (episode,) = world.episodes
    scores = episode.scores
    assert scores["timeouts"] == 0
    assert scores["hits_per_shot"] > 0.9
    assert 20 < scores["time_to_target_ms"] < 200
    assert scores["throughput_bit_s"] > 20
    assert scores["time_on_target"] is None


@pytest.mark.slow
def test_who_does_nothing_hits_nothing() -> None:
    world = tasks(scenario="flick", flicks=12)
    frames = 0
    while world.grab() is not None:
        frames += 1
    scores = world.episodes[0].scores
    assert scores["timeouts"] == 12
    assert scores["throughput_bit_s"] is scores["hits_per_shot"] is scores["time_to_target_ms"] is None
    assert frames > 12 * FLICK_S * 60


@pytest.mark.slow
@pytest.mark.parametrize("scenario", MOTIONS)
def test_following_is_told_from_looking_on(scenario: str) -> None:
    followed, looked_on = tasks(scenario=scenario, seconds=5), tasks(scenario=scenario, seconds=5)
    follow(followed)
    follow(looked_on, gain=0.0)
    good, bad = followed.episodes[0].scores, looked_on.episodes[0].scores
    assert good["time_on_target"] > 0.6 > 0.4 > bad["time_on_target"]
    assert good["aim_error_deg"] < 1.5 < bad["aim_error_deg"]
    assert good["throughput_bit_s"] is None


def test_switching_counts_hits_and_flips() -> None:
    world = tasks(scenario="switch", seconds=5)
    follow(world)
    scores = world.episodes[0].scores
    assert scores["hits_per_min"] > 100
    assert scores["flips_per_s"] < 3


@given(spread=st.floats(0.2, 2.0), way=st.floats(4, 30), seconds=st.floats(0.1, 2))
def test_throughput_is_the_standards(spread: float, way: float, seconds: float) -> None:
    """Ends at -spread and +spread by turns have a standard deviation that can be told by hand."""
    flicks = []
    for i in range(10):
        flick = Flick((way, 5.0), (0.0, 0.0), (way, 0.0), 0.0)
        flick.shot(seconds, (way + (spread if i % 2 else -spread), 0.0), True)
        flicks.append(flick)
    width = 4.133 * spread * math.sqrt(10 / 9)
    assert throughput(flicks, 0.1) == pytest.approx(math.log2(way / width + 1) / seconds)


def test_a_shot_beyond_the_target_is_told_along_the_way_there() -> None:
    flick = Flick((10.0, 5.0), (1.0, 0.0), (1.0, 10.0), 0.0)
    flick.moved((1.0, 13.0))
    flick.shot(0.5, (1.0, 11.0), True)
    assert (flick.past_deg, flick.end_deg, flick.way_deg, flick.hit_s) == (3.0, 1.0, 11.0, 0.5)


@given(way=st.floats(-1e4, 1e4), reach=st.floats(1, 90), step=st.floats(0, 0.5))
def test_to_and_fro_stays_within_and_never_jumps(way: float, reach: float, step: float) -> None:
    here, there = _to_and_fro(way, reach), _to_and_fro(way + step, reach)
    assert abs(here) <= reach + 1e-6
    assert abs(there - here) <= step + 1e-6


@pytest.mark.parametrize("name", MOTIONS)
@given(seed=st.integers(0, 1000), t=st.floats(0, 60))
def test_motions_stay_where_the_camera_can_follow(name: str, seed: int, t: float) -> None:
    right, down = MOTIONS[name](np.random.default_rng(seed))(t)
    assert abs(right) <= 30 + 1e-6
    assert abs(down) <= STEEPEST_TARGET_DEG + 1e-6


def test_a_delay_that_the_room_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match="delay_ms"):
        TasksCapture(Settings(), replace(context(seed=1), calibration=Calibration(delay_ms=30)))


def test_every_sprite_is_there(scene: Scene) -> None:
    for sprite in range(len(SPRITES)):
        _, (drawn,) = scene.draw(0.0, 0.0, [Target(0, 0, 10, sprite)])
        assert scene.covers(drawn, 320, 240)
