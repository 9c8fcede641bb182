"""Reading ONNX files, and bringing one that has its weights beside it into one file."""

from __future__ import annotations

from pathlib import Path

import google.protobuf.message
import onnx

from core.errors import UserError, first_line
from core.files import sha256


def read_onnx(path: Path, digest: str | None = None, remedy: str = "convert again") -> onnx.ModelProto:
    """Read an ONNX file.

    :param digest: the sha256 it must have.
    :param remedy: what to do when it cannot be read.
    :raises UserError: it is missing, is not ONNX, or is another file.
    """
    try:
        if digest is not None and sha256(path) != digest:
            raise UserError(
                f"{path}: the file is not the one the bundle was made with (sha256 differs from model.yaml); "
                "convert again"
            )
        return onnx.load(str(path))
    except OSError as error:
        raise UserError(f"{path}: the graph cannot be read: {error.strerror}; {remedy}") from error
    except google.protobuf.message.DecodeError as error:
        raise UserError(f"{path}: this is not an ONNX file; {remedy}") from error
    except (onnx.checker.ValidationError, ValueError) as error:
        raise UserError(
            f"{path}: the file that its weights are in cannot be read ({first_line(error)[:200]}); copy it beside this "
            "one, or export into one file"
        ) from error


def in_one_file(path: Path, folder: Path) -> Path:
    """Return the file, or one in another folder that has all its weights within it.

    :raises UserError: it cannot be read.
    """
    outline = onnx.load(str(path), load_external_data=False)
    if not any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in outline.graph.initializer):
        return path
    whole = folder / path.name
    whole.write_bytes(read_onnx(path, remedy="export it again").SerializeToString())
    return whole
