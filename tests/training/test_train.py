"""Training end to end on seconds of MD: the bundle and its companions, resume, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
import torch

from latentmd.io.atomic import OutputError
from latentmd.model import file as bundle
from latentmd.training.config import TrainingConfig, parse_config
from latentmd.training.data import Data, read_source, split_data
from latentmd.training.run import read_log
from latentmd.training.train import train


def load_data(trajectories: Any, top: Path, config: TrainingConfig) -> Data:
    return split_data(read_source(trajectories, top, None), config)


STAGES = ["jepa", "decoder", "fast", "predictor", "energy", "latent-energy"]


@pytest.fixture(scope="module")
def trained(files: list[Path], pdb: Path, tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bundle from an uninterrupted run, and the (stage, step, steps) that were reported."""
    seen: list[tuple[str, int, int]] = []
    out = tmp_path_factory.mktemp("whole") / "tiny.pt"
    path = train(
        files, pdb, out, parse_config(tiny), name="tiny", device="cpu",
        report=lambda stage, step, steps, values: seen.append((stage, step, steps)),
    )  # fmt: skip
    return path, seen


def test_it_writes_a_bundle_that_loads_and_runs(trained: Any, files: list[Path], alanine_runs: list[Any]) -> None:
    path, _ = trained
    loaded = bundle.load(path)
    m = loaded.manifest
    assert (m.name, m.lag, m.frame_interval, m.solvent, m.seed) == ("tiny", (1.0, 10.0), 0.2, "vacuum", 3)
    assert m.split["train"] == [f.name for f in files[:2]] and m.split["validation"] == [files[2].name]
    assert 3 <= m.slow_axes <= 12 and len(m.slow_autocorrelations) == m.slow_axes
    assert m.tokens == [0] * 6 + [1] * 10 + [2] * 6
    x = torch.from_numpy(alanine_runs[2][:4])
    slow, fast = loaded.module.encode(x)
    assert slow.shape == (4, 1, m.slow_axes) and fast.shape[:2] == (4, 1)
    noise = torch.randn(4, loaded.module.step_noise)
    moved = loaded.module.step(slow, torch.full((4,), 5.0), noise)
    built = loaded.module.decode(moved, torch.randn(4, loaded.module.decode_noise))
    assert built.shape == (4, 22, 3) and bool(torch.isfinite(built).all())
    assert bool(torch.isfinite(loaded.module.energy(x)).all())


def test_reference_summarises_the_training_frames(trained: Any) -> None:
    reference = bundle.load(trained[0]).manifest.reference
    assert reference is not None
    counts = np.array(reference.ramachandran[0].counts)
    assert counts.shape == (50, 50) and counts.sum() == 1500
    low, middle, high = reference.energy_quantiles
    assert low < middle < high


def test_log_plot_and_report_cover_every_stage(trained: Any) -> None:
    path, seen = trained
    folder = path.with_name("tiny-training")
    curves = read_log(folder / "training.csv")
    assert list(curves) == STAGES
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == STAGES
    assert curves["jepa"]["rank"][0][0] == 24 and curves["jepa"]["loss"][-1][0] == 24
    assert all(np.isfinite(value) for stage in curves.values() for rows in stage.values() for _, value in rows)
    assert (folder / "training.png").stat().st_size > 10_000
    assert not list(folder.glob("*.ckpt")) and not list(folder.glob("*.tmp"))
    assert json.loads((folder / "request.json").read_text())["settings"]["seed"] == 3


