import numpy as np

from engine.boxes import Decoder
from tests.networks import small
from training.anchors import find, with_anchors
from training.samples import Picture
from training.targets import assign


def test_what_is_to_be_learnt_decodes_to_the_box() -> None:
    """The inverse of decoding: heads that hold the targets give the boxes back."""
    network, _ = small()
    head = network.heads[0]
    height, width, _ = network.layers[head.index].shape
    big = np.array([[10, 20, 50, 70]], np.float32)  # the size of an anchor of the first head
    targets, boxes = assign(network, [Picture(np.zeros((96, 64, 3), np.uint8), big, np.array([1]), np.array([False]))])
    (k,) = np.flatnonzero(targets[0].values[0, :, 4] == 1)
    y, x, a = np.unravel_index(targets[0].cells[0, k], (height, width, len(head.anchors)))
    raw = np.full((height, width, len(head.anchors), 5 + head.classes), -20, np.float32)
    cell = targets[0].values[0, k]
    offset = (cell[0] / 64 * width - x, cell[1] / 96 * height - y)
    offset = [(v + 0.5 * (head.scale_x_y - 1)) / head.scale_x_y for v in offset]
    raw[y, x, a, :2] = np.log(np.array(offset) / (1 - np.array(offset)))
    raw[y, x, a, 2:4] = np.log(cell[2:4] / np.array(head.anchors[a]))
    raw[y, x, a, 4:] = np.where(cell[4:] == 1, 20, -20)
    other = np.zeros(network.layers[network.heads[1].index].shape, np.float32)
    found, scores, classes = Decoder(network, 0.5, 0.45).decode([raw.reshape(height, width, -1), other])
    np.testing.assert_allclose(found, big, atol=1e-3)
    assert scores[0] > 0.99
    assert classes.tolist() == [1]
    assert np.array_equal(boxes[0, 0], big[0])
    assert not boxes[0, 1:].any()


def test_crowd_is_no_target_and_no_background() -> None:
    network, _ = small()
    box = np.array([[10, 20, 50, 70]], np.float32)
    targets, boxes = assign(network, [Picture(np.zeros((96, 64, 3), np.uint8), box, np.array([1]), np.array([True]))])
    assert not any(target.values.any() for target in targets)
    assert boxes.any(), "the loss must know of it, to leave it alone"


def test_anchors_are_the_sizes_there_are() -> None:
    rng = np.random.default_rng(0)
    sizes = np.concatenate([np.tile(size, (30, 1)) for size in ((10, 20), (40, 30), (80, 90))])
    sizes = sizes + rng.uniform(-1, 1, sizes.shape)
    boxes = np.concatenate((np.zeros_like(sizes), sizes), axis=1).astype(np.float32)
    pictures = [Picture(np.zeros((1, 1, 3), np.uint8), boxes, np.zeros(90, int), np.zeros(90, bool))]
    anchors = find(pictures, 3)
    np.testing.assert_allclose(anchors, [(10, 20), (40, 30), (80, 90)], atol=1)
    assert "anchors = 10,20" in with_anchors("[yolo]\nanchors = 1,1\n", [(10, 20)])
