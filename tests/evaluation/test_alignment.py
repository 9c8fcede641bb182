import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.types import Action
from evaluation.alignment import Turn, View, agreement, best, contrast, overlay, shift
from tests.evaluation.worlds import World


def view(world: World, mask: np.ndarray | None = None) -> View:
    grey = world.picture()[..., 0]
    return View(contrast(grey), np.ones(grey.shape, np.float32) if mask is None else mask.astype(np.float32))


@settings(max_examples=20, deadline=None)
@given(
    fov=st.floats(65, 115),
    yaw=st.floats(-14, 14),
    pitch=st.floats(-9, 9),
    tilt=st.floats(-20, 20),
    light=st.sampled_from([12.0, 60.0, 255.0]),
)
def test_the_picture_after_a_turn_is_the_one_before_it_warped(
    fov: float, yaw: float, pitch: float, tilt: float, light: float
) -> None:
    world = World(1.0, 1.0, fov, pitch_deg=tilt, light=light)
    before = view(world)
    world.yaw_deg += yaw
    level = view(world)
    assert agreement(before, level, Turn(math.radians(yaw), tilt=math.radians(tilt)), world.focal) > 0.9
    world.pitch_deg += pitch
    assert agreement(level, view(world), Turn(pitch=math.radians(pitch)), world.focal) > 0.9
    if abs(yaw) > 4:
        assert agreement(before, level, Turn(math.radians(-yaw), tilt=math.radians(tilt)), world.focal) < 0.5


@settings(max_examples=20, deadline=None)
@given(yaw=st.floats(-25, 25), fov=st.floats(65, 115))
def test_a_turn_is_found_by_its_shift_on_a_cylinder(yaw: float, fov: float) -> None:
    world = World(1.0, 1.0, fov)
    before = view(world)
    world.yaw_deg += yaw
    found, score = shift(before, view(world), world.focal, 1, 1.0)
    assert math.degrees(found) == pytest.approx(yaw, abs=0.1)
    assert score > 0.8


def test_a_turn_down_is_found_along_the_other_axis() -> None:
    world = World(1.0, 1.0)
    before = view(world)
    world.turn(Action(0, 6))
    found, score = shift(before, view(world), world.focal, 0, 0.7)
    assert math.degrees(found) == pytest.approx(6, abs=0.2)
    assert score > 0.8


def test_what_stands_still_is_found_and_left_out() -> None:
    world = World(1.0, 1.0, overlay=True)
    pictures = []
    for _ in range(12):
        world.yaw_deg += 30
        pictures.append(world.picture()[..., 0])
    still = overlay(pictures)
    assert still[225:, :150].all()  # the status bar
    assert still[:150].mean() < 0.02
    before = view(world, ~still)
    world.yaw_deg += 10
    assert math.degrees(shift(before, view(world, ~still), world.focal, 1, 1.0)[0]) == pytest.approx(10, abs=0.1)


def test_a_shiny_weapon_is_left_out_though_its_brightness_changes() -> None:
    world = World(1.0, 1.0, light=40.0)
    pictures, drawn = [], np.zeros((240, 320), bool)
    drawn[170:, 190:300] = True
    rng = np.random.default_rng(0)
    pattern = rng.uniform(0.3, 1.0, (7, 11)).repeat(10, axis=0).repeat(10, axis=1)
    for _ in range(36):
        world.yaw_deg += 10
        picture = world.picture()[..., 0]
        picture[170:, 190:300] = (pattern * rng.uniform(25, 60)).astype(np.uint8)  # lit as the place is
        pictures.append(picture)
    still = overlay(pictures)
    assert still[175:235, 195:295].mean() > 0.6
    assert still[~drawn].mean() < 0.05
    assert overlay(pictures[:8])[~drawn].mean() < 0.05, "few views show nothing of the kind"


def test_the_best_is_found_within_its_tolerance_and_not_at_the_border() -> None:
    from core.errors import UserError

    assert best(lambda x: -((x - 0.3) ** 2), -1, 1, 9, 1e-5) == pytest.approx(0.3, abs=1e-5)
    with pytest.raises(UserError):
        best(lambda x: x, 0, 1, 5, 1e-3)
