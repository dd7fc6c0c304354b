"""`latentmd train`: exit codes, messages, and one whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner, Result

from latentmd.cli.main import main
from latentmd.cli.train import train_command
from latentmd.training.run import claim_training, training_folder

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
SETTINGS = """
stride = 0.2
solvent = "vacuum"
[encoder]
token_dim = 4
width = 8
depth = 1
vectors = 3
[jepa]
steps = 4
batch = 8
lag = [0.2, 1.0]
[latent]
lag = 0.4
[decoder]
steps = 2
width = 8
[fast]
steps = 2
width = 8
[predictor]
steps = 2
width = 8
cells = 2
lag = [1.0, 5.0]
[energy]
frames = 100
steps = 2
latent_steps = 2
"""


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(train_command, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def files(alanine_runs: list[Any], alanine_topology: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("cli-runs")
    for i, positions in enumerate(alanine_runs[:2]):
        times = 0.2 * np.arange(1, 101)
        mdtraj.Trajectory(positions[:100], alanine_topology, time=times).save_xtc(str(folder / f"{i}.xtc"))
    return sorted(folder.iterdir())


def test_a_run_writes_the_bundle_and_says_what_next(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(SETTINGS)
    out = tmp_path / "my.pt"
    line = [*files, "--top", PDB, "--out", out, "--config", tmp_path / "my.toml", "--device", "cpu"]
    result = invoke(*line)
    assert result.exit_code == 0, result.output
    assert f"wrote {out}; see it with: latentmd inspect {out}" in result.output.replace("\n", "")
    assert out.exists() and (tmp_path / "my-training" / "training.png").exists()
    before = out.read_bytes()
    again = invoke(*line)
    assert again.exit_code == 2
    assert "pass --overwrite to replace it or --resume to continue" in " ".join(again.output.split())
    assert out.read_bytes() == before


def test_bad_usage_is_exit_code_two(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("sede = 1\n")
    out, begun = tmp_path / "out.pt", tmp_path / "begun.pt"
    with claim_training(training_folder(begun), {}, False):
        pass
    for arguments, message in [
        ([*files, "--top", PDB, "--out", out, "--config", tmp_path / "bad.toml"], "did you mean 'seed'?"),
        ([*files, "--top", PDB, "--out", out, "--config", tmp_path / "no.toml"], "no such configuration file"),
        ([*files, "--top", PDB, "--out", tmp_path / "nowhere" / "out.pt"], "no such folder for the model"),
        (["--top", PDB, "--out", out], "Missing argument 'TRAJECTORIES...'"),
        ([*files, "--out", out], "Missing option '--top'"),
        ([*files, "--top", PDB, "--out", out, "--world", "circles"], "latentmd train world NAME --out FOLDER"),
        ([*files, "--top", PDB, "--out", out, "--from=peptides"], "--from has become a command of its own: latentmd"),
        ([*files, "--top", PDB, "--out", out, "--paths", "my.pt"], "latentmd train paths TRAJECTORIES"),
        ([*files, "--top", PDB, "--out", out, "--resume", "--overwrite"], "exclude each other; give one of them"),
        ([*files, "--top", PDB, "--out", begun], "pass --resume to go on with it or --overwrite to begin anew"),
        ([tmp_path, "--top", PDB, "--out", out], "is a folder; for a data set of many peptides: latentmd train"),
    ]:
        result = invoke(*arguments)
        assert result.exit_code == 2, result.output
        assert message in " ".join(result.output.split())
    assert not out.exists()


def test_bad_trajectories_are_exit_code_one(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.pt"
    (tmp_path / "bad.xtc").write_bytes(b"no trajectory" * 9)
    mdtraj.load(str(files[0]), top=str(PDB)).atom_slice(range(10)).save_xtc(str(tmp_path / "other.xtc"))
    dcd = [tmp_path / "run.dcd", tmp_path / "next.dcd"]
    for file, path in zip(files, dcd, strict=True):
        mdtraj.load(str(file), top=str(PDB)).save_dcd(str(path))
    made = sorted(tmp_path.iterdir())
    for arguments, message in [
        ([tmp_path / "gone.xtc"], "gone.xtc not found"),
        ([tmp_path / "bad.xtc"], "bad.xtc cannot be read as a .xtc file"),
        ([tmp_path / "other.xtc"], "other.xtc has 10 atoms, the topology has 22"),
        (dcd, "run.dcd is a .dcd file, which carries no times; give the time between its frames, such as --interval"),
        ([*dcd, "--interval", "0.4ps"], "frames are 0.4 ps apart and stride is 0.3 ps"),
        ([*files, "--interval", "0.4ps"], "--interval is 400 fs, but"),
        ([files[0]], "1 trajectories given and 1 held out"),
        ([*files, files[0]], f"100 of 100 frames of {files[0]} are in {files[0]} as well: give each run once"),
        (files, "frames are 0.2 ps apart and stride is 0.3 ps"),
    ]:
        (tmp_path / "my.toml").write_text("stride = 0.3\n" if "0.3 ps" in message else "")
        result = invoke(*arguments, *("--top", PDB), *("--out", out), *("--config", tmp_path / "my.toml"))
        assert result.exit_code == 1, result.output
        assert message in " ".join(result.output.split())
        assert result.exception is None or isinstance(result.exception, SystemExit)
    assert sorted(tmp_path.iterdir()) == sorted([*made, tmp_path / "my.toml"])


def test_a_missing_topology_is_exit_code_one(files: list[Path], tmp_path: Path) -> None:
    result = invoke(*files, "--top", tmp_path / "gone.pdb", "--out", tmp_path / "out.pt")
    assert result.exit_code == 1 and "gone.pdb" in result.output
    assert isinstance(result.exception, SystemExit)


def test_ctrl_c_says_how_to_go_on(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import latentmd.training.train as module

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", interrupted)
    result = invoke(*files, "--top", PDB, "--out", tmp_path / "out.pt")
    assert result.exit_code == 130 and "--resume" in result.output


def test_the_seed_of_the_command_line_replaces_that_of_the_settings(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import latentmd.training.train as module

    seeds: list[int] = []
    monkeypatch.setattr(module, "train", lambda *arguments, **_: seeds.append(arguments[3].seed))
    (tmp_path / "my.toml").write_text("seed = 5")
    line = [*files, "--top", PDB, "--out", tmp_path / "out.pt", "--config", tmp_path / "my.toml"]
    assert invoke(*line).exit_code == 0 and invoke(*line, "--seed", 0).exit_code == 0
    assert seeds == [5, 0]


@pytest.mark.parametrize("command", ["molecule", "peptides", "finetune", "paths", "world"])
def test_every_training_resumes_and_has_a_seed(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0 and "--resume" in result.output and "--seed" in result.output


def test_help_has_examples_and_the_commands() -> None:
    result = invoke("--help")
    assert result.exit_code == 0 and "Examples:" in result.output and "finetune" in result.output


def test_a_data_set_of_many_and_fine_tuning_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.pt").write_text("")
    run = tmp_path / "a.xtc"
    cases: list[tuple[list[object], str]] = [
        (["peptides", tmp_path / "empty", "--out", tmp_path / "b.pt"], "holds no molecule with trajectories"),
        (["peptides", tmp_path / "empty", "--out", tmp_path / "a.pt"], "--overwrite to replace it"),
        (["peptides", tmp_path / "empty", "--top", PDB, "--out", tmp_path / "b.pt"], "--top"),
        (["peptides", tmp_path / "empty", "--out", tmp_path / "no" / "b.pt"], "no such folder for the model"),
        (["finetune", run, "--top", PDB, "--from", "alanine-dipeptide", "--out", tmp_path / "b.pt"], "alanine-dipep"),
        (["finetune", run, "--top", PDB, "--from", "nothing", "--out", tmp_path / "b.pt"], "nothing"),
        (["finetune", run, "--top", PDB, "--out", tmp_path / "b.pt"], "a.xtc"),
        (["finetune", tmp_path / "empty", "--top", PDB, "--out", tmp_path / "b.pt"], "a folder without trajectories"),
        (["finetune", run, "--top", tmp_path / "no.pdb", "--out", tmp_path / "b.pt"], "no.pdb does not exist"),
        (["finetune", run, "--top", tmp_path / "a.pt", "--out", tmp_path / "b.pt"], "a.pt cannot be read"),
        (["paths", run, "--model", "peptides", "--out", tmp_path / "b.pt"], "expected --top"),
        (["paths", tmp_path / "empty", "--top", PDB, "--model", "peptides", "--out", tmp_path / "b.pt"],
         "leave --top out with a DATASET"),
        (["paths", tmp_path / "empty", "--model", "peptides", "--out", tmp_path / "b.pt"], "holds no molecule with"),
    ]  # fmt: skip
    for arguments, message in cases:
        found = CliRunner().invoke(main, ["train", *map(str, arguments)])
        assert found.exit_code in (1, 2) and message in found.output, (arguments, found.output, found.exception)
