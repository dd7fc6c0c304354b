"""Training trajectories from memory, beside the same ones from files."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from openmm import app
from scipy.spatial.transform import Rotation

from latentmd.io.atomic import OutputError
from latentmd.molecule.checks import structure_template
from latentmd.training.config import TrainingConfig, parse_config
from latentmd.training.data import Data, Trajectories, read_source, split_data
from latentmd.training.run import TrainingRun
from latentmd.training.stages import SurrogateTraining, some_frames
from latentmd.training.train import _bonded, train


def load_data(trajectories: Any, top: Path, config: TrainingConfig) -> Data:
    return split_data(read_source(trajectories, top, None), config)


@pytest.fixture
def bursts(alanine_runs: list[Any]) -> Trajectories:
    return Trajectories([run[:200] for run in alanine_runs], 0.2, ["a", "b", "c"])


def test_arrays_are_split_and_strided_like_files(bursts: Trajectories, pdb: Path, tiny: dict[str, Any]) -> None:
    data = load_data(bursts, pdb, parse_config({**tiny, "stride": 0.4, "jepa": {}, "predictor": {}}))
    assert data.names == {"train": ["a", "b"], "validation": ["c"]}
    np.testing.assert_array_equal(data.train[1], bursts.positions[1][::2])
    assert Trajectories(bursts.positions, 0.2).labels()[2] == "trajectory-0002"


def test_files_give_the_same_within_their_precision(
    files: list[Path], alanine_runs: list[Any], pdb: Path, tiny: dict[str, Any]
) -> None:
    config = parse_config(tiny)
    stored, held = load_data(files, pdb, config), load_data(Trajectories(alanine_runs, 0.2), pdb, config)
    np.testing.assert_allclose(stored.train[0], held.train[0], atol=6e-4)  # XTC keeps 0.001 nm


def test_unusable_arrays_are_named(bursts: Trajectories, pdb: Path, tiny: dict[str, Any]) -> None:
    config = parse_config(tiny)
    with pytest.raises(ValueError, match=r"b has the shape \(200, 21, 3\); expected \(frames, 22, 3\) in nm"):
        load_data(Trajectories([bursts.positions[0], bursts.positions[1][:, 1:]] * 2, 0.2, "abcd"), pdb, config)
    broken = np.array(bursts.positions[2])
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match="c holds positions that are not finite"):
        load_data(Trajectories([*bursts.positions[:2], broken], 0.2, "abc"), pdb, config)
    with pytest.raises(ValueError, match="expected a positive interval"):
        load_data(Trajectories(bursts.positions, 0.0), pdb, config)


def _frames(edit: Callable[[Any], Any]) -> Callable[[Any, Path], list[Path]]:
    """Two runs, the first of which is edited."""

    def write(runs: list[Any], folder: Path) -> list[Path]:
        paths = [folder / "a.xtc", folder / "b.xtc"]
        for run, path in zip((edit(runs[0]), runs[1]), paths, strict=True):
            run.save(str(path))
        return paths

    return write


def _timed(times: Callable[[Any], Any]) -> Callable[[Any, Path], list[Path]]:
    def edit(run: Any) -> Any:
        run.time = times(run.time)
        return run

    return _frames(edit)


def _placed(positions: Callable[[Any], Any]) -> Callable[[Any, Path], list[Path]]:
    return _frames(lambda run: mdtraj.Trajectory(positions(run.xyz), run.topology, run.time))


def _damaged(content: Callable[[bytes], bytes]) -> Callable[[Any, Path], list[Path]]:
    def write(runs: list[Any], folder: Path) -> list[Path]:
        paths = _frames(lambda run: run)(runs, folder)
        paths[0].write_bytes(content(paths[0].read_bytes()))
        return paths

    return write


def _copied(runs: list[Any], folder: Path) -> list[Path]:
    first, _ = _frames(lambda run: run)(runs, folder)
    return [first, Path(shutil.copy(first, folder / "copy.xtc"))]


def _with_nan(runs: list[Any], folder: Path) -> list[Path]:
    runs[0].xyz[70, 3] = np.nan
    runs[0].save(str(path := folder / "a.trr"))
    return [path, path]


BAD = {
    "named twice": (lambda runs, folder: _frames(lambda run: run)(runs, folder)[:1] * 2, "give each run once"),
    "copied": (_copied, "100 of 100 frames of .*copy.xtc are in .*a.xtc as well"),
    "frozen": (_placed(lambda x: x[:1].repeat(len(x), axis=0)), "99 of 100 frames .* the run stood still"),
    "stuck": (_placed(lambda x: x[np.minimum(np.arange(100), 60)]), "39 of 100 frames .* the same as earlier ones"),
    "reversed atoms": (_placed(lambda x: x[:, ::-1]), "its atoms are in another order than in the topology"),
    "angstrom": (_placed(lambda x: 10 * x), "the positions are in another unit"),
    "cut by a box that is not stored": (
        _placed(lambda x: (x - x.mean(axis=(0, 1))) % 3.0),
        "make molecules whole first",
    ),
    "at one point": (_placed(lambda x: 0 * x), "has all atoms at one point"),
    "another molecule": (_frames(lambda run: run.atom_slice(range(20))), "has 20 atoms, the topology has 22"),
    "without times": (_timed(lambda t: 0 * t), "give the time between its frames"),
    "backwards": (_timed(lambda t: t[::-1].copy()), "not evenly spaced"),
    "with a gap": (_timed(lambda t: t + 5 * (t > t[50])), "not evenly spaced: frame 51"),
    "of another spacing": (_timed(lambda t: 2 * t), r"are 0.2 ps apart, those of .* 0.4 ps"),
    "one frame": (_frames(lambda run: run[0]), "has 1 frame; at least 2"),
    "truncated": (_damaged(lambda data: data[: len(data) // 2]), "is truncated: the file ends inside frame"),
    "empty": (_damaged(lambda data: b""), "is empty; was the run that writes it started"),
    "no trajectory": (_damaged(lambda data: b"no trajectory" * 99), "cannot be read as a .xtc file"),
    "not a number": (_with_nan, "Frame 70 of .* has a non-finite position"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_trajectories_are_refused_in_one_sentence(
    kind: str, alanine_runs: list[Any], alanine_topology: Any, pdb: Path, tmp_path: Path
) -> None:
    times = 0.2 * np.arange(1, 101)
    runs = [mdtraj.Trajectory(np.array(x[:100]), alanine_topology, times) for x in alanine_runs[:2]]
    write, message = BAD[kind]
    paths = write(runs, tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        read_source(paths, pdb, None)
    assert "\n" not in str(caught.value)


def test_a_run_may_go_on_from_the_last_frame_of_another(bursts: Trajectories, pdb: Path) -> None:
    first, second, _ = bursts.positions
    read_source(Trajectories([first, np.concatenate([first[-1:], second])], 0.2), pdb, None)
    with pytest.raises(ValueError, match=r"200 of 400 frames of trajectory-0001 are in trajectory-0000 as well"):
        read_source(Trajectories([first, np.concatenate([first, second])], 0.2), pdb, None)


def test_resume_refuses_other_positions(bursts: Trajectories, pdb: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    def interrupt(name: str, now: int, steps: int, values: dict[str, float]) -> None:
        raise KeyboardInterrupt

    out, config = tmp_path / "model.pt", parse_config(tiny)
    with pytest.raises(KeyboardInterrupt):
        train(bursts, pdb, out, config, device="cpu", report=interrupt)
    moved = Trajectories([positions + 0.01 for positions in bursts.positions], 0.2, bursts.names)
    with pytest.raises(OutputError, match="holds a run with another positions"):
        train(moved, pdb, out, config, device="cpu", resume=True)


def test_frames_for_statistics_come_from_every_trajectory(bursts: Trajectories) -> None:
    chosen = some_frames([np.asarray(p, np.float32) for p in bursts.positions], 60)
    assert chosen.shape == (60, 22, 3)


def soft_torsions(bursts: Trajectories, pdb: Path, settings: dict[str, Any], spread: float) -> list[Any]:
    config = parse_config({**settings, "latent": {"soft_torsion": spread}})
    run = TrainingRun.of(Path(), lambda *_: None)
    return SurrogateTraining(load_data(bursts, pdb, config), config, run).soft_torsions()


def test_soft_torsions_are_unit_vectors_of_moving_torsions(
    bursts: Trajectories, pdb: Path, tiny: dict[str, Any]
) -> None:
    found = soft_torsions(bursts, pdb, tiny, 5.0)
    half = found[0].shape[1] // 2
    np.testing.assert_allclose(found[0][:, :half] ** 2 + found[0][:, half:] ** 2, 1, atol=1e-5)
    assert soft_torsions(bursts, pdb, tiny, 179.0) == []


def test_hydrogens_are_numbered_as_in_the_topology(
    bursts: Trajectories, pdb: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two hydrogens of a methyl that another program numbered the other way, in one run and in half of another."""
    topology = app.PDBFile(str(pdb)).topology
    pair = [atom.index for atom in topology.atoms() if atom.residue.name == "ALA" and atom.name in ("HB2", "HB3")]
    runs = [np.array(run) for run in bursts.positions]
    runs[1][:, pair] = runs[1][:, pair[::-1]]
    runs[2][100:, pair] = runs[2][100:, pair[::-1]]
    source = read_source(Trajectories(runs, 0.2, ["a", "b", "c"]), pdb, None)
    assert "in another order than in the topology: exchanged in 2 runs" in caplog.text
    for made, expected in zip(source.runs, bursts.positions, strict=True):
        np.testing.assert_array_equal(made, np.asarray(expected, dtype=np.float32))


