import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from engine.darknet import parse_cfg, random_weights, read_cfg, read_weights, write_weights
from tests.networks import CFG, small, small_files

# Floats that the official weights hold, by Darknet's own count of each cfg.
FLOATS = {
    "yolov3": 62_001_757,
    "yolov3-tiny": 8_858_734,
    "yolov4": 64_429_405,
    "yolov4-tiny": 6_062_814,
}


@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp", "yolov3-tiny", "yolov4", "yolov4-tiny"])
def test_reads_official_cfgs(data: Path, name: str) -> None:
    network = read_cfg(data / "cfg" / f"{name}.cfg")
    assert network.classes == 80
    assert network.floats == FLOATS.get(name, network.floats)
    for head in network.heads:
        assert network.layers[head.index].shape[2] == len(head.anchors) * 85


def test_reads_every_cfg_there_is(data: Path) -> None:
    cfgs = sorted((data / "cfg").glob("*.cfg"))
    assert len(cfgs) >= 8
    assert all(read_cfg(cfg).heads for cfg in cfgs)


def test_heads_of_yolov4_tiny(data: Path) -> None:
    first, second = read_cfg(data / "cfg" / "yolov4-tiny.cfg").heads
    assert first.anchors == ((81, 82), (135, 169), (344, 319))
    assert second.anchors == ((23, 27), (37, 58), (81, 82))
    assert (first.scale_x_y, first.new_coords) == (1.05, False)


def test_size_overrides_the_cfg(tmp_path: Path) -> None:
    cfg, _, _ = small_files(tmp_path)
    network = read_cfg(cfg, (128, 32))
    assert (network.width, network.height) == (128, 32)
    assert network.layers[0].shape == (16, 64, 8)


def test_real_weights_come_back_bit_exact(data: Path, tmp_path: Path) -> None:
    network = read_cfg(data / "cfg" / "yolov4-tiny.cfg")
    original = data / "weights" / "yolov4-tiny.weights"
    write_weights(tmp_path / "copy.weights", network, read_weights(original, network))
    assert (tmp_path / "copy.weights").read_bytes() == original.read_bytes()


@pytest.mark.parametrize(("version", "seen"), [((0, 1, 0), 7), ((0, 2, 5), 1 << 40), ((1, 0, 0), 3)])
def test_weights_of_each_header_come_back(tmp_path: Path, version: tuple[int, int, int], seen: int) -> None:
    network, weights = small()
    weights = dataclasses.replace(weights, version=version, seen=seen)
    write_weights(tmp_path / "w", network, weights)
    back = read_weights(tmp_path / "w", network)
    assert (back.version, back.seen) == (version, seen)
    for mine, theirs in zip(back.arrays, weights.arrays, strict=True):
        assert all(np.array_equal(mine[key], theirs[key]) for key in theirs)


def test_order_within_a_layer(tmp_path: Path) -> None:
    network = parse_cfg(
        "[net]\nwidth=32\nheight=32\n[convolutional]\nbatch_normalize=1\nfilters=6\nsize=1\nactivation=linear\n"
        "[yolo]\nanchors=1,1\nclasses=1\nnum=1\n"
    )
    values = np.arange(network.floats, dtype="<f4")
    (tmp_path / "w").write_bytes(struct.pack("<3iq", 0, 2, 0, 0) + values.tobytes())
    (arrays,) = read_weights(tmp_path / "w", network).arrays
    for i, key in enumerate(("beta", "gamma", "mean", "variance")):
        assert arrays[key].tolist() == list(range(6 * i, 6 * i + 6))
    assert arrays["kernel"].shape == (6, 3, 1, 1)
    assert arrays["kernel"].ravel().tolist() == list(range(24, 42))


