"""The transformer of a chain: what a token sees, and that drawing token after token equals seeing all at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from latentmd.core.attention import MAX_OFFSET, ChainTransformer, TypeEmbedding


def _stack(perturb: Any, causal: bool) -> ChainTransformer:
    made: ChainTransformer = perturb(ChainTransformer(16, 3, depth=2, heads=2, causal=causal))
    return made.eval()


@pytest.mark.parametrize("causal", [False, True])
def test_what_a_token_sees(perturb: Any, causal: bool) -> None:
    net, h, condition = _stack(perturb, causal), torch.randn(1, 5, 16), torch.randn(1, 3)
    changed = h.clone()
    changed[:, 3] += torch.randn(16)
    same = torch.isclose(net(changed, condition), net(h, condition), atol=1e-6).all(-1)[0].tolist()
    assert same == ([True, True, True, False, False] if causal else 5 * [False])


def test_tokens_one_at_a_time_equal_all_at_once(perturb: Any) -> None:
    net, h, condition = _stack(perturb, True), torch.randn(2, 6, 16), torch.randn(2, 3)
    known, out = [net.nothing(h) for _ in net.blocks], []
    for t in range(6):
        token, known = net.extend(h[:, t : t + 1], condition, known)
        out.append(token)
    torch.testing.assert_close(torch.cat(out, dim=1), net(h, condition))


def test_a_chain_may_be_longer_than_the_offsets(perturb: Any) -> None:
    """Beyond the largest offset all distances look alike: exchanging two far tokens changes nothing for the first."""
    net, condition = ChainTransformer(16, 3, depth=1, heads=2), torch.randn(1, 3)
    perturb(net)
    h = torch.randn(1, 2 * MAX_OFFSET + 3, 16)
    order = list(range(h.shape[1]))
    order[-1], order[-2] = order[-2], order[-1]
    torch.testing.assert_close(net(h[:, order], condition)[:, 0], net(h, condition)[:, 0])
    near = [0, 2, 1, *range(3, h.shape[1])]
    assert not torch.allclose(net(h[:, near], condition)[:, 0], net(h, condition)[:, 0], atol=1e-6)


def test_type_embeddings_are_added() -> None:
    embed = TypeEmbedding((3, 2), 4)
    types = torch.tensor([[2, 1], [0, 0]])
    expected = embed.tables[0].weight[[2, 0]] + embed.tables[1].weight[[1, 0]]
    torch.testing.assert_close(embed(types), expected)
