import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from agent.types import IDLE, LEFT, Action
from core.errors import UserError
from plugins.doom.capture import DoomCapture
from plugins.doom.game import Settings, truth
from tests.agent.fakes import context
from tests.conftest import FIXED, ROOT
from tests.desktop import posix


def play(seed: int, actions: list[Action], **settings: object) -> tuple[list[bytes], list[list], DoomCapture]:
    doom = DoomCapture(Settings(**settings), context(seed=seed))
    try:
        pictures, boxes = [], []
        for action in actions:
            frame = doom.grab()
            pictures.append(frame.pixels.tobytes())
            boxes.append(doom.truth(frame).xyxy.tolist())
            doom.apply(action)
        return pictures, boxes, doom
    finally:
        doom.close()


@pytest.mark.slow
def test_the_same_seed_and_actions_give_the_same_frames_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    actions = [Action(int(rng.integers(-50, 50)), 0, LEFT * int(rng.integers(0, 2))) for _ in range(120)]
    one, boxes, _ = play(7, actions)
    two, boxes_too, _ = play(7, actions)
    other, _, _ = play(8, actions)
    assert one == two
    assert boxes == boxes_too
    assert one != other
    assert any(boxes)


def test_counts_turn_by_degrees() -> None:
    """A full turn by counts shows the same walls again; half of one does not."""
    counts = round(360 / (24 * 360 / 65536))
    doom = DoomCapture(Settings(scenario="basic"), context(seed=1))
    try:
        first = doom.grab().pixels.copy()
        doom.apply(Action(counts // 2))
        half = doom.grab().pixels.copy()
        doom.apply(Action(counts - counts // 2))
        whole = doom.grab().pixels.copy()
    finally:
        doom.close()
    same = np.abs(first.astype(int) - whole).mean()
    assert same < 2 < 10 < np.abs(first.astype(int) - half).mean()


def test_a_shot_is_counted_and_an_idle_tic_is_not() -> None:
    actions = [IDLE] * 20 + [Action(buttons=LEFT)] * 60 + [IDLE] * 20
    doom = DoomCapture(Settings(), context(seed=1, episodes=1))
    try:
        shots, ammo = [], []
        for action in actions:
            frame = doom.grab()
            doom.apply(action)
            shots.append(doom._current.scores.get("shots", 0))
            ammo.append(doom._states[frame].game_variables[-1])
    finally:
        doom.close()
    assert shots[20] == 0
    assert 3 <= shots[-1] == ammo[0] - ammo[-1]


def test_the_frames_end_after_the_episodes_and_each_has_its_seed() -> None:
    doom = DoomCapture(Settings(tics=35), context(seed=5, episodes=2))
    try:
        count = 0
        while (frame := doom.grab()) is not None:
            count += 1
            assert frame.index == count - 1
    finally:
        doom.close()
    assert [(e.scenario, e.seed) for e in doom.episodes] == [("defend_the_center", 5), ("defend_the_center", 6)]
    assert all(e.scores["tics"] > 100 for e in doom.episodes)
    assert all(set(e.scores) == {measure.name for measure in doom.measures} for e in doom.episodes)


@pytest.mark.slow
def test_an_action_given_from_another_thread_is_never_lost() -> None:
    """Live, the loop gives actions while the capture's thread takes them: each is taken once, or replaced."""
    doom = DoomCapture(Settings(), context(seed=1))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that threads take turns between any two statements
    try:
        doom.grab()
        taken: list[Action] = []
        ended = threading.Event()

        def take() -> None:
            while not ended.is_set():
                taken.append(doom._take())

        thread = threading.Thread(target=take)
        thread.start()
        given = range(1, 1001)
        for dx in given:
            doom.apply(Action(dx))
            while doom._pending.dx == dx:  # until it is taken
                pass
        ended.set()
        thread.join()
    finally:
        sys.setswitchinterval(before)
        doom.close()
    assert [action.dx for action in taken if action.dx] == list(given)


def test_truth_is_tightened_to_what_shows() -> None:
    class Label:
        def __init__(self, value: int, category: str, name: str, box: tuple[int, int, int, int]) -> None:
            self.value, self.object_category, self.object_name = value, category, name
            self.x, self.y, self.width, self.height = box

    buffer = np.zeros((100, 100), np.uint8)
    buffer[10:40, 10:30] = 1
    buffer[50:90, 50:80] = 2
    buffer[50:90, 60:80] = 3  # nearer
    buffer[5:45, 50:70] = 5
    labels = [
        Label(1, "Monster", "Demon", (5, 5, 30, 40)),
        Label(2, "Player", "DoomPlayer", (50, 50, 30, 40)),
        Label(3, "Gore", "DeadDemon", (60, 50, 20, 40)),
        Label(4, "Monster", "DoomImp", (0, 0, 20, 20)),  # nothing of it shows
        Label(1, "Monster", "Demon", (25, 5, 30, 40)),  # too little of it shows
        Label(5, "Monster", "MarineChainsawVzd", (50, 5, 20, 40)),  # a monster that looks like a player
    ]
    found = truth(labels, buffer)
    assert found.xyxy.tolist() == [[10, 10, 30, 40], [50, 50, 60, 90], [50, 5, 70, 45]]
    assert found.class_id.tolist() == [0, 1, 1]
    assert len(truth([], buffer)) == 0


def test_truth_boxes_hold_the_monsters_pixels() -> None:
    doom = DoomCapture(Settings(), context(seed=3))
    try:
        checked = 0
        for _ in range(60):
            frame = doom.grab()
            doom.apply(Action(40))
            state = doom._states[frame]
            buffer = state.labels_buffer
            values = {label.value for label in state.labels if label.object_category == "Monster"}
            for x1, y1, x2, y2 in doom.truth(frame).xyxy.astype(int).tolist():
                inside = buffer[y1:y2, x1:x2]
                edges = [inside[0], inside[-1], inside[:, 0], inside[:, -1]]
                assert any(all((edge == v).any() for edge in edges) for v in values)
                checked += 1
        assert checked > 20
    finally:
        doom.close()


def test_scenarios_that_are_not_there(tmp_path) -> None:
    with pytest.raises(UserError, match='no Doom scenario "doom9"; ViZDoom has: basic, '):
        DoomCapture(Settings(scenario="doom9"), context())
    with pytest.raises(UserError, match=r"mine.cfg: there is no such scenario file"):
        DoomCapture(Settings(scenario="mine.cfg"), context(folder=tmp_path))
    (tmp_path / "mine.cfg").write_text("what = is this\n")
    with pytest.raises(UserError, match=r"mine.cfg"):
        DoomCapture(Settings(scenario="mine.cfg"), context(folder=tmp_path))


def test_nothing_is_left_in_the_working_folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    play(1, [IDLE] * 3)
    assert list(tmp_path.iterdir()) == []


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
@pytest.mark.slow
def test_a_signal_ends_the_game_and_its_process(tmp_path, name: str) -> None:
    number = getattr(signal, name)
    report = tmp_path / "r.json"
    agent = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "agent.py"),
            "--profile",
            "doom.yaml",
            *FIXED,
            "--episodes",
            "500",
            "--report",
            str(report),
        ],
        cwd=tmp_path,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    process = psutil.Process(agent.pid)
    engine = None
    for _ in range(600):
        games = [p for p in process.children() if p.name() == "vizdoom"]
        if games and engine is not None and time.time() - engine.create_time() > 1.5:
            break
        engine = games[0] if games else None
        time.sleep(0.05)
    assert engine is not None
    agent.send_signal(number)
    output, _ = agent.communicate(timeout=30)
    if number == signal.SIGKILL:
        psutil.wait_procs([engine], timeout=10)
    else:
        assert agent.returncode == 128 + number
        assert "Traceback" not in output
        assert "latency, ms" in output
        assert report.is_file()
    assert not engine.is_running()