def rewritten(old: str, new: str) -> str:
    assert old in CFG
    return CFG.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (rewritten("[upsample]", "[batchnorm]"), None, "[batchnorm] is not a layer of YOLOv3 or YOLOv4"),
        (rewritten("[upsample]", "[crnn]"), None, "[crnn] remembers the pictures before"),
        (rewritten("activation=mish", "activation=gelu"), 16, "activation=gelu"),
        (rewritten("filters=8", "filters=eight"), 8, 'filters="eight" is not a number'),
        (rewritten("filters=21", "filters=255"), None, "needs 3 x (5 + 2) = 21 channels and gets 255"),
        (rewritten("layers=-1,-2", "layers=-40"), None, "names layer -40, which is not before it"),
        (rewritten("layers = -1, 5", "layers = -1, 0"), None, "joins layers of different size"),
        (rewritten("group_id=1", "group_id=2"), None, "groups=2, group_id=2"),
        (rewritten("mask = 3,4,5", "mask = 3,4,6"), None, "which do not go together"),
        (rewritten("anchors = 4,6", "anchors = 0,6"), None, "has anchors that are not above 0"),
        (rewritten("anchors = 4,6", "anchors = nan,6"), None, "is not a list of numbers"),
        (rewritten("scale_x_y = 1.05", "scale_x_y = inf"), None, 'scale_x_y="inf" is not a number'),
        (rewritten("scale_x_y = 1.05", "scale_x_y = -1"), None, "has scale_x_y=-1"),
        (rewritten("filters=8", f"filters={2**63}"), 8, "is not a number"),
        (rewritten("filters=8", "filters=2147483647"), 8, "has more values than any machine holds"),
        (rewritten("filters=8", f"filters={'9' * 5000}"), 8, '999..." is not a number'),
        (rewritten("height=96", ""), 2, "needs the option height"),
        (rewritten("width=64", "width=0"), 2, "must be a picture"),
        (CFG.split("[yolo]")[0], 2, "has no [yolo] layer"),
        ("", 1, "begins with [net]"),
        ("hello", 1, "neither a [section] nor an option"),
        ("[net\nwidth=3", 1, "neither a [section] nor an option"),
    ],
)
def test_says_what_is_wrong_with_a_cfg(text: str, line: int | None, says: str) -> None:
    with pytest.raises(UserError) as error:
        parse_cfg(text, "my.cfg")
    message = str(error.value)
    assert says in message
    assert message.startswith(f"my.cfg:{line}:" if line else "my.cfg:")
    assert "\n" not in message


@given(st.text(max_size=200) | st.lists(st.sampled_from(CFG.splitlines()), max_size=60).map("\n".join))
def test_any_text_is_a_network_or_one_error(text: str) -> None:
    try:
        network = parse_cfg(text)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert network.heads


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b[:-4], "too short"),
        (lambda b: b[:-3], "1 are left over"),
        (lambda b: b + b"\0\0\0\0", "too long"),
        (lambda b: b + b"\0", "1 are left over"),
        (lambda b: b[:10], "too short to be a weights file"),
        (lambda b: b"\xff" * len(b), "not a Darknet weights file"),
        (lambda b: b[:20] + b"\xff" * 200 + b[220:], "are not those of a trained"),
        (lambda b: b[:-4] + struct.pack("<f", 3e38), "a value that is no number or too large"),
        (lambda b: b[:12] + struct.pack("<q", -1) + b[20:], "it says that it has seen -1 images"),
    ],
)
def test_says_what_is_wrong_with_weights(tmp_path: Path, change, says: str) -> None:
    cfg, weights, _ = small_files(tmp_path)
    weights.write_bytes(change(weights.read_bytes()))
    with pytest.raises(UserError, match=says) as error:
        read_weights(weights, read_cfg(cfg))
    assert str(weights) in str(error.value)


def test_weights_of_another_cfg(data: Path) -> None:
    network = read_cfg(data / "cfg" / "yolov4-tiny.cfg")
    with pytest.raises(UserError, match="too long for .*yolov4-tiny.cfg: it needs 6,062,814 numbers"):
        read_weights(data / "weights" / "yolov3-tiny.weights", network)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    network, weights = small()
    path = tmp_path / "w"
    write_weights(path, network, weights)
    before = path.read_bytes()
    weights.arrays[-1]["beta"] = np.zeros(3, np.float32)
    with pytest.raises(UserError, match=r"expected \(21,\), got \(3,\)"):
        write_weights(path, network, weights)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_random_weights_are_the_same_for_a_seed() -> None:
    network, weights = small(3)
    again = random_weights(network, 3)
    assert all(np.array_equal(a["kernel"], b["kernel"]) for a, b in zip(again.arrays, weights.arrays, strict=True))
