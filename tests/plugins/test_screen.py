"""The desktop's plugins on a real X server: what is grabbed, what moves, what is listened to."""

import contextlib
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from agent.interlock import Interlock, StopFlag
from agent.types import IDLE, LEFT, MIDDLE, RIGHT, Action
from core.errors import UserError
from plugins.actuation.mouse import XTestMouse, make_mouse
from plugins.capture.mss import Settings, mss_capture
from plugins.capture.region import region
from tests.agent.fakes import context, frame
from tests.desktop import posix, until


class Screen:
    """A second connection that sees what a person would: the pointer, the buttons, windows."""

    def __init__(self) -> None:
        from Xlib import display

        self.display = display.Display()
        self.root = self.display.screen().root

    def pointer(self) -> tuple[int, int]:
        where = self.root.query_pointer()
        return where.root_x, where.root_y

    def buttons(self) -> int:
        from Xlib import X

        mask = self.root.query_pointer().mask
        pairs = ((LEFT, X.Button1Mask), (MIDDLE, X.Button2Mask), (RIGHT, X.Button3Mask))
        return sum(button for button, bit in pairs if mask & bit)

    def key(self, name: str, press: bool) -> None:
        from Xlib import XK, X
        from Xlib.ext import xtest

        code = self.display.keysym_to_keycode(XK.string_to_keysym(name))
        xtest.fake_input(self.display, X.KeyPress if press else X.KeyRelease, code)
        self.display.sync()

    def window(self, title: str, left: int, top: int, width: int, height: int, pixel: int):
        from Xlib import X

        window = self.root.create_window(
            left,
            top,
            width,
            height,
            0,
            self.display.screen().root_depth,
            background_pixel=pixel,
            override_redirect=True,
        )
        names = (self.display.intern_atom(name) for name in ("_NET_WM_NAME", "UTF8_STRING"))
        window.change_property(*names, 8, title.encode())
        window.map()
        self.display.sync()
        window.set_input_focus(X.RevertToParent, X.CurrentTime)
        self.display.sync()
        return window


@pytest.fixture
def screen(display: str):
    screen = Screen()
    screen.root.warp_pointer(600, 300)
    screen.display.sync()
    yield screen
    screen.display.close()


def test_mss_grabs_the_pixels_that_are_there(screen: Screen) -> None:
    window = screen.window("target", 100, 50, 60, 40, 0x3366CC)
    try:
        capture = mss_capture(Settings(left=90, top=40, width=80, height=60), context())
        grabbed = capture.grab()
        capture.close()
    finally:
        window.destroy()
        screen.display.sync()
    assert grabbed.pixels.shape == (60, 80, 4)
    assert grabbed.origin == (90, 40)
    inside = grabbed.pixels[10:50, 10:70, :3]
    assert np.all(inside == (0xCC, 0x66, 0x33))
    assert not np.any(np.all(grabbed.pixels[:10, :, :3] == (0xCC, 0x66, 0x33), axis=-1))


def test_a_picture_is_put_where_the_detector_wants_it(screen: Screen) -> None:
    window = screen.window("target", 100, 50, 60, 40, 0x3366CC)
    made: list[np.ndarray] = []

    def make(shape: tuple[int, ...]) -> np.ndarray:
        made.append(np.zeros(shape, np.uint8))
        return made[-1]

    run = context()
    try:
        capture = mss_capture(Settings(left=90, top=40, width=80, height=60), run)
        plain = capture.grab()
        run.buffers.provide(make)
        moved = [capture.grab() for _ in range(2)]
        capture.close()
    finally:
        window.destroy()
        screen.display.sync()
    for frame_of in moved:
        assert any(np.shares_memory(frame_of.pixels, array) for array in made)
        np.testing.assert_array_equal(frame_of.pixels, plain.pixels)
    assert not np.shares_memory(moved[0].pixels, moved[1].pixels)


def test_mss_hands_out_the_grab_itself(screen: Screen) -> None:
    capture = mss_capture(Settings(width=64, height=64), context())
    one, two = capture.grab(), capture.grab()
    capture.close()
    assert not one.pixels.flags.owndata
    assert isinstance(
        one.pixels.base.base if one.pixels.base.base is not None else one.pixels.base, bytearray | memoryview
    )
    assert not np.shares_memory(one.pixels, two.pixels)


