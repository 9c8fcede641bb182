"""Fetching official models: weights checked against their sha256, resumed where they broke off."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pooch
import requests

from conversion.bundle import check_out, make_bundle
from core.errors import UserError
from core.progress import Progress, silent
from engine.darknet import parse_cfg
from engine.models import ModelFiles

TIMEOUT_S = 30
CHUNK = 1 << 16
"""Bytes; what a broken connection loses is less than one."""


@dataclass(frozen=True)
class Official:
    """Where a model's files are published."""

    weights: str
    sha256: str
    cfg: str
    mask: tuple[str, str] | None = None
    """A line of the published cfg that is wrong for its weights, and the right one."""


_RELEASES = "https://github.com/AlexeyAB/darknet/releases/download"
_CFG = "https://raw.githubusercontent.com/AlexeyAB/darknet/master/cfg"

OFFICIAL = {
    "yolov4": Official(
        f"{_RELEASES}/darknet_yolo_v3_optimal/yolov4.weights",
        "e8a4f6c62188738d86dc6898d82724ec0964d0eb9d2ae0f0a9d53d65d108d562",
        f"{_CFG}/yolov4.cfg",
    ),
    "yolov4-tiny": Official(
        f"{_RELEASES}/darknet_yolo_v4_pre/yolov4-tiny.weights",
        "cf9fbfd0f6d4869b35762f56100f50ed05268084078805f0e7989efe5bb8ca87",
        f"{_CFG}/yolov4-tiny.cfg",
    ),
    "yolov3": Official(
        "https://pjreddie.com/media/files/yolov3.weights",
        "523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297",
        f"{_CFG}/yolov3.cfg",
    ),
    "yolov3-tiny": Official(
        "https://pjreddie.com/media/files/yolov3-tiny.weights",
        "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
        f"{_CFG}/yolov3-tiny.cfg",
        # The weights were trained with the second head on anchors 1, 2, 3.
        mask=("0,1,2", "1,2,3"),
    ),
}


def fetch(name: str, out: Path, progress: Progress, official: dict[str, Official] = OFFICIAL) -> Path:
    """Download a model into a bundle and return its folder.

    What has arrived is kept beside `out` until it is complete, so that a second call goes on from there.

    :raises UserError: the name is not known, the server cannot be reached or answers with an error, or
        what arrived is not the file that was published.
    """
    model = official.get(name)
    if model is None:
        raise UserError(f'there is no official model "{name}"; there are: {", ".join(official)}')
    pooch.get_logger().setLevel("WARNING")  # the progress says it better
    folder = out.parent / f".fetch-{name}"
    check_out(out)
    weights = _retrieve(model.weights, f"sha256:{model.sha256}", folder, f"{name}.weights", progress)
    for stale in (folder / f"{name}.cfg", folder / f"{name}.cfg.part"):
        stale.unlink(missing_ok=True)  # it has no hash to tell a good one by, and is small
    cfg = _retrieve(model.cfg, None, folder, f"{name}.cfg", silent)
    if model.mask is not None:
        _correct_mask(cfg, model.mask)
    bundle = make_bundle(ModelFiles(cfg, weights), out, source=f"{model.weights}, {model.cfg}")
    for file in (weights, cfg):
        file.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
    return bundle


def _retrieve(url: str, known_hash: str | None, folder: Path, name: str, progress: Progress) -> Path:
    try:
        path = pooch.retrieve(
            url, known_hash, fname=name, path=folder, downloader=_Resuming(folder / f"{name}.part", progress)
        )
    except ValueError as error:  # pooch's word for a hash that differs
        (folder / f"{name}.part").unlink(missing_ok=True)
        raise UserError(
            f"{url}: what arrived is not the published file (its sha256 differs); try again, and if it stays "
            "so, the file at that address has changed"
        ) from error
    except requests.HTTPError as error:
        raise UserError(f"{url}: the server answered {error.response.status_code}; try again later") from error
    except (requests.RequestException, OSError) as error:
        raise UserError(
            f"{url}: the download broke off ({type(error).__name__}); run the command again to go on with it, or get "
            "the cfg and weights elsewhere and make the bundle of them with `convert --cfg FILE --weights FILE --out "
            "models/NAME`"
        ) from error
    return Path(path)


class _Resuming:
    """A pooch downloader that goes on where the last one stopped."""

    def __init__(self, part: Path, progress: Progress) -> None:
        self._part = part
        self._progress = progress

    def __call__(self, url: str, output_file: str | IO[bytes], pooch: Any) -> None:
        have = self._part.stat().st_size if self._part.is_file() else 0
        # A compressed answer could not be gone on with.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                pass  # all of it is here
            else:
                answer.raise_for_status()
                resumed = answer.status_code == requests.codes.partial_content
                self._receive(answer, have if resumed else 0)
        self._part.replace(str(output_file))

    def _receive(self, answer: requests.Response, done: int) -> None:
        length = int(answer.headers.get("Content-Length", 0))
        total = done + length if length else 0
        with self._part.open("ab" if done else "wb") as file:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                done += len(chunk)
                self._progress(f"{self._part.stem}, KB", done // 1024, total // 1024)
        if total and done < total:
            raise requests.ConnectionError(f"{done} of {total} bytes arrived")


def _correct_mask(cfg: Path, mask: tuple[str, str]) -> None:
    wrong, right = mask
    text = cfg.read_text(encoding="utf-8")
    head, _, tail = text.rpartition("[yolo]")
    lines = [f"mask = {right}" if line.replace(" ", "") == f"mask={wrong}" else line for line in tail.splitlines()]
    corrected = "\n".join([f"{head}[yolo]{lines[0]}", *lines[1:]]) + "\n"
    parse_cfg(corrected, str(cfg))
    cfg.write_text(corrected, encoding="utf-8")
