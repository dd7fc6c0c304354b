"""The evaluation workflow on small trajectories of the alanine dipeptide, and its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner

from latentmd.analysis.features import FeatureSet, FeatureSpec, StructureTotals
from latentmd.analysis.metric import Evaluation, Metric
from latentmd.analysis.reference import ReferenceModel
from latentmd.cli.evaluate import evaluate_command
from latentmd.evaluation.evaluate import document, evaluate
from latentmd.evaluation.inputs import FRAME_BASELINES, EvaluationSettings

PDB = "systems/molecules/alanine_dipeptide.pdb"


def _turned(frame, axis, moving, angles):
    """Copies of a frame with the atoms `moving` turned about the bond `axis` by the angles."""
    origin = frame[axis[0]]
    unit = (frame[axis[1]] - origin) / np.linalg.norm(frame[axis[1]] - origin)
    v = frame[moving] - origin
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    turned = v * cos + np.cross(unit, v) * sin + unit * (v @ unit)[:, None] * (1 - cos)
    frames = np.repeat(frame[None], len(angles), axis=0)
    frames[:, moving] = turned + origin
    return frames


@pytest.fixture(scope="session")
def psi_runs(tmp_path_factory):
    """Files of runs in which psi hops between two wells and phi jitters: three xtc at 1 ps, one at 2 ps, one .npy."""
    folder = tmp_path_factory.mktemp("psi-runs")
    loaded = mdtraj.load(PDB)
    frame = loaded.xyz[0].astype(np.float64)
    paths = []
    for run, interval in enumerate((1.0, 1.0, 1.0, 2.0)):
        rng = np.random.default_rng(run)
        hops = np.cumsum(rng.random(3000) < 0.02) % 2
        angles = np.where(hops == 0, 0.0, 2.0) + rng.normal(0, 0.15, 3000)
        frames = _turned(frame, (8, 10), np.array([11, *range(16, 22)]), angles)
        frames += rng.normal(0, 0.001, frames.shape)
        trajectory = mdtraj.Trajectory(frames, loaded.topology, time=interval * np.arange(3000))
        paths.append(folder / f"walker-{run}.xtc")
        trajectory.save_xtc(str(paths[-1]))
    np.save(folder / "walker.npy", frames.astype(np.float32))
    return paths, folder / "walker.npy"


def test_evaluation_writes_a_document_and_a_page(psi_runs, tmp_path):
    paths, _ = psi_runs
    settings = EvaluationSettings(lag=10.0, temperature=300.0, baselines=FRAME_BASELINES, wall_time=2.0, md_speed=500.0)
    stages = []
    result = evaluate(
        paths[:1],
        paths[1:3],
        PDB,
        out=tmp_path,
        train=paths[1:3],
        settings=settings,
        progress=lambda *report: stages.append(report),
    )
    document = json.loads((tmp_path / "evaluation.json").read_text())
    values = {m["name"]: m for m in document["metrics"]}
    assert values["JS distance, (phi, psi)"]["value"] < 0.2
    assert 0 < values["JS distance, (phi, psi)"]["floor"] < 0.2
    assert values["frames, all checks"]["value"] == 1.0
    assert values["effective samples per second of wall time"]["value"] > 1
    slow = values["slowest implied timescale, lag 10 ps"]
    assert slow["reference_low"] < -1 / np.log(1 - 0.04) < slow["reference_high"] * 1.2
    assert set(document["baselines"]) == set(FRAME_BASELINES)
    assert document["generated"]["frames_compared"] == 3000 and document["generated"]["interval_ps"] == 1.0
    page = (tmp_path / "evaluation.html").read_text()
    assert page.count("data:image/png;base64,") >= 4 and "http" not in page.split("</style>")[1].split("<script")[0]
    assert stages[0] == ("reading the reference",) and ("comparing", 6, 7) in stages
    # The total is known once one of two files of equal length is read.
    assert stages[1][1:] == (3000, None) and stages[2][1:] == (6000, 6000.0)
    assert len(result.metrics) == len(document["metrics"])


def test_an_identical_set_has_no_distance(psi_runs):
    paths, _ = psi_runs
    result = evaluate(paths[:2], paths[:2], PDB, settings=EvaluationSettings(lag=10.0, temperature=300.0))
    value = {m.name: m.value for m in result.metrics}
    assert value["JS distance, (phi, psi)"] == 0 and value["JS distance, TICA-0,1"] == 0
    assert value["free-energy error, macrostates"] == 0
    assert any("both sets" in note for note in result.notes)


def test_baselines_that_know_no_kinetics_or_no_equilibrium_show_it(psi_runs):
    paths, _ = psi_runs
    settings = EvaluationSettings(lag=10.0, temperature=300.0, baselines=("shuffled", "persistence", "msm"))
    result = evaluate(paths[:1], paths[1:3], PDB, train=paths[1:3], settings=settings)
    by_name = {b: {m.name: m for m in rows} for b, rows in result.baselines.items()}
    psi = "decorrelation time, psi ALA2"
    assert by_name["shuffled"][psi].value < 1.0
    assert by_name["msm"][psi].value == pytest.approx(by_name["msm"][psi].reference, rel=0.3)
    assert by_name["persistence"]["JS distance, (phi, psi)"].value > 0.7
    assert by_name["shuffled"]["JS distance, (phi, psi)"].value < 0.2


def test_spacings_are_joined_only_when_asked(psi_runs):
    paths, _ = psi_runs
    with pytest.raises(ValueError, match="--resample"):
        evaluate(paths[3:], paths[:2], PDB, settings=EvaluationSettings(lag=10.0))
    result = evaluate(paths[3:], paths[:2], PDB, settings=EvaluationSettings(lag=10.0, resample=True))
    assert result.document["settings"]["interval_ps"] == 2.0
    assert result.document["reference"]["frames_compared"] == 3000
    assert any("every 2th frame" in n or "every 2nd" in n for n in result.notes)


def _save(path, frames, topology, times=None):
    mdtraj.Trajectory(frames, topology, time=times).save(str(path))
    return path


def test_bad_input_is_refused_in_a_sentence(psi_runs, tmp_path):
    paths, array = psi_runs
    loaded = mdtraj.load(PDB)
    values = np.load(array)
    fewer = tmp_path / "fewer.pdb"
    loaded.atom_slice(range(10)).save_pdb(str(fewer))
    nan = tmp_path / "nan.npy"
    broken = values.copy()
    broken[7, 3] = np.nan
    np.save(nan, broken)
    constant = _save(tmp_path / "constant.xtc", np.repeat(loaded.xyz, 500, axis=0), loaded.topology, np.arange(500.0))
    gap = _save(tmp_path / "gap.xtc", values[:60], loaded.topology, np.r_[np.arange(30.0), 100 + np.arange(30.0)])
    short = _save(tmp_path / "short.xtc", values[:15], loaded.topology, np.arange(15.0))
    empty = tmp_path / "empty.pdb"
    empty.touch()
    cases = [
        ({"top": fewer}, "22 atoms|10 atoms"),
        ({"generated": [nan], "settings": EvaluationSettings(lag=10.0, interval=1.0)}, "Frame 7 of .* non-finite"),
        ({"generated": [array]}, "time between its frames"),
        ({"generated": [constant]}, "same structure"),
        ({"reference": [constant]}, "same structure"),
        ({"generated": [gap]}, "apart"),
        ({"generated": [short]}, "needs more than 20"),
        ({"generated": [tmp_path / "none.xtc"]}, "not found"),
        ({"top": empty}, "is empty"),
        ({"generated": [tmp_path]}, "spacing|times|atoms|apart"),
        ({"settings": EvaluationSettings(lag=10.5)}, "no whole number of frames"),
        ({"settings": EvaluationSettings(lag=10.0, baselines=("msm",))}, "--train"),
    ]
    for change, message in cases:
        whole = {"generated": paths[:1], "reference": paths[1:3], "top": PDB, "settings": EvaluationSettings(lag=10.0)}
        arguments = whole | change
        with pytest.raises(ValueError, match=message):
            evaluate(**arguments)


def test_command_takes_globs_and_ends_with_the_right_code(psi_runs, tmp_path):
    paths, _ = psi_runs
    runner = CliRunner()
    line = [str(paths[0]), "--reference", str(paths[1]), str(paths[2]), "--top", PDB, "--lag", "10ps"]
    done = runner.invoke(evaluate_command, [*line, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "JS distance" in done.output and "350 K assumed" in done.output
    again = runner.invoke(evaluate_command, [*line, "--out", str(tmp_path / "out")])
    assert again.exit_code == 1 and "--overwrite" in again.output
    assert runner.invoke(evaluate_command, [*line, "--lag", "10"]).exit_code == 2
    assert runner.invoke(evaluate_command, line[1:]).exit_code == 2
    missing = runner.invoke(evaluate_command, ["none.xtc", *line[1:], "--out", str(tmp_path / "other")])
    assert missing.exit_code == 1 and "not found" in missing.output and "Traceback" not in missing.output


def test_a_ligand_falls_back_on_distances(tmp_path):
    rng = np.random.default_rng(0)
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    for i in range(5):
        topology.add_atom(f"C{i}", mdtraj.element.carbon, residue)
    for i in range(4):
        topology.add_bond(topology.atom(i), topology.atom(i + 1))
    paths = []
    for run in range(2):
        x = np.zeros((2000, 5, 3))
        x[:, :, 0] = 0.15 * np.arange(5)
        bend = np.cumsum(rng.random(2000) < 0.05) % 2
        x[:, 4, 1] = 0.08 * bend
        x += rng.normal(0, 0.002, x.shape)
        paths.append(_save(tmp_path / f"{run}.xtc", x, topology, np.arange(2000.0)))
    _save(tmp_path / "ligand.pdb", x[:1], topology)
    settings = EvaluationSettings(lag=5.0, temperature=300.0)
    result = evaluate(paths[:1], paths[1:], tmp_path / "ligand.pdb", settings=settings)
    assert any("no named torsions" in note for note in result.notes)
    assert {m.name for m in result.metrics} >= {"JS distance, distances (all)", "JS distance, TICA-0"}


def test_training_frames_stand_beside_in_the_shape_of_chains(tmp_path):
    """Training data that are larger than the reference show it, while rollouts like the reference do not."""
    top = Path(PDB).with_name("chignolin.pdb")
    chain = mdtraj.load(str(top))
    paths = {}
    for seed, (name, size) in enumerate({"md": 1.0, "train": 1.08, "own": 1.0}.items()):
        rng = np.random.default_rng(seed)
        breathing = size + 0.01 * rng.standard_normal((300, 1, 1))
        moved = chain.xyz * breathing + 0.002 * rng.standard_normal((300, chain.n_atoms, 3))
        paths[name] = tmp_path / f"{name}.xtc"
        mdtraj.Trajectory(moved.astype(np.float32), chain.topology, time=np.arange(300.0)).save_xtc(str(paths[name]))
    settings = EvaluationSettings(lag=5.0, temperature=300.0)
    result = evaluate([paths["own"]], [paths["md"]], top, train=[paths["train"]], settings=settings)
    size = "JS distance, radius of gyration"
    own, trained = ({m.name: m.value for m in metrics} for metrics in (result.metrics, result.baselines["shuffled"]))
    assert own[size] < 0.3 and trained[size] > 0.7


def test_a_runs_own_summary_and_provenance_are_used(psi_runs, tmp_path):
    paths, _ = psi_runs
    rng = np.random.default_rng(0)
    for folder, path, shift in (("own", paths[0], 5.0), ("md", paths[1], 0.0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "walker-0000.xtc").write_bytes(path.read_bytes())
        summary = {"seed": 7, "wall_seconds": {"total": 2.0}, "speed": {"plain_md_ns_per_day": 8640.0}}
        summary["protocol"] = {"temperature": 310.0}
        (tmp_path / folder / "summary.json").write_text(json.dumps(summary))
        rows = [f"0,{t},{'latent' if t % 2 else 'md'},{e},\n" for t, e in enumerate(rng.normal(shift, 1, 400))]
        header = "walker,time_ps,kind,potential_energy,checks_failed\n"
        (tmp_path / folder / "provenance.csv").write_text(header + "".join(rows))
    settings = EvaluationSettings(lag=10.0, baselines=("all",))
    result = evaluate([tmp_path / "own"], [tmp_path / "md"], PDB, train=[tmp_path / "md"], settings=settings)
    values = {m.name: m for m in result.metrics}
    assert result.document["settings"]["temperature_K"] == 310.0
    assert result.document["seeds"] == {"reference": (7,), "generated": (7,)}
    samples = values["effective samples, TIC-0"].value
    assert values["effective samples per second of wall time"].value == pytest.approx(samples / 2.0)
    assert values["mean potential energy"].value == pytest.approx(5.0, abs=0.3)
    assert values["frames in MD's 0.1 to 99.9 % of energies"].value < 0.2
    assert set(result.baselines) == set(FRAME_BASELINES)
    assert not any("assumed" in note for note in result.notes)


def test_the_document_counts_frames_and_time() -> None:
    spec = FeatureSpec("distances", ("a",), np.zeros((1, 2), dtype=np.int64), ())
    runs = [np.cumsum(np.random.default_rng(i).normal(size=(200, 1)), axis=0) for i in range(2)]
    model = ReferenceModel(spec, runs, 2.0, lag=10.0, temperature=310.0, seed=4)
    sets = [
        FeatureSet((Path(n),), r, 2.0, np.zeros((7, 2, 3)), StructureTotals())
        for n, r in (("a", runs[:1]), ("b", runs))
    ]
    result = Evaluation([Metric("JS", "distribution", 0.1)], {}, *sets, notes=["one walker"])
    found = document(result, model, EvaluationSettings(lag=10.0, seed=4), "top.pdb")
    assert (found["topology"], found["notes"], found["metrics"]) == ("top.pdb", ["one walker"], result.metrics)
    assert found["generated"] | {"files": []} == {
        "files": [], "runs": 1, "frames_compared": 200, "frames_checked": 7, "interval_ps": 2.0, "simulated_ps": 400.0,
    }  # fmt: skip
    assert found["reference"]["frames_compared"] == 400
    settings = found["settings"]
    assert (settings["lag_ps"], settings["temperature_K"], settings["seed"]) == (10.0, 310.0, 4)
    assert settings["macrostates"] == model.sets and settings["features"] == ["a"]