def test_mss_leaves_out_what_has_not_changed(screen: Screen) -> None:
    capture = mss_capture(Settings(left=90, top=40, width=80, height=60, skip_duplicates=True), context())
    first = capture.grab()
    window = screen.window("target", 100, 50, 60, 40, 0x3366CC)
    try:
        second = capture.grab()
        again = capture.grab()
    finally:
        window.destroy()
        screen.display.sync()
        capture.close()
    assert (first.pixels != second.pixels).any()
    assert np.array_equal(second.pixels, again.pixels), "a picture that stays is given again in the end"
    assert again.grab_ns - second.grab_ns > 90_000_000


def test_mss_counts_from_a_window(screen: Screen) -> None:
    window = screen.window("My Game - level 1", 200, 100, 320, 240, 0)
    try:
        capture = mss_capture(Settings(window="my game", width=100, height=100), context())
        assert capture.region == {"left": 310, "top": 170, "width": 100, "height": 100}
        with pytest.raises(UserError, match=r"no window has 'other' in its title; there are: .*'My Game - level 1'"):
            mss_capture(Settings(window="other"), context())
    finally:
        window.destroy()
        screen.display.sync()


def test_mss_goes_with_its_window_and_waits_while_that_is_not_to_be_seen(screen: Screen) -> None:
    window = screen.window("Moving", 200, 100, 120, 80, 0x3366CC)
    capture = mss_capture(Settings(window="Moving"), context())
    frames: list = []
    thread = threading.Thread(target=lambda: frames.extend(iter(capture.grab, None)))

    def shows() -> bool:
        return bool(np.all(frames[-1].pixels[:, :, :3] == (0xCC, 0x66, 0x33)))

    try:
        assert capture.grab().origin == (200, 100)
        thread.start()
        window.configure(x=640, y=330)
        screen.display.sync()
        assert until(lambda: frames and frames[-1].origin == (640, 330) and shows())
        window.unmap()
        screen.display.sync()
        time.sleep(0.2)
        count = len(frames)
        time.sleep(0.2)
        assert len(frames) == count, "what shows in the window's place is nobody's business"
        window.map()
        screen.display.sync()
        assert until(lambda: len(frames) > count and shows())
        window.configure(x=1270)
        screen.display.sync()
        time.sleep(0.2)
        count = len(frames)
        time.sleep(0.1)
        assert len(frames) == count, "a part of it is beyond the screen"
        window.destroy()
        screen.display.sync()
        thread.join(5)
        assert not thread.is_alive(), "once it is closed there are no more frames"
    finally:
        capture.close()


def test_mss_prefers_the_window_with_just_that_title(screen: Screen) -> None:
    first = screen.window("The game - launcher", 10, 10, 60, 60, 0)
    second = screen.window("The game", 300, 200, 60, 60, 0)
    try:
        capture = mss_capture(Settings(window="the game"), context())
        assert capture.region["left"] == 300
        capture.close()
    finally:
        first.destroy()
        second.destroy()
        screen.display.sync()


def test_mss_paces_itself(screen: Screen) -> None:
    capture = mss_capture(Settings(width=32, height=32, max_fps=100), context())
    frames = [capture.grab() for _ in range(11)]
    capture.close()
    assert (frames[-1].grab_ns - frames[0].grab_ns) / 1e9 >= 0.099


