"""Masks of the training of a path model: every kind is there, and none leaves nothing or everything."""

from __future__ import annotations

import torch

from latentmd.training.masks import random_masks


def test_something_is_known_and_something_is_not() -> None:
    for tokens in (1, 3):
        masks = random_masks(500, 16, tokens, torch.Generator().manual_seed(0)).flatten(1)
        assert bool(masks.any(dim=1).all()) and not bool(masks.all(dim=1).any())


def test_each_task_has_its_share() -> None:
    masks = random_masks(2000, 21, 1, torch.Generator().manual_seed(1))[:, :, 0]
    ends = masks[:, 0] & masks[:, -1] & (masks.sum(dim=1) == 2)
    leading = masks[:, 0] & ~masks[:, 4:].any(dim=1)
    assert 0.2 < float(ends.float().mean()) < 0.35  # paths, and a few strides of 20
    assert 0.2 < float(leading.float().mean()) < 0.35


def test_whole_tokens_are_hidden_where_there_are_several() -> None:
    masks = random_masks(2000, 8, 4, torch.Generator().manual_seed(2))
    constant = (masks == masks[:, :1]).all(dim=1).all(dim=1)
    assert 0.1 < float(constant.float().mean()) < 0.3


def test_masks_follow_from_the_generator() -> None:
    first, second = (random_masks(10, 8, 2, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
