"""A model's ONNX graphs: those of its bundle, or made anew from its Darknet files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "openvino")  # laying the network out needs no TensorFlow

import google.protobuf.message
import onnx

from engine.engine import Ends, Model, Precision
from engine.errors import ModelError
from engine.files import COMMAND, cache, sha256, write
from engine.onnx_ends import at_size, with_back, with_front
from engine.onnx_half import in_half
from engine.onnx_mish import plain_mish

FILES = {"fp32": "fp32.onnx", "fp16": "fp16.onnx", "int8": "int8.onnx", "int8-uint8": "int8-uint8.onnx"}
"""What conversion calls them. `int8` is symmetric, for TensorRT; `int8-uint8` is for every other runtime."""

MOST_KEPT = 8
"""Graphs in the cache; the oldest go."""


def graph(model: Model, precision: Precision) -> onnx.ModelProto:
    """Return a model's graph with batch 1 at its network's size: `image` in, `head_0`, `head_1`, ... out.

    TensorRT's graphs are read by conversion; this is what the other runtimes want: unsigned codes at INT8, Mish plain.

    :raises ModelError: there is no INT8 graph, or a file of the bundle is not the one it was made with.
    """
    stored = _stored(model, FILES["int8-uint8" if precision == "int8" else precision])
    if stored is not None:
        return plain_mish(stored)
    if precision == "fp16":
        return in_half(graph(model, "fp32"))
    if precision == "int8":
        name = model.folder or "models/NAME"
        source = f"--model {name}" if model.folder else f"--cfg {model.network.path} --weights FILE --out {name}"
        raise ModelError(
            f"{name}: there is no INT8 graph in this bundle yet: make it with "
            f'"{COMMAND} convert {source} --precision int8 --calibrate FOLDER_OF_IMAGES"'
        )
    return plain_mish(_laid_out(model))


def with_ends(proto: onnx.ModelProto, model: Model, ends: Ends) -> bytes:
    """Return the serialized graph with its front and back, as a runtime reads it."""
    if ends.back:
        proto = with_back(proto, model.network)
    if ends.front is not None:
        proto = with_front(proto, ends.front)
    return proto.SerializeToString()


def _laid_out(model: Model) -> onnx.ModelProto:
    """Return the FP32 graph made of the Darknet files, which takes Keras seconds: kept in the cache."""
    kept = _kept(model)
    if kept is not None and kept.is_file():
        with contextlib.suppress(ModelError):  # damaged: made anew
            return read_onnx(kept)
    from engine.network import build
    from engine.onnx_graph import to_onnx

    proto = to_onnx(build(model.network, model.read()))
    if kept is not None:
        with contextlib.suppress(ModelError, OSError):  # a cache that cannot be written is no error
            write(kept, proto.SerializeToString())
            old = sorted(kept.parent.glob("*.onnx"), key=lambda path: path.stat().st_mtime)[:-MOST_KEPT]
            for path in old:
                path.unlink()
    return proto


def _kept(model: Model) -> Path | None:
    """Return where the cache has the graph of these weights, laid out by this code."""
    if not isinstance(model.weights, Path) or not model.weights.is_file():
        return None
    network = model.network
    code = [sha256(Path(__file__).with_name(name)) for name in ("onnx_graph.py", "network.py", "darknet.py")]
    parts = [network.text, network.width, network.height, sha256(model.weights), *code]
    return cache() / "graphs" / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}.onnx"


def _stored(model: Model, name: str) -> onnx.ModelProto | None:
    if model.folder is None or name not in model.sha256:
        return None
    path = model.folder / name
    proto = read_onnx(path, model.sha256[name])
    first: Any = proto.graph.input[0]
    first.type.tensor_type.shape.dim[0].dim_value = 1
    for output in proto.graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 1
    return at_size(proto, model.network.width, model.network.height)


def read_onnx(path: Path, digest: str | None = None) -> onnx.ModelProto:
    """Read an ONNX file.

    :param digest: the sha256 it must have.
    :raises ModelError: it is missing, is not ONNX, or is another file.
    """
    try:
        if digest is not None and sha256(path) != digest:
            raise ModelError(
                f"{path}: the file is not the one the bundle was made with (sha256 differs from model.yaml); "
                "convert again"
            )
        return onnx.load(str(path))
    except OSError as error:
        raise ModelError(f"{path}: the graph cannot be read: {error.strerror}; convert again") from error
    except google.protobuf.message.DecodeError as error:
        raise ModelError(f"{path}: this is not an ONNX file; convert again") from error