MONITORS = [
    {"left": -100, "top": 0, "width": 400, "height": 200},
    {"left": -100, "top": 0, "width": 100, "height": 100},
    {"left": 0, "top": 0, "width": 300, "height": 200},
]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (-100, 0, 100, 100)),
        ({"monitor": 2}, (0, 0, 300, 200)),
        ({"monitor": 0, "width": 10, "height": 20}, (95, 90, 10, 20)),
        ({"monitor": 2, "width": 100, "height": 50}, (100, 75, 100, 50)),
        ({"monitor": 2, "width": 100, "height": 50, "left": 0}, (0, 75, 100, 50)),
        ({"monitor": 2, "width": 100, "height": 50, "left": 7, "top": 9}, (7, 9, 100, 50)),
    ],
)
def test_where_the_region_lies(settings: dict, expected: tuple[int, int, int, int]) -> None:
    assert tuple(region(Settings(**settings), MONITORS).values()) == expected


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"monitor": 3}, "monitor 3 does not exist; there are 1 to 2"),
        (
            {"monitor": 1, "width": 101, "height": 100},
            "the region 101x100 at .* lies outside the screen, which is 100x100",
        ),
        ({"monitor": 2, "left": 1}, "lies outside the screen"),
        ({"monitor": 2, "left": -1, "width": 10}, "lies outside the screen"),
    ],
)
def test_a_region_outside_the_screen(settings: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        region(Settings(**settings), MONITORS)


def test_the_mouse_moves_by_exactly_the_counts_sent(screen: Screen) -> None:
    mouse = make_mouse(None, context(live=True))
    rng = np.random.default_rng(0)
    x, y = screen.pointer()
    for _ in range(100):
        dx, dy = int(rng.integers(-30, 31)), int(rng.integers(-20, 21))
        mouse.apply(Action(dx, dy))
        x, y = min(max(x + dx, 0), 1279), min(max(y + dy, 0), 719)
        assert until(lambda: screen.pointer() == (x, y)), f"expected {(x, y)}, the pointer is at {screen.pointer()}"  # noqa: B023
    mouse.close()


def test_the_mouse_presses_just_what_the_action_says(screen: Screen) -> None:
    mouse = XTestMouse(60_000)
    for buttons in (LEFT, LEFT | RIGHT, RIGHT, MIDDLE, 0, LEFT):
        mouse.apply(Action(buttons=buttons))
        assert until(lambda: screen.buttons() == buttons)  # noqa: B023
    mouse.release()
    assert until(lambda: screen.buttons() == 0)
    mouse.close()


def test_a_release_beside_a_press_leaves_nothing_down(screen: Screen) -> None:
    """Press and release go out on two connections, between which X keeps no order."""
    mouse = XTestMouse(60_000)
    interlock = Interlock(mouse, StopFlag())
    for _ in range(200):
        interlock.submit(Action(buttons=LEFT), frame())
        interlock.idle()
    thread = threading.Thread(target=lambda: [mouse.release() for _ in range(200)])
    thread.start()
    for i in range(200):
        mouse.apply(Action(buttons=LEFT if i % 2 else RIGHT))
    thread.join(20)
    assert not thread.is_alive(), "two threads that let go must not hang"
    interlock.disarm()
    assert until(lambda: screen.buttons() == 0)
    mouse.close()


def test_pynput_goes_to_the_point(screen: Screen) -> None:
    from plugins.actuation.pynput import PynputActuation

    hand = PynputActuation(None, context(live=True))
    hand.apply(Action(5, 5, LEFT, point=(321, 123)))
    assert until(lambda: screen.pointer() == (321, 123) and screen.buttons() == LEFT)
    hand.release()
    assert until(lambda: screen.buttons() == 0)
    hand.close()


@contextlib.contextmanager
def armed(screen: Screen, key: str = "Shift_L", **settings: object):
    """An interlock on the real mouse behind a real arm key, disarmed."""
    from plugins.guard.arm_key import ArmKeyGuard
    from plugins.guard.arm_key import Settings as ArmSettings

    mouse, stop = XTestMouse(60_000), StopFlag()
    interlock = Interlock(mouse, stop)
    try:
        guard = ArmKeyGuard(ArmSettings(**settings), context(live=True, panic=interlock.panic))
    except UserError:
        mouse.close()
        raise
    interlock.guarded_by([("arm-key", guard)])
    try:
        # pynput says that it listens a moment before it does; go on once it has heard a key.
        heard = False
        while not heard:
            screen.key(key, press=True)
            heard = until(lambda: guard.check(Action(1), 0, frame(), 0) is None, timeout_s=0.5)
            screen.key(key, press=False)
        if settings.get("mode") == "toggle":
            screen.key(key, press=True)
            screen.key(key, press=False)
        assert until(lambda: guard.check(Action(1), 0, frame(), 0) is not None)
        yield interlock, guard, stop
    finally:
        for name in ("Shift_L", "Shift_R", "Pause"):
            screen.key(name, press=False)
        interlock.disarm()
        guard.close()
        mouse.close()


def test_nothing_moves_unless_the_key_is_held(screen: Screen) -> None:
    with armed(screen) as (interlock, guard, _):
        before = screen.pointer()
        assert not interlock.submit(Action(10), frame())
        assert interlock.last_veto == ("arm-key", "shift is not held")
        for key in ("Shift_L", "Shift_R"):
            screen.key(key, press=True)
            assert until(lambda: guard.check(Action(1), 0, frame(), 0) is None), key
            assert interlock.submit(Action(10), frame())
            screen.key(key, press=False)
            assert until(lambda: guard.check(Action(1), 0, frame(), 0) is not None), key
            assert not interlock.submit(Action(10), frame())
        assert until(lambda: screen.pointer() == (before[0] + 20, before[1]))


def test_a_toggle_stays_until_the_next_press(screen: Screen) -> None:
    with armed(screen, key="F8", arm="f8", mode="toggle") as (_, guard, _):
        for expected in (True, False, True):
            screen.key("F8", press=True)
            screen.key("F8", press=False)
            assert until(lambda: (guard.check(Action(1), 0, frame(), 0) is None) == expected)  # noqa: B023


@pytest.mark.parametrize(("name", "key"), [("pause", "Pause"), ("f12", "F12"), ("1", "1"), ("q", "q")])
def test_panic_releases_ends_and_disarms_for_good(screen: Screen, name: str, key: str) -> None:
    """The panic key counts although Shift, which arms, gives it another symbol: Break, exclam, Q."""
    with armed(screen, panic=name) as (interlock, guard, stop):
        screen.key("Shift_L", press=True)
        assert until(lambda: guard.check(Action(1), 0, frame(), 0) is None)
        assert interlock.submit(Action(buttons=LEFT), frame())
        assert until(lambda: screen.buttons() == LEFT)
        screen.key(key, press=True)
        screen.key(key, press=False)
        assert until(lambda: bool(stop))
        assert until(lambda: screen.buttons() == 0)
        assert stop.reason == f"the panic key ({name})"
        before = screen.pointer()
        assert not interlock.submit(Action(50, buttons=LEFT), frame())
        time.sleep(0.05)
        assert (screen.pointer(), screen.buttons()) == (before, 0)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"arm": "hyper9"}, 'arm-key: arm: there is no key "hyper9"; use one character or one of: .*shift'),
        ({"arm": "x", "panic": "x"}, "the arm key and the panic key are both 'x'"),
    ],
)
def test_keys_that_cannot_be(screen: Screen, settings: dict, says: str) -> None:
    with pytest.raises(UserError, match=says), armed(screen, **settings):
        pass


