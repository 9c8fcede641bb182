"""Beginning with another model's weights."""

import numpy as np
import pytest

from engine.darknet import parse_cfg, random_weights
from tests.networks import CFG
from training.job import with_classes
from training.recipe import FEW, SOME, recipe
from training.transfer import BOX_ROWS, backbone, transferred


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "s.cfg"
    path.write_text(CFG)
    network = parse_cfg(with_classes(path, 4), "s.cfg")
    return path, network, random_weights(network, 1)


def test_boxes_and_classes_of_the_same_name_are_taken_over_and_new_ones_begin_as_the_mean(source) -> None:
    path, network, weights = source
    old, new = ("cat", "dog", "car", "bus"), ("bus", "tank", "cat")
    target = parse_cfg(with_classes(path, 3), "t.cfg")
    start = random_weights(target, 2)
    found = transferred(target, new, start, network, old, weights)
    assert found.classes == ("bus", "cat")
    assert found.layers == len(target.convolutions)
    for head in target.heads:
        (before,) = target.layers[head.index].inputs
        i = next(k for k, c in enumerate(target.convolutions) if c.index == before)
        for key in ("kernel", "beta"):
            mine, theirs = (
                w.arrays[i][key].reshape(len(head.anchors), BOX_ROWS + n, -1)
                for w, n in ((found.weights, 3), (weights, 4))
            )
            assert np.array_equal(mine[:, :BOX_ROWS], theirs[:, :BOX_ROWS])
            assert np.array_equal(mine[:, BOX_ROWS], theirs[:, BOX_ROWS + 3])
            assert np.allclose(mine[:, BOX_ROWS + 1], theirs[:, BOX_ROWS:].mean(axis=1), atol=1e-6)
            assert np.array_equal(mine[:, BOX_ROWS + 2], theirs[:, BOX_ROWS])


def test_what_is_not_alike_stays_as_it_was(source) -> None:
    path, network, weights = source
    target = parse_cfg(with_classes(path, 3).replace("filters=8", "filters=12"), "t.cfg")
    start = random_weights(target, 2)
    found = transferred(target, ("a", "b", "c"), start, network, ("w", "x", "y", "z"), weights)
    assert found.layers < len(target.convolutions)
    shapes = [c.kernel_shape for c in target.convolutions]
    assert [a["kernel"].shape for a in found.weights.arrays] == shapes


def test_the_backbone_is_what_every_head_is_computed_from(source) -> None:
    _, network, _ = source
    held = backbone(network)
    assert held
    assert not held & {head.index for head in network.heads}
    for index in held:
        assert all(before in held for before in network.layers[index].inputs if before >= 0)


def test_few_pictures_hold_the_backbone() -> None:
    assert recipe(FEW, begins=True).hold
    assert not recipe(SOME, begins=True).hold
    assert not recipe(10, begins=False).hold
    assert recipe(FEW, begins=True).rate < recipe(10 * SOME, begins=True).rate
    assert "backbone held" in str(recipe(64, begins=True))
