import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conversion.fetch import OFFICIAL, Official, fetch
from core.errors import UserError
from engine.models import find
from tests.networks import CFG, small_files


class Server(http.server.ThreadingHTTPServer):
    """Serves files from memory, understands ranges, and can break off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.break_after: int | None = None
        self.ranges: list[str | None] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content = self.server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        start = 0
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if wanted:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content) if self.server.break_after is None else start + self.server.break_after
        self.wfile.write(content[start:end])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "published").mkdir()
    _, weights, _ = small_files(tmp_path / "published")
    server.files = {"x.weights": weights.read_bytes(), "x.cfg": CFG.encode()}
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def table(server: Server, **changes: object) -> dict[str, Official]:
    digest = hashlib.sha256(server.files["x.weights"]).hexdigest()
    values = {"weights": server.url("x.weights"), "sha256": digest, "cfg": server.url("x.cfg"), **changes}
    return {"x": Official(**values)}


def test_fetches_into_a_bundle_and_says_how_far(server: Server, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    out = fetch("x", tmp_path / "models" / "x", lambda what, done, total: steps.append((done, total)), table(server))
    assert find(str(out)).size == (64, 96)
    size = len(server.files["x.weights"])
    assert steps[-1] == (size // 1024, size // 1024)
    assert [p.name for p in out.parent.iterdir()] == ["x"]


def test_goes_on_where_it_broke_off(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conversion.fetch.CHUNK", 1000)
    out = tmp_path / "models" / "x"
    server.break_after = 2000
    for _ in range(2):
        with pytest.raises(UserError, match="the download broke off .* run the command again"):
            fetch("x", out, lambda *_: None, table(server))
    assert not out.exists()
    server.break_after = None
    fetch("x", out, lambda *_: None, table(server))
    assert server.ranges[:3] == [None, "bytes=2000-", "bytes=4000-"]
    assert (out / "network.weights").read_bytes() == server.files["x.weights"]


def test_a_file_with_another_hash_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sha256 differs"):
        fetch("x", tmp_path / "models" / "x", lambda *_: None, table(server, sha256="0" * 64))
    left = [p.name for p in (tmp_path / "models").rglob("*") if p.is_file()]
    assert left == []


@pytest.mark.parametrize("change", [{"weights": "none"}, {"cfg": "none"}])
def test_a_file_that_is_not_there(server: Server, tmp_path: Path, change: dict[str, str]) -> None:
    absent = {key: server.url(value) for key, value in change.items()}
    with pytest.raises(UserError, match="the server answered 404"):
        fetch("x", tmp_path / "models" / "x", lambda *_: None, table(server, **absent))
    # The weights that did arrive are not fetched again.
    server.ranges.clear()
    fetch("x", tmp_path / "models" / "x", lambda *_: None, table(server))
    assert len(server.ranges) == (1 if "cfg" in change else 2)


def test_a_wrong_mask_is_put_right(server: Server, tmp_path: Path) -> None:
    from engine.darknet import read_cfg

    out = fetch("x", tmp_path / "x", lambda *_: None, table(server, mask=("0,1,2", "1,2,3")))
    first, second = read_cfg(out / "network.cfg").heads
    assert first.anchors[0] == (16, 16)
    assert second.anchors[0] == (8, 12)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    nowhere = Official("http://127.0.0.1:9/x.weights", "0" * 64, "http://127.0.0.1:9/x.cfg")
    with pytest.raises(UserError, match="the download broke off"):
        fetch("x", tmp_path / "x", lambda *_: None, {"x": nowhere})
    with pytest.raises(UserError, match='no official model "y"; there are: x'):
        fetch("y", tmp_path / "y", lambda *_: None, {"x": nowhere})


def test_official_addresses_are_complete() -> None:
    assert set(OFFICIAL) == {"yolov4", "yolov4-tiny", "yolov3", "yolov3-tiny"}
    for model in OFFICIAL.values():
        assert model.weights.startswith("https://")
        assert len(model.sha256) == 64