@pytest.mark.parametrize(("stage", "step"), [("jepa", 13), ("predictor", 7)])
def test_resuming_gives_the_same_weights(
    trained: Any, files: list[Path], pdb: Path, tiny: dict[str, Any], tmp_path: Path, stage: str, step: int
) -> None:
    def interrupt(name: str, now: int, steps: int, values: dict[str, float]) -> None:
        if (name, now) == (stage, step):
            raise KeyboardInterrupt

    out = tmp_path / "tiny.pt"
    with pytest.raises(KeyboardInterrupt):
        train(files, pdb, out, parse_config(tiny), name="tiny", device="cpu", report=interrupt)
    assert not out.exists()
    assert (tmp_path / "tiny-training" / f"{stage}.ckpt").exists()
    seen: list[str] = []
    train(
        files, pdb, out, parse_config(tiny), name="tiny", device="cpu", resume=True,
        report=lambda name, *_: seen.append(name),
    )  # fmt: skip
    assert list(dict.fromkeys(seen)) == STAGES[STAGES.index(stage) :]
    whole, resumed = (bundle.load(path).module.state_dict() for path in (trained[0], out))
    assert whole.keys() == resumed.keys()
    differing = [name for name in whole if not torch.equal(whole[name], resumed[name])]
    assert differing == []


def test_resume_refuses_another_configuration_and_leaves_everything(
    trained: Any, files: list[Path], pdb: Path, tiny: dict[str, Any]
) -> None:
    path = trained[0]
    before = {f: f.read_bytes() for f in [path, *path.with_name("tiny-training").iterdir()]}
    with pytest.raises(OutputError, match=r"holds a run with another settings; resume with the options it began with"):
        train(files, pdb, path, parse_config({**tiny, "seed": 4}), device="cpu", resume=True)
    with pytest.raises(OutputError, match="another trajectories"):
        train(files[::-1], pdb, path, parse_config(tiny), device="cpu", resume=True)
    with pytest.raises(ValueError, match="1 trajectories given"):
        train(files[:1], pdb, path, parse_config(tiny), device="cpu")
    assert before == {f: f.read_bytes() for f in before}


def test_stride_takes_every_nth_frame(files: list[Path], pdb: Path, tiny: dict[str, Any]) -> None:
    settings = {**tiny, "stride": 1.0, "jepa": {}, "predictor": {}}
    data = load_data(files, pdb, parse_config(settings))
    assert [len(t) for t in data.train + data.validation] == [100, 100, 100]
    everything = load_data(files, pdb, parse_config(tiny))
    np.testing.assert_array_equal(data.train[1], everything.train[1][::5])


@pytest.mark.parametrize("stride", [0.1, 0.3])
def test_stride_must_be_a_multiple_of_the_spacing(
    files: list[Path], pdb: Path, tiny: dict[str, Any], stride: float
) -> None:
    settings = {**tiny, "stride": stride, "jepa": {}}
    with pytest.raises(
        ValueError, match=rf"frames are 0.2 ps apart and stride is {stride} ps; set stride to a multiple of 0.2"
    ):
        load_data(files, pdb, parse_config(settings))


def test_too_few_trajectories_for_the_split(files: list[Path], pdb: Path, tiny: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"3 trajectories given and 3 held out; give at least 4 independent runs"):
        load_data(files, pdb, parse_config({**tiny, "holdout": 3}))
    everything = load_data(files, pdb, parse_config({**tiny, "holdout": 0}))
    assert len(everything.train) == 3 and not everything.validation


def test_broken_trajectories_are_named(files: list[Path], pdb: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    config = parse_config(tiny)
    with pytest.raises(ValueError, match=r"nowhere.xtc not found"):
        load_data([*files, tmp_path / "nowhere.xtc"], pdb, config)
    good = mdtraj.load(str(files[0]), top=str(pdb))
    broken = tmp_path / "broken.xtc"
    good.atom_slice(range(10)).save_xtc(str(broken))
    with pytest.raises(ValueError, match=r"broken.xtc has 10 atoms, the topology has 22"):
        load_data([files[0], broken], pdb, config)


def test_runs_too_short_for_the_lag_are_refused(
    files: list[Path], pdb: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    config = parse_config({**tiny, "jepa": {**tiny["jepa"], "lag": [0.2, 200.0]}})
    with pytest.raises(ValueError, match=r"the longest trajectory has 500"):
        train(files, pdb, tmp_path / "out.pt", config, device="cpu")
    assert not (tmp_path / "out.pt").exists()