def test_only_while_the_window_has_the_focus(screen: Screen) -> None:
    from plugins.guard.window_title import Settings as TitleSettings
    from plugins.guard.window_title import WindowTitleGuard

    game = screen.window("Doom Shareware", 0, 0, 50, 50, 0)
    guard = WindowTitleGuard(TitleSettings(title="doom", interval_ms=5), context())
    try:
        assert guard.check(Action(1), 0, frame(), 0) is None
        other = screen.window("Mail", 60, 0, 50, 50, 0)
        assert until(lambda: guard.check(Action(1), 0, frame(), 0) == "the focused window is not 'doom'")
        other.destroy()
        game.destroy()
        screen.display.sync()
        assert guard.check(Action(1), 0, frame(), 0) is not None
    finally:
        guard.close()


@posix
@pytest.mark.parametrize("what", ["capture", "mouse", "pynput", "arm key", "window"])
def test_without_a_display_one_sentence_says_so(what: str) -> None:
    code = {
        "capture": "from plugins.capture.mss import *; mss_capture(Settings(), context())",
        "mouse": "from plugins.actuation.mouse import *; make_mouse(None, context())",
        "pynput": "from plugins.actuation.pynput import *; PynputActuation(None, context())",
        "arm key": "from plugins.guard.arm_key import *; ArmKeyGuard(Settings(), context())",
        "window": "from plugins.desktop.windows import *; FocusedWindow()",
    }[what]
    program = (
        "from tests.agent.fakes import context\nfrom core.errors import UserError\n"
        f"try:\n    {code.replace('; ', chr(10) + '    ')}\nexcept UserError as error:\n    print(error)\n"
    )
    program = program.replace("import *", "import " + {
        "capture": "mss_capture, Settings", "mouse": "make_mouse", "pynput": "PynputActuation",
        "arm key": "ArmKeyGuard, Settings", "window": "FocusedWindow",
    }[what])  # fmt: skip
    for value in ({}, {"DISPLAY": ":987"}):
        env = {key: v for key, v in os.environ.items() if key != "DISPLAY"} | value
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
        assert "display" in done.stdout.lower() or "install X11's libraries" in done.stdout


def test_idle_between_presses_lets_the_real_button_go(screen: Screen) -> None:
    mouse = XTestMouse(60_000)
    interlock = Interlock(mouse, StopFlag())
    interlock.submit(Action(buttons=LEFT), frame())
    assert until(lambda: screen.buttons() == LEFT)
    interlock.submit(IDLE, frame())
    assert until(lambda: screen.buttons() == 0)
    mouse.close()
