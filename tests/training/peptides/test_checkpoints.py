"""The state of a stage on disk: an interrupted stage goes on as if it had not been interrupted."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from latentmd.training.peptides.checkpoints import Checkpoint, Stateful
from latentmd.training.peptides.schedule import Schedule


class _Stage:
    """Regression with noise, a stand-in for a stage."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(2, 1)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.parts: dict[str, Stateful] = {"model": self.model, "optimiser": self.optimiser}
        self.generator = torch.Generator().manual_seed(1)
        self.schedule = Schedule(1e9, 100)

    def steps(self, count: int) -> None:
        for _ in range(count):
            next(self.schedule)
            x = torch.randn(8, 2, generator=self.generator) + 0.1 * torch.randn(8, 2)
            self.optimiser.zero_grad()
            (self.model(x) - x.sum(1, keepdim=True)).square().mean().backward()
            self.optimiser.step()

    def keep(self, checkpoint: Checkpoint, always: bool = True) -> None:
        checkpoint.save("one", self.schedule, [self.generator], self.parts, always=always)

    def restore(self, checkpoint: Checkpoint, name: str = "one") -> bool:
        return checkpoint.restore(name, self.schedule, [self.generator], self.parts)


def test_a_restored_stage_ends_like_one_that_was_not_interrupted(tmp_path: Path) -> None:
    checkpoint, whole = Checkpoint(tmp_path / "state.pt"), _Stage()
    whole.steps(5)
    whole.keep(checkpoint)
    whole.steps(5)
    other = _Stage()
    assert other.restore(checkpoint) and other.schedule.done == 5
    other.steps(5)
    assert torch.equal(whole.model.weight, other.model.weight) and torch.equal(whole.model.bias, other.model.bias)


def test_another_stage_or_no_file_restores_nothing(tmp_path: Path) -> None:
    checkpoint, stage = Checkpoint(tmp_path / "state.pt"), _Stage()
    assert checkpoint.stage() == "" and not stage.restore(checkpoint)
    stage.keep(checkpoint)
    assert checkpoint.stage() == "one" and not stage.restore(checkpoint, "two")


def test_a_state_is_written_when_the_last_is_old_enough(tmp_path: Path) -> None:
    stage = _Stage()
    checkpoint = Checkpoint(tmp_path / "state.pt", every=1e9)
    stage.keep(checkpoint, always=False)
    assert not checkpoint.path.exists()
    checkpoint.every = 0.0
    stage.keep(checkpoint, always=False)
    assert checkpoint.path.exists() and list(tmp_path.iterdir()) == [checkpoint.path]
