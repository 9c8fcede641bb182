import cv2
import numpy as np
import pytest

from agent.types import IDLE, Action, Frame
from core.errors import UserError
from evaluation.calibrate import Calibration, fit
from evaluation.turning import TurningController
from tests.evaluation.worlds import World, play


class Guarded:
    """A controller whose first actions guards hold back."""

    def __init__(self, inner: TurningController, vetoes: int) -> None:
        self._inner, self._left = inner, vetoes

    @property
    def done(self) -> bool:
        return self._inner.done

    def decide(self, target: None, frame: Frame) -> Action:
        self._decided = self._inner.decide(target, frame)
        self._held = self._left > 0 and not self._decided.idle
        self._left -= self._held
        return IDLE if self._held else self._decided

    def sent(self, action: Action, frame: Frame) -> None:
        self._inner.sent(action, frame)


def calibrated(world: World, fov_deg: float | None = None, vetoes: int = 0) -> Calibration:
    turner = TurningController(live=False)
    play(world, Guarded(turner, vetoes))
    assert not turner.problem
    assert turner.vetoed == vetoes
    return fit(turner.recorded, world.width, fov_deg, turner.view)


@pytest.mark.parametrize(
    ("world", "vetoes"),
    [
        (World(0.022, -0.022, 103.0, overlay=True, light=14.0, seed=1), 7),
        (World(-0.5, 0.31, 75.0, pitch_deg=12.0, seed=2), 0),
        (World(0.1318, 0.158, 90.0, shear=True, seed=3), 0),
    ],
    ids=["dim, with a weapon, inverted, held back", "mirrored, looking down", "sheared as Doom"],
)
@pytest.mark.slow
def test_it_finds_a_mouse_that_it_is_told_nothing_of(world: World, vetoes: int) -> None:
    found = calibrated(world, vetoes=vetoes)
    assert found.right.value == pytest.approx(world.right, rel=0.003)
    assert found.right.low <= world.right <= found.right.high
    assert found.fov_deg.value == pytest.approx(world.fov_deg, rel=0.01)
    assert found.fov_deg.low <= world.fov_deg <= found.fov_deg.high
    assert found.down is not None
    assert found.down.value == pytest.approx(world.down, rel=0.01)
    assert found.shear == world.shear
    for estimate in (found.right, found.down, found.fov_deg):
        assert (estimate.high - estimate.low) / 2 <= 0.01 * abs(estimate.value)


@pytest.mark.slow
def test_a_game_without_up_and_down_and_with_a_known_field_of_view() -> None:
    found = calibrated(World(0.2, 0.0, 80.0, seed=4), fov_deg=80.0)
    assert found.down is None
    assert found.per_count == pytest.approx(0.2, rel=0.003)
    assert (found.fov_deg.value, found.fov_fitted) == (pytest.approx(80.0), False)


@pytest.mark.slow
def test_acceleration_is_named() -> None:
    turner = TurningController(live=False)
    play(World(0.05, 0.05, faster=1.5), turner)
    with pytest.raises(UserError, match=r"at once turn 1\.\d+ times as far as in parts: the mouse is accelerated"):
        fit(turner.recorded, 320, None, turner.view)


def test_a_game_that_does_not_take_the_mouse_is_one_sentence() -> None:
    turner = TurningController(live=False)
    play(World(0.0, 0.0), turner)
    assert "does not take the mouse's motion" in turner.problem


@pytest.mark.slow
def test_a_side_on_which_there_is_nothing_to_see_does_no_harm() -> None:
    """Steps that nothing can be told of are turns like any other."""

    class Walled(World):
        def picture(self) -> np.ndarray:
            picture = super().picture()
            off = (self.yaw_deg - 200) % 360
            if off < 35:
                noise = np.random.default_rng(round(self.yaw_deg * 100)).integers(40, 80, (24, 32, 1), np.uint8)
                picture[:] = cv2.resize(noise, (320, 240))[..., None]
            return picture

    world, turner = Walled(0.11, 0.11, seed=6), TurningController(live=False)
    play(world, turner)
    found = fit(turner.recorded, 320, None, turner.view)
    assert found.right.value == pytest.approx(0.11, rel=0.002)
    assert found.right.low <= 0.11 <= found.right.high


@pytest.mark.slow
def test_lost_motions_are_never_a_result() -> None:
    """A world that swallows some motions: what comes out is right, or nothing."""

    class Forgetful(World):
        count = 0

        def turn(self, action: Action) -> None:
            self.count += not action.idle
            if self.count % 11:
                super().turn(action)

    world, turner = Forgetful(0.11, 0.11, seed=6), TurningController(live=False)
    play(world, turner)
    try:
        found = fit(turner.recorded, 320, None, turner.view)
    except UserError:
        return
    assert found.right.value == pytest.approx(0.11, rel=0.005)
