"""Darknet's weights files.

Source: darknet's parser.c and convolutional_layer.c. Each convolution's weights are bias (or beta), with batch norm
gamma, mean and variance, then the kernel; a shortcut with weights has them in its place.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.files import atomic_file
from engine.network import Convolution, Network, Weights

LARGEST_WEIGHT = 1e18
"""A trained network's weights are far below; what is above overflows in the first layers."""
EMPTY = -8.0
"""An objectness, before the sigmoid, that is next to nothing."""


def check_weights(path: Path, network: Network) -> tuple[tuple[int, int, int], int, int]:
    """See by its header and size that a file holds the weights of a network.

    :return: its version, the images it has seen, and the header's size in bytes.
    :raises UserError: the file is missing, is no weights file, or is too short or too long.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            version, seen, header = _read_header(file.read(20), path)
    except OSError as error:
        raise UserError(f"{path}: the weights cannot be read: {error.strerror}") from error
    needed, has = network.floats, size - header
    if has % 4:
        raise UserError(
            f"{path}: the file has {has:,} bytes of weights, which is no multiple of 4: {has % 4} are left over; it is "
            "damaged, copy it again"
        )
    if has != 4 * needed:
        raise UserError(
            f"{path}: the weights are {'too short' if has < 4 * needed else 'too long'} for {network.path}: it needs "
            f"{needed:,} numbers and the file has {has // 4:,}; use the weights that belong to this cfg"
        )
    return version, seen, header


def read_weights(path: Path, network: Network) -> Weights:
    """Read the weights of a network.

    :raises UserError: the file is missing, too short, too long, or holds what no network can use.
    """
    version, seen, header = check_weights(path, network)
    floats = np.fromfile(path, "<f4", offset=header)
    arrays: list[dict[str, NDArray[np.float32]]] = []
    fusions = {}
    at = 0
    for layer in network.layers:
        if layer.fusion is not None:
            fusions[layer.index] = floats[at : at + layer.fusion.floats]
            at += layer.fusion.floats
        if layer.convolution is None:
            continue
        entry = {}
        for name, shape in _arrays(layer.convolution):
            count = int(np.prod(shape))
            entry[name] = floats[at : at + count].reshape(shape)
            at += count
        if layer.convolution.flipped:
            entry["kernel"] = _turned(entry["kernel"], layer.convolution.filters)
        _check_numbers(entry, layer.convolution, path, network)
        arrays.append(entry)
    return Weights(arrays, version, seen, fusions)


def _turned(kernel: NDArray[np.float32], filters: int) -> NDArray[np.float32]:
    """Return a kernel whose numbers lie output by output, of one whose lie input by input."""
    return np.ascontiguousarray(kernel.reshape(-1, filters).T).reshape(kernel.shape)


def write_weights(path: Path, network: Network, weights: Weights) -> None:
    """Write a weights file; the file is complete or not there.

    :raises UserError: an array has another shape than the network's, or the file cannot be written.
    """
    if len(weights.arrays) != len(network.convolutions):
        raise UserError(
            f"{path}: {network.path} has {len(network.convolutions)} convolutions, not {len(weights.arrays)}"
        )
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        major, minor, _ = weights.version
        wide = major * 10 + minor >= 2
        file.write(struct.pack("<3i" + ("q" if wide else "i"), *weights.version, weights.seen))
        entries = iter(weights.arrays)
        for layer in network.layers:
            if layer.fusion is not None:
                file.write(np.ascontiguousarray(weights.fusions[layer.index], "<f4").tobytes())
            if layer.convolution is not None:
                file.write(_as_bytes(layer.convolution, next(entries), path))


def _as_bytes(convolution: Convolution, entry: dict[str, NDArray[np.float32]], path: Path) -> bytes:
    parts = []
    for name, shape in _arrays(convolution):
        array = entry[name]
        if array.shape != shape:
            raise UserError(f"{path}: layer {convolution.index}, {name}: expected {shape}, got {array.shape}")
        if convolution.flipped and name == "kernel":
            array = array.reshape(shape[0], -1).T
        parts.append(np.ascontiguousarray(array, "<f4").tobytes())
    return b"".join(parts)


def random_weights(network: Network, seed: int, empty: bool = False) -> Weights:
    """Return weights that keep activations within bounds: for tests and for timing.

    Kernels have the variance 1 / fan-in, so that residual sums do not grow without bound.

    :param empty: bias every head against objects, so that there are about as few boxes as a real network finds.
    """
    rng = np.random.default_rng(seed)
    arrays = []
    for convolution in network.convolutions:
        n = convolution.filters
        fan_in = int(np.prod(convolution.kernel_shape[1:]))
        entry = {"beta": rng.normal(0, 0.1, n)}
        if convolution.batch_normalize:
            entry |= {
                "gamma": rng.uniform(0.8, 1.2, n),
                "mean": rng.normal(0, 0.1, n),
                "variance": rng.uniform(0.8, 1.2, n),
            }
        entry["kernel"] = rng.normal(0, fan_in**-0.5, convolution.kernel_shape)
        arrays.append({name: array.astype(np.float32) for name, array in entry.items()})
    if empty:
        order = {convolution.index: i for i, convolution in enumerate(network.convolutions)}
        for head in network.heads:
            (source,) = network.layers[head.index].inputs
            if source in order:
                arrays[order[source]]["beta"][4 :: 5 + head.classes] = EMPTY
    fusions = {
        layer.index: rng.uniform(0.5, 1.5, layer.fusion.floats).astype(np.float32)
        for layer in network.layers
        if layer.fusion is not None
    }
    return Weights(arrays, fusions=fusions)


def _read_header(data: bytes, path: Path) -> tuple[tuple[int, int, int], int, int]:
    if len(data) < 16:
        raise UserError(f"{path}: this is too short to be a weights file ({len(data)} bytes)")
    major, minor, revision = struct.unpack_from("<3i", data)
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        raise UserError(f"{path}: this is not a Darknet weights file (it says version {major}.{minor})")
    if major * 10 + minor >= 2:
        if len(data) < 20:
            raise UserError(f"{path}: this is too short to be a weights file ({len(data)} bytes)")
        return (major, minor, revision), _seen(struct.unpack_from("<q", data, 12)[0], path), 20
    return (major, minor, revision), _seen(struct.unpack_from("<i", data, 12)[0], path), 16


def _seen(count: int, path: Path) -> int:
    if count < 0:
        raise UserError(f"{path}: this is not a Darknet weights file (it says that it has seen {count} images)")
    return count


def _arrays(convolution: Convolution) -> list[tuple[str, tuple[int, ...]]]:
    n = (convolution.filters,)
    normal = [("gamma", n), ("mean", n), ("variance", n)] if convolution.batch_normalize else []
    return [("beta", n), *normal, ("kernel", convolution.kernel_shape)]


def _check_numbers(
    entry: dict[str, NDArray[np.float32]], convolution: Convolution, path: Path, network: Network
) -> None:
    """Refuse numbers that a trained network cannot have: the sign of weights of another cfg as large."""
    finite = all(bool((np.abs(array) < LARGEST_WEIGHT).all()) for array in entry.values())  # which NaN is not
    if not finite or ("variance" in entry and (entry["variance"] < 0).any()):
        raise UserError(
            f"{path}: the weights of layer {convolution.index} are not those of a trained {network.path} "
            "(a variance below 0, or a value that is no number or too large); use the weights that belong to this cfg"
        )