def test_where_a_second_molecule_is_has_anchors_of_its_own(
    bursts: Trajectories, pdb: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    """One length, two angles and three torsions, if it moves and turns in all ways."""
    one, rng = mdtraj.load(str(pdb)), np.random.default_rng(0)
    one.stack(one).save_pdb(str(tmp_path / "two.pdb"))
    runs = []
    for run in bursts.positions:
        turned = (run - run.mean(axis=1, keepdims=True)) @ Rotation.random(len(run), random_state=0).as_matrix()
        runs.append(np.concatenate([run, turned + rng.normal(0, 0.5, (len(run), 1, 3))], axis=1))
    found = soft_torsions(Trajectories(runs, 0.2), tmp_path / "two.pdb", tiny, 20.0)
    own = soft_torsions(bursts, pdb, tiny, 20.0)
    assert found[0].shape[1] == 2 * own[0].shape[1] + 1 + 2 + 2 * 3
    assert np.ptp(found[0], axis=0).min() > 0.1


def test_few_frames_are_refused(tiny: dict[str, Any], pdb: Path, alanine_runs: list[Any]) -> None:
    few = Trajectories([run[:30] for run in alanine_runs], 0.2)
    with pytest.raises(ValueError, match=r"60 frames to train on, 0.2 ps apart; expected at least 100"):
        load_data(few, pdb, parse_config(tiny))


def test_moments_of_bonds_are_in_the_order_of_the_model_file(tmp_path: Path) -> None:
    """Bonds between nucleotides are told from distances after all others, and a PDB file lists them elsewhere."""
    chain = mdtraj.load(str(Path(__file__).parents[1] / "io" / "nucleotides.pdb"))
    chain.save(str(top := tmp_path / "top.gro"))
    noise = 1e-5 * np.random.default_rng(0).standard_normal((200, chain.n_atoms, 3))
    mdtraj.Trajectory(chain.xyz + noise, chain.topology, np.arange(200.0)).save(str(path := tmp_path / "run.xtc"))
    config = TrainingConfig(holdout=0)
    data = split_data(read_source([path], top, None), config)
    written = app.PDBFile(io.StringIO(data.pdb))
    expected = structure_template(written.topology, np.array(written.positions._value)).bond_mean
    assert _bonded(data, config)["moments"]["bond_mean"] == pytest.approx(expected, abs=2e-3)  # type: ignore[index]
