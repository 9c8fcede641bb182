"""The capture of network streams, on a real one: MJPEG over HTTP from this machine."""

import http.server
import itertools
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from core.errors import UserError
from plugins.capture.stream import Settings, StreamCapture
from tests.agent.fakes import context


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends pictures whose grey value rises, and breaks off after `frames` of them."""

    frames = 15

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for i in range(self.frames):
            picture = np.full((64, 96, 3), 10 * (i + 1), np.uint8)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
            self.wfile.write(data + b"\r\n")
            time.sleep(0.01)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/video.mjpg"
    server.shutdown()
    server.server_close()


def test_a_stream_that_breaks_off_is_opened_again_until_it_stays_away(address: str) -> None:
    capture = StreamCapture(Settings(source=address, reconnect_s=5), context(lock_step=False))
    frames = [capture.grab() for _ in range(Camera.frames + 5)]
    assert all(frame is not None and frame.pixels.shape == (64, 96, 3) for frame in frames)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    greys = [int(frame.pixels[32, 48, 0]) for frame in frames]
    assert sorted(greys) != greys, "it began anew"
    assert all(b.grab_ns > a.grab_ns for a, b in itertools.pairwise(frames))
    capture.close()
    assert capture.grab() is None


def test_a_stream_that_ends_ends_the_run(address: str) -> None:
    capture = StreamCapture(Settings(source=address, reconnect_s=0), context(lock_step=False))
    count = 0
    while capture.grab() is not None:
        count += 1
    assert 1 <= count <= Camera.frames
    capture.close()


def test_a_source_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"rtsp://127.0.0.1:9/x: no picture came within 1 s; is the device or stream"):
        StreamCapture(Settings(source="rtsp://127.0.0.1:9/x", timeout_s=1), context(lock_step=False))
    with pytest.raises(UserError, match="no picture came"):
        StreamCapture(Settings(source=97, timeout_s=1), context(lock_step=False))
    with pytest.raises(UserError, match="the capture stream is live"):
        StreamCapture(Settings(source=0), context(lock_step=True))
