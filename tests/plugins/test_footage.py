from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import UserError
from plugins.capture.footage import FootageCapture, Settings
from tests.agent.fakes import context


def video(path: Path, count: int = 20, fps: float = 50.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for i in range(count):
        writer.write(np.full((48, 64, 3), 10 * i % 250, np.uint8))
    writer.release()
    return path


def capture(path: Path, lock_step: bool = True, **settings: object) -> FootageCapture:
    return FootageCapture(Settings(path=path, **settings), context(lock_step=lock_step))


def play(footage: FootageCapture) -> list:
    frames = []
    while (frame := footage.grab()) is not None:
        frames.append(frame)
    footage.close()
    return frames


def test_a_video_gives_all_its_frames_in_order(tmp_path: Path) -> None:
    frames = play(capture(video(tmp_path / "v.avi")))
    assert [frame.index for frame in frames] == list(range(20))
    levels = [float(frame.pixels.mean()) for frame in frames]
    np.testing.assert_allclose(levels, [10 * i for i in range(20)], atol=2)


def test_real_footage_has_all_its_frames(data: Path) -> None:
    frames = play(capture(data / "footage" / "road-38-frames.mp4"))
    assert len(frames) == 38
    assert frames[0].pixels.dtype == np.uint8


def test_a_folder_gives_its_images_sorted(tmp_path: Path) -> None:
    for i in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((4, 4 + i, 3), i, np.uint8))
    (tmp_path / "notes.txt").write_text("x")
    assert [frame.pixels.shape for frame in play(capture(tmp_path))] == [(4, 4, 3), (4, 5, 3), (4, 6, 3)]


def test_live_keeps_the_videos_own_pace(tmp_path: Path) -> None:
    frames = play(capture(video(tmp_path / "v.avi", 10, fps=50), lock_step=False))
    took_s = (frames[-1].grab_ns - frames[0].grab_ns) / 1e9
    assert took_s >= 9 / 50 - 0.002
    frames = play(capture(tmp_path / "v.avi", lock_step=False, fps=25))
    assert (frames[-1].grab_ns - frames[0].grab_ns) / 1e9 >= 9 / 25 - 0.002


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --footage FILE_OR_FOLDER, or capture.path"):
        FootageCapture(Settings(), context())
    with pytest.raises(UserError, match=r"none.mp4: there is no such footage"):
        capture(tmp_path / "none.mp4")
    with pytest.raises(UserError, match="there are no images in this folder"):
        capture(tmp_path)
    (tmp_path / "x.mp4").write_bytes(b"this is no video" * 100)
    with pytest.raises(UserError, match=r"x.mp4: this video cannot be read"):
        capture(tmp_path / "x.mp4")
    (tmp_path / "y.png").write_bytes(b"neither is this an image")
    with pytest.raises(UserError, match=r"y.png: this is no image or is damaged"):
        capture(tmp_path).grab()


def test_a_video_that_is_cut_short_says_after_how_many_frames(tmp_path: Path) -> None:
    whole = video(tmp_path / "v.avi", 60).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    footage = capture(tmp_path / "cut.avi")
    count = 0
    with pytest.raises(
        UserError, match=r"cut.avi: the video breaks off after (\d+) frames: the file is cut short"
    ) as error:
        while footage.grab() is not None:
            count += 1
    assert f"after {count} frames" in str(error.value)
    assert 10 < count < 60
