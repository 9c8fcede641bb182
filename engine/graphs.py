"""A model's ONNX graphs: those of its bundle, or written anew from its Darknet files."""

from __future__ import annotations

import onnx

from core.command import COMMAND
from core.errors import UserError
from core.precision import Precision
from engine.darknet import Network
from engine.engine import GraphStages, Model
from engine.models import GRAPH_FILES
from engine.onnx_file import read_onnx
from engine.onnx_fp16 import to_fp16
from engine.onnx_graph import to_onnx
from engine.onnx_mish import plain_mish
from engine.onnx_postprocess import with_postprocess
from engine.onnx_preprocess import at_size, set_batch, with_preprocess


def graph(model: Model, precision: Precision) -> onnx.ModelProto:
    """Return a model's graph with batch 1 at its network's size: `image` in, `head_0`, `head_1`, ... out.

    TensorRT's graphs are read by conversion; this is what the other runtimes want: unsigned codes at INT8, Mish plain.

    :raises UserError: there is no INT8 graph, or a file of the bundle is not the one it was made with.
    """
    stored = _stored(model, GRAPH_FILES["int8-uint8" if precision == "int8" else precision])
    if stored is not None:
        return plain_mish(stored)
    if precision == "fp16":
        return to_fp16(graph(model, "fp32"))
    if precision == "int8":
        name = model.folder or "models/NAME"
        darknet = f"--cfg {model.network.path} --weights FILE"
        own = darknet if isinstance(model.network, Network) else f"--onnx {model.network.path}"
        source = f"--model {name}" if model.folder else f"{own} --out {name}"
        raise UserError(
            f"{name}: there is no INT8 graph in this bundle yet: make it with "
            f'"{COMMAND} convert {source} --precision int8 --calibrate FOLDER_OF_IMAGES"'
        )
    return float_graph(model)


def float_graph(model: Model) -> onnx.ModelProto:
    """Return a model's float32 graph, written anew from its source.

    :raises UserError: the source cannot be read.
    """
    network = model.network
    if isinstance(network, Network):
        return plain_mish(to_onnx(*model.darknet()))
    return network.graph()


def with_stages(proto: onnx.ModelProto, model: Model, stages: GraphStages) -> bytes:
    """Return the serialized graph with pre- and post-processing written into it, as a runtime reads it."""
    if stages.postprocess and isinstance(model.network, Network):
        proto = with_postprocess(proto, model.network)
    if stages.preprocess is not None:
        proto = with_preprocess(proto, stages.preprocess)
    return proto.SerializeToString()


def _stored(model: Model, name: str) -> onnx.ModelProto | None:
    if model.folder is None or name not in model.sha256:
        return None
    path = model.folder / name
    proto = read_onnx(path, model.sha256[name])
    if not isinstance(model.network, Network):
        return proto  # of one size, and with batch 1
    set_batch(proto, 1)
    return at_size(proto, model.network.width, model.network.height)
