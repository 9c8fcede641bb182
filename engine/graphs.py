"""A model's ONNX graphs: those of its bundle, or made anew from its Darknet files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "openvino")  # laying the network out needs no TensorFlow

import google.protobuf.message
import onnx

from engine.engine import Ends, Model, Precision
from engine.errors import ModelError
from engine.files import COMMAND, sha256
from engine.onnx_ends import at_size, with_back, with_front
from engine.onnx_half import in_half
from engine.onnx_mish import plain_mish

FILES = {"fp32": "fp32.onnx", "fp16": "fp16.onnx", "int8": "int8.onnx", "int8-uint8": "int8-uint8.onnx"}
"""What conversion calls them. `int8` is symmetric, for TensorRT; `int8-uint8` is for every other runtime."""


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
    from engine.network import build
    from engine.onnx_graph import to_onnx

    return plain_mish(to_onnx(build(model.network, model.read())))


def with_ends(proto: onnx.ModelProto, model: Model, ends: Ends) -> bytes:
    """Return the serialized graph with its front and back, as a runtime reads it."""
    if ends.back:
        proto = with_back(proto, model.network)
    if ends.front is not None:
        proto = with_front(proto, ends.front)
    return proto.SerializeToString()


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
