"""The optimisation loop: resume equals no interruption, averages, Ctrl-C, broken losses, the log."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentmd.training.loop import Stage, TrainingError, append_rows, run_stage
from latentmd.training.plots import plot_training, read_log


def regression(
    steps: int = 40, average: float | None = None, before_loss: Callable[[int], None] = lambda _: None
) -> Stage:
    """Fit y = 2 x − 1 from noisy batches; `before_loss` is called with the number of each call."""
    torch.manual_seed(0)
    line, calls = nn.Linear(1, 1), [0]

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        before_loss(calls[0])
        calls[0] += 1
        x = torch.randn(32, 1, generator=generator)
        y = 2 * x - 1 + 0.1 * torch.randn(32, 1, generator=generator)
        return {"loss": (line(x) - y).square().mean(), "slope": line.weight.detach().mean()}

    return Stage("line", line, losses, steps=steps, learning_rate=0.1, seed=5, average=average)


def run(stage: Stage, folder: Path, resume: bool = False) -> Any:
    return run_stage(stage, folder, log=folder / "log.csv", report=lambda *_: None, device="cpu", resume=resume)


def weights(module: nn.Module) -> list[Tensor]:
    return [value.detach().clone() for value in module.state_dict().values()]


def test_a_stage_minimises_its_loss_and_leaves_weights(tmp_path: Path) -> None:
    line = run(regression(200), tmp_path)
    assert line.weight.item() == pytest.approx(2, abs=0.1) and line.bias.item() == pytest.approx(-1, abs=0.1)
    stored = torch.load(tmp_path / "line.pt", weights_only=True)
    assert torch.equal(stored["weight"], line.weight)
    assert not (tmp_path / "line.ckpt").exists()


def interrupt_at(call: int) -> Callable[[int], None]:
    def raise_there(seen: int) -> None:
        if seen == call:
            raise KeyboardInterrupt

    return raise_there


@pytest.mark.parametrize("average", [None, 0.9])
def test_resuming_gives_the_weights_of_the_uninterrupted_run(tmp_path: Path, average: float | None) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = weights(run(regression(40, average), whole))
    with pytest.raises(KeyboardInterrupt):
        run(regression(40, average, interrupt_at(27)), parts)
    assert (parts / "line.ckpt").exists() and not (parts / "line.pt").exists()
    first: list[int] = []
    resumed = run(regression(40, average, first.append), parts, resume=True)
    assert len(first) == 40 - 26  # from the last checkpoint, which is written every second step
    for a, b in zip(expected, weights(resumed), strict=True):
        assert torch.equal(a, b)
    assert read_log(whole / "log.csv") == read_log(parts / "log.csv")


def test_a_finished_stage_is_loaded_not_trained_again(tmp_path: Path) -> None:
    expected = weights(run(regression(20, 0.9), tmp_path))

    def never(_: int) -> None:
        raise AssertionError("trained again")

    for a, b in zip(expected, weights(run(regression(20, 0.9, never), tmp_path, resume=True)), strict=True):
        assert torch.equal(a, b)


def test_ctrl_c_is_passed_on_and_keeps_working(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(regression(40, None, interrupt_at(10)), tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_result_of_an_averaged_stage_is_the_average(tmp_path: Path) -> None:
    stage = regression(30, 0.5)
    result = run(stage, tmp_path)
    assert result is stage.averaged.module  # type: ignore[union-attr]
    assert not torch.equal(result.weight, stage.module.weight)  # type: ignore[arg-type]
    torch.testing.assert_close(result.weight, stage.module.weight, rtol=0, atol=0.1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_loss_stops_with_the_step(tmp_path: Path, value: float) -> None:
    module = nn.Linear(1, 1)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": module.weight.sum() * value}

    with pytest.raises(
        TrainingError, match=r"stage broken: the loss became (nan|inf|-inf) at step 1; lower its learning_rate"
    ):
        run(Stage("broken", module, losses, steps=5, learning_rate=0.1, seed=0), tmp_path)


def test_log_and_report(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def report(stage: str, step: int, steps: int, values: dict[str, float]) -> None:
        assert set(values) == {"loss", "slope"}
        seen.append((stage, step, steps))

    run_stage(regression(120), tmp_path, log=tmp_path / "log.csv", report=report, device="cpu")
    assert seen[0] == ("line", 2, 120) and seen[-1] == ("line", 120, 120) and len(seen) == 60
    with (tmp_path / "log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 120 and rows[-1]["step"] == "120" and rows[-1]["quantity"] == "slope"


def test_plot_of_a_log_with_repeated_steps(tmp_path: Path) -> None:
    log = tmp_path / "training.csv"
    for step, value in ((10, 1.0), (20, 0.5), (20, 0.4), (30, 0.3)):
        append_rows(log, "jepa", step, {"prediction": value, "gain": 0.1})
    append_rows(log, "jepa", 30, {"rank": 4.0, "std_min": 0.5, "std_mean": 1.0})
    append_rows(log, "decoder", 10, {"loss": 2.0})
    assert read_log(log)["jepa"]["prediction"] == [(10, 1.0), (20, 0.4), (30, 0.3)]
    plot_training(log, tmp_path / "training.png")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
