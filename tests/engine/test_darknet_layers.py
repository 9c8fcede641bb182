"""Layers of the YOLOv3 and YOLOv4 families beside those of yolov4.cfg, against their formulas written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import UserError
from engine.darknet import parse_cfg, random_weights, read_weights, write_weights
from engine.engine import Model, load_engine
from engine.network import Network, Weights

NET = "[net]\nwidth=32\nheight=48\nchannels=3\n"
CONV = "[convolutional]\nfilters={}\nsize=1\nstride=1\nactivation=linear\n"
HEAD = CONV.format(18) + "[yolo]\nanchors=4,4, 8,8, 12,12\nclasses=1\nnum=3\n"


def made(middle: str) -> tuple[Network, Weights]:
    network = parse_cfg(NET + middle + HEAD)
    return network, random_weights(network, 5)


def run(network: Network, weights: Weights, engine: str, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the head, (channels, h, w)."""
    loaded = load_engine(engine, Model(network, weights))
    loaded.input[...] = image[None] if loaded.layout == "NCHW" else image.transpose(1, 2, 0)[None]
    return np.array(loaded.infer()[0].transpose(2, 0, 1))


def conv1(x: NDArray[np.float64], arrays: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    """A 1x1 convolution without batch norm."""
    kernel = arrays["kernel"][:, :, 0, 0].astype(np.float64)
    return np.tensordot(kernel, x, 1) + arrays["beta"][:, None, None]


def pooled(
    x: NDArray[np.float64], size: int, strides: tuple[int, int], padding: int, mean: bool
) -> NDArray[np.float64]:
    channels, height, width = x.shape
    down, across = ((n + padding - size) // s + 1 for n, s in zip((height, width), strides, strict=True))
    out = np.zeros((channels, down, across))
    for i in range(down):
        for j in range(across):
            y, z = i * strides[0] - padding // 2, j * strides[1] - padding // 2
            cells = x[:, max(y, 0) : y + size, max(z, 0) : z + size].reshape(channels, -1)
            out[:, i, j] = cells.mean(axis=1) if mean else cells.max(axis=1)
    return out


def blurred(x: NDArray[np.float64], kind: int, strides: tuple[int, int]) -> NDArray[np.float64]:
    side = np.array((1, 2, 1) if kind == 1 else (1, 1), float)
    kernel = np.outer(side, side) / side.sum() ** 2
    pad = 1 if kind == 1 else 0
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    down, across = ((n + 2 * pad - len(side)) // s + 1 for n, s in zip(x.shape[1:], strides, strict=True))
    out = np.zeros((len(x), down, across))
    for i in range(down):
        for j in range(across):
            y, z = i * strides[0], j * strides[1]
            out[:, i, j] = (padded[:, y : y + len(side), z : z + len(side)] * kernel).sum(axis=(1, 2))
    return out


def first(value: NDArray[np.float64], wanted: int) -> NDArray[np.float64]:
    out = np.zeros((wanted, *value.shape[1:]))
    out[: min(wanted, len(value))] = value[:wanted]
    return out


ACTIVATIONS = {
    "relu6": lambda x: np.clip(x, 0, 6),
    "hard_mish": lambda x: np.where(x > 0, x, np.where(x > -2, x * x / 2 + x, 0)),
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "selu": lambda x: 1.0507 * np.where(x > 0, x, 1.6732 * (np.exp(np.minimum(x, 0)) - 1)),
    "tanh": np.tanh,
    "hardtan": lambda x: np.clip(x, -1, 1),
}
TWO = CONV.format(8) + CONV.format(4) + "[route]\nlayers=-2\n"
"""Layers 0 of 8 channels, 1 of 4, and 2, which is 0 again."""


def expected(name: str, x: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """Return what goes into the last convolution."""
    a = conv1(x, weights.arrays[0])
    b = conv1(a, weights.arrays[1]) if len(weights.arrays) > 2 else a
    share = weights.fusions.get(3)
    if name in ACTIVATIONS:
        return np.asarray(ACTIVATIONS[name](a))
    return {
        "fewer channels": lambda: a + first(b, 8),
        "more channels": lambda: b + a[:4],
        "three layers": lambda: a + first(b, 8) + a,
        "shortcut, leaky": lambda: np.where(a + a > 0, 2 * a, 0.2 * a),
        "per_feature": lambda: a * share[0] + first(b, 8) * share[1],
        "per_channel, softmax": lambda: _softmax(share.reshape(2, 8), a, first(b, 8)),
        "per_layer, relu": lambda: (a * share[0] + first(b, 8) * share[1]) / (share.sum() + 1e-4),
        "dropout": lambda: a,
        "upsample, scale": lambda: 0.5 * a.repeat(2, axis=1).repeat(2, axis=2),
        "sam": lambda: a * (a * 1),
        "avgpool, scale_channels": lambda: a * b.mean(axis=(1, 2), keepdims=True),
        "scale_wh": lambda: a * b,
        "local_avgpool": lambda: pooled(a, 3, (2, 2), 2, mean=True),
        "maxpool 3, stride 2": lambda: pooled(a, 3, (2, 2), 2, mean=False),
        "maxpool, padding": lambda: pooled(a, 4, (2, 2), 1, mean=False),
        "maxpool, strides": lambda: pooled(a, 2, (1, 2), 1, mean=False),
        "maxpool, antialiasing": lambda: blurred(pooled(a, 2, (1, 1), 1, mean=False), 1, (2, 2)),
        "maxpool, antialiasing 2": lambda: blurred(pooled(a, 2, (1, 1), 1, mean=False), 2, (2, 2)),
        "maxpool_depth": lambda: np.maximum(a[:4], a[4:]),
        "conv, antialiasing": lambda: blurred(np.maximum(b, 0.1 * b), 1, (2, 1)),
        "conv, strides": lambda: b[:, ::2, :],
    }[name]()


def _softmax(table: NDArray[np.float32], *parts: NDArray[np.float64]) -> NDArray[np.float64]:
    table = table.astype(np.float64)
    table = np.exp(table - table.max(axis=0))
    shares = table / (table.sum(axis=0) + 1e-4)
    return sum(share[:, None, None] * part for share, part in zip(shares, parts, strict=True))  # type: ignore[return-value]


SHORTCUT = "[shortcut]\nfrom={}\nactivation={}\n{}"
MIDDLES = {
    **{name: CONV.format(8).replace("linear", name) for name in ACTIVATIONS},
    "fewer channels": TWO + SHORTCUT.format(-2, "linear", ""),
    "more channels": CONV.format(8) + CONV.format(4) + SHORTCUT.format(-2, "linear", ""),
    "three layers": TWO + SHORTCUT.format("-2,-3", "linear", ""),
    "shortcut, leaky": CONV.format(8) + "[dropout]\nprobability=.5\n" + SHORTCUT.format(-2, "leaky", ""),
    "per_feature": TWO + SHORTCUT.format(-2, "linear", "weights_type=per_feature\n"),
    "per_channel, softmax": TWO
    + SHORTCUT.format(-2, "linear", "weights_type=per_channel\nweights_normalizion=softmax\n"),
    "per_layer, relu": TWO + SHORTCUT.format(-2, "linear", "weights_type=per_layer\nweights_normalization=relu\n"),
    "dropout": CONV.format(8) + "[dropout]\nprobability=.2\n",
    "upsample, scale": CONV.format(8) + "[upsample]\nstride=2\nscale=0.5\n",
    "sam": CONV.format(8) + "[dropout]\n[sam]\nfrom=-2\n",
    "avgpool, scale_channels": CONV.format(8) + CONV.format(8) + "[avgpool]\n[scale_channels]\nfrom=-3\n",
    "scale_wh": CONV.format(8) + CONV.format(1) + "[scale_channels]\nscale_wh=1\nfrom=-2\n",
    "local_avgpool": CONV.format(8) + "[local_avgpool]\nsize=3\nstride=2\n",
    "maxpool 3, stride 2": CONV.format(8) + "[max]\nsize=3\nstride=2\n",
    "maxpool, padding": CONV.format(8) + "[maxpool]\nsize=4\nstride=2\npadding=1\n",
    "maxpool, strides": CONV.format(8) + "[maxpool]\nsize=2\nstride_x=2\nstride_y=1\n",
    "maxpool, antialiasing": CONV.format(8) + "[maxpool]\nsize=2\nstride=2\nantialiasing=1\n",
    "maxpool, antialiasing 2": CONV.format(8) + "[maxpool]\nsize=2\nstride=2\nantialiasing=2\n",
    "maxpool_depth": CONV.format(8) + "[maxpool]\nmaxpool_depth=1\nout_channels=4\n",
    "conv, antialiasing": CONV.format(8)
    + CONV.format(4).replace("stride=1", "stride_y=2\nstride_x=1\nantialiasing=1").replace("linear", "leaky"),
    "conv, strides": CONV.format(8) + CONV.format(4).replace("[convolutional]", "[conv]") + "stride_y=2\n",
}


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
@pytest.mark.parametrize("name", MIDDLES)
def test_a_layer_computes_what_darknet_does(name: str, engine: str) -> None:
    network, weights = made(MIDDLES[name])
    image = np.random.default_rng(1).random((3, 48, 32), np.float32)
    x = expected(name, image.astype(np.float64), weights)
    assert network.layers[-2].shape == (*x.shape[1:], 18)
    if engine == "tensorflow" and weights.fusions:
        with pytest.raises(UserError, match="has weights, which Keras's form of a network lacks"):
            run(network, weights, engine, image)
        return
    np.testing.assert_allclose(run(network, weights, engine, image), conv1(x, weights.arrays[-1]), atol=2e-4)


def test_dilation_reaches_further() -> None:
    middle = CONV.format(4).replace("size=1", "size=3\npad=1\ndilation=2")
    network, weights = made(middle)
    image = np.zeros((3, 48, 32), np.float32)
    image[:, 20, 10] = 1
    weights.arrays[0]["beta"][:] = 0
    weights.arrays[1]["beta"][:] = 0
    found = np.abs(run(network, weights, "openvino", image)).sum(axis=0) > 1e-6
    assert sorted(zip(*(n.tolist() for n in np.nonzero(found)), strict=True)) == [
        (20 + y, 10 + x) for y in (-2, 0, 2) for x in (-2, 0, 2)
    ]


def test_weights_with_shortcuts_and_turned_kernels_come_back(tmp_path: Path) -> None:
    middle = MIDDLES["per_channel, softmax"].replace("filters=4", "filters=4\nflipped=1")
    network, weights = made(middle)
    write_weights(tmp_path / "w", network, weights)
    back = read_weights(tmp_path / "w", network)
    assert back.fusions[3].tolist() == weights.fusions[3].tolist()
    for mine, theirs in zip(back.arrays, weights.arrays, strict=True):
        assert all(np.array_equal(mine[key], theirs[key]) for key in theirs)
    plain = parse_cfg(NET + MIDDLES["per_channel, softmax"] + HEAD)
    stored = read_weights(tmp_path / "w", plain).arrays[1]["kernel"]
    assert np.array_equal(stored.reshape(8, 4).T, weights.arrays[1]["kernel"].reshape(4, 8))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[crnn]\n", "remembers the pictures before"),
        ("[reorg3d]\n", "experiments"),
        ("[Gaussian_yolo]\n", "deviation for each side"),
        (CONV.format(8) + "xnor=1\n", "has xnor=1"),
        (CONV.format(8) + "share_index=0\n", "has share_index=0"),
        (CONV.format(8) + "filters=9\n", r"<cfg>:10: \[convolutional\] has filters=9 here and filters=8 before"),
        (CONV.format(8) + "[scale_channels]\nfrom=-1\n", "needs 1x1x8 before it"),
        (CONV.format(8) + CONV.format(4) + "[sam]\nfrom=-2\n", "layers of the same shape"),
        (CONV.format(8) + "[maxpool]\nsize=2\nstride=2\n[shortcut]\nfrom=-2\n", "same width and height"),
        (CONV.format(8) + "[maxpool]\nmaxpool_depth=1\nout_channels=3\n", "out_channels=3"),
        (CONV.format(8).replace("linear", "norm_chan"), "has activation=norm_chan"),
        (TWO + SHORTCUT.format(-2, "linear", "weights_type=some\n"), "has weights_type=some"),
        (CONV.format(8).replace("size=1", "size=2\npad=1\ndilation=2"), "odd size"),
    ],
)
def test_what_is_out_of_scope_is_named(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_cfg(NET + text + HEAD)


def test_an_option_given_twice_alike_is_one_and_what_training_reads_is_of_no_matter() -> None:
    assert parse_cfg(NET + CONV.format(8) + "filters=8\n" + HEAD).layers[0].shape[2] == 8
    assert parse_cfg(NET + "batch=64\nbatch=1\n" + CONV.format(8) + HEAD).layers[0].shape[2] == 8
    with pytest.raises(UserError, match="has width=64 here and width=32 before"):
        parse_cfg(NET + "width=64\n" + CONV.format(8) + HEAD)
