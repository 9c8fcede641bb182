"""Small networks made here, so that every part is tested without anyone's weights."""

from pathlib import Path

from engine.darknet import Network, Weights, parse_cfg, random_weights, write_weights

CFG = """
[net]
# comments and blank lines are allowed
width=64
height=96
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
stride=1
pad=1
activation=mish

[route]
layers=-1
groups=2
group_id=1

[convolutional]
batch_normalize=1
filters=8
size=1
stride=1
pad=1
activation=swish

[shortcut]
from=-3
activation=linear

[maxpool]
size=2
stride=2

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
groups=2
activation=relu

[maxpool]
stride=1
size=5

[route]
layers=-1,-2

[convolutional]
size=1
stride=1
pad=1
filters=21
activation=linear

[yolo]
mask = 3,4,5
anchors = 4,6, 8,12, 10,20, 16,16, 24,30, 40,50
classes=2
num=6
scale_x_y = 1.05

[route]
layers = -4

[upsample]
stride=2

[route]
layers = -1, 5

[convolutional]
size=1
stride=1
pad=1
filters=21
activation=logistic

[yolo]
mask = 0,1,2
anchors = 4,6, 8,12, 10,20, 16,16, 24,30, 40,50
classes=2
num=6
scale_x_y = 2.0
new_coords=1
"""
"""Every layer and activation that is known, both kinds of head, an input that is not square."""

NAMES = ("body", "head")


def small(seed: int = 0) -> tuple[Network, Weights]:
    network = parse_cfg(CFG)
    return network, random_weights(network, seed)


def small_files(folder: Path, seed: int = 0) -> tuple[Path, Path, Path]:
    """Write the small network; return cfg, weights and names."""
    network, weights = small(seed)
    cfg, binary, names = folder / "small.cfg", folder / "small.weights", folder / "small.names"
    cfg.write_text(CFG)
    write_weights(binary, network, weights)
    names.write_text("\n".join(NAMES) + "\n")
    return cfg, binary, names
