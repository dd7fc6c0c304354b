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

from latentmd.training.loop import Optimisation, Stage, TrainingError, append_rows, rise_and_fall, run_stage
from latentmd.training.run import plot_training, read_log


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

    return Stage("line", line, losses, Optimisation(steps=steps, learning_rate=0.1, seed=5, average=average))


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
        run(Stage("broken", module, losses, Optimisation(steps=5, learning_rate=0.1, seed=0)), tmp_path)


def test_log_and_report(tmp_path: Path) -> None:
    seen: list[tuple[str, float, float]] = []

    def report(stage: str, step: float, steps: float, values: dict[str, float]) -> None:
        assert set(values) == {"loss", "slope"}
        seen.append((stage, step, steps))

    run_stage(regression(120), tmp_path, log=tmp_path / "log.csv", report=report, device="cpu")
    assert seen[0] == ("line", 1, 120) and seen[-1] == ("line", 120, 120) and len(seen) == 51
    with (tmp_path / "log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 102 and rows[-1]["step"] == "120" and rows[-1]["quantity"] == "slope"


def test_slow_steps_have_rows_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentmd.training.loop._ROW_SECONDS", 0.0)
    seen: list[float | None] = []
    stage = regression(60)
    assert stage.forecast(torch.device("cpu")) > 0
    run_stage(stage, tmp_path, log=tmp_path / "log.csv", report=lambda _, step, *__: seen.append(step), device="cpu")
    assert seen == list(range(1, 61))


def test_a_stage_ends_by_wall_time_and_counts_that_of_interrupted_runs(tmp_path: Path) -> None:
    stage, amounts = regression(10**9), list[tuple[float, float]]()
    stage.seconds = 0.5
    run_stage(
        stage, tmp_path, log=tmp_path / "log.csv", report=lambda _, *row: amounts.append(row[:2]), device="cpu"
    )  # fmt: skip
    assert 0 < stage.global_step < 10**9
    assert all(0 <= done <= 1.0 and total == 0.5 for done, total in amounts)
    assert amounts == sorted(amounts) and len(amounts) > 2
    kept: dict[str, float] = {}
    stage.on_save_checkpoint(kept)
    again = regression(10**9)
    again.seconds = 0.5
    again.on_load_checkpoint(kept)
    assert again.share >= 1


def test_the_learning_rate_of_wall_time_rises_and_falls() -> None:
    rates = [rise_and_fall(share) for share in (0.0, 0.02, 0.03, 0.5, 1.0, 1.1)]
    assert 0 < rates[0] < rates[1] < rates[2] == pytest.approx(1) and rates[2] > rates[3] > rates[4] == rates[5]
    assert rates[4] == pytest.approx(0.01)


def test_dropout_follows_from_seed_and_step(tmp_path: Path) -> None:
    def dropped(noise: int) -> list[Tensor]:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        torch.manual_seed(noise)
        stage = Stage(
            "dropout",
            module,
            lambda g: {"loss": module(torch.randn(8, 4, generator=g)).square().mean()},
            Optimisation(steps=5, learning_rate=0.1, seed=3),
        )
        return weights(run(stage, tmp_path))

    assert all(torch.equal(a, b) for a, b in zip(dropped(1), dropped(2), strict=True))


def test_plot_of_a_log_with_repeated_steps(tmp_path: Path) -> None:
    log = tmp_path / "training.csv"
    for step, value in ((10, 1.0), (20, 0.5), (20, 0.4), (30, 0.3)):
        append_rows(log, "jepa", step, {"prediction": value, "gain": 0.1})
    append_rows(log, "jepa", 30, {"rank": 4.0, "std_min": 0.5, "std_mean": 1.0})
    append_rows(log, "decoder", 10, {"loss": 2.0})
    assert read_log(log)["jepa"]["prediction"] == [(10, 1.0), (20, 0.4), (30, 0.3)]
    assert plot_training(log).startswith(b"\x89PNG")
