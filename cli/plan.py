"""The command `plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import out
from cli.options import Json


def plan(
    engine: Annotated[
        Path, typer.Argument(help="A TensorRT engine of a bundle, such as models/NAME/int8.tensorrt-rtx.engine.")
    ],
    every: Annotated[bool, typer.Option("--all", help="List every layer, not only those that stayed unfused.")] = False,
    json_file: Json = None,
) -> None:
    """Show how TensorRT planned an engine: layers, precisions, fusions, and what stayed unfused and why."""
    from dataclasses import asdict

    from cli.output import save_json
    from cli.tables import print_table
    from conversion.plan import read
    from core.provenance import provenance

    found = read(engine)
    key = found.key
    out.print(", ".join(f"{name} {value}" for name, value in key.items() if name != "onnx_sha256"), soft_wrap=True)
    kinds = ", ".join(f"{count} {kind or 'of no type'}" for kind, count in found.precisions.most_common())
    out.print(f"{len(found.layers)} layers; {len(found.convolutions)} hold a convolution: {kinds}")
    why = {layer.name: reason for layer, reason in found.unfused}
    lines = [
        [
            layer.name,
            layer.kind,
            " ".join(layer.inputs),
            layer.output,
            " ".join(name for name in layer.onnx if name.count(".") == 0),
            why.get(layer.name, ""),
        ]
        for layer in found.layers
        if every or layer.name in why
    ]
    heads = ["layer", "kind", "in", "out", "of the network", "why"]
    print_table(heads, lines, prose=("layer", "of the network", "why"))
    rows = [{**asdict(layer), "why_unfused": why.get(layer.name)} for layer in found.layers]
    block = provenance(engine=str(key.get("runtime", "")), precision=str(key.get("precision", "")))
    save_json(json_file, {"key": key, "layers": rows}, block)
