"""Metastable states of a chain that hops between an extended and a helical structure at known rates."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.analysis.features import EvaluationError, FeatureSet, FeatureSpec, StructureTotals, feature_spec
from latentmd.analysis.reference import ReferenceModel
from latentmd.evaluation.states import States, states_of_run
from latentmd.report.page import plain
from tests.evaluation.test_shape import helix

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
FOLDING, UNFOLDING, INTERVAL = 0.02, 0.04, 10.0  # probabilities per frame; ps


def hopping(both: np.ndarray, runs: int, frames: int, seed: int) -> FeatureSet:
    """Runs between two structures (2, atoms, 3), from the first on, with thermal noise."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(runs):
        state = np.zeros(frames, dtype=int)
        for t in range(1, frames):
            leaves = rng.random() < (FOLDING, UNFOLDING)[state[t - 1]]
            state[t] = 1 - state[t - 1] if leaves else state[t - 1]
        made.append(both[state] + rng.normal(0, 0.004, (frames, *both.shape[1:])))
    spec = feature_spec(TOPOLOGY)
    kept = np.concatenate(made)[:: max(1, runs * frames // 300)].astype(np.float32)
    return FeatureSet((), [spec.values(m.astype(np.float32)) for m in made], INTERVAL, kept, StructureTotals())


EXTENDED = mdtraj.load(str(MOLECULES / "chignolin.pdb"))
TOPOLOGY = EXTENDED.topology


@pytest.fixture(scope="module")
def states() -> States:
    both = np.stack([EXTENDED.xyz[0], helix(EXTENDED)])
    sets = {
        name: hopping(both, *size) for name, size in zip(("training", "reference", "generated"), SIZES, strict=True)
    }
    md = sets["reference"]
    model = ReferenceModel(feature_spec(TOPOLOGY), md.runs, INTERVAL, lag=20.0, temperature=300.0, seed=0)
    return States(model, sets, TOPOLOGY)


SIZES = ((6, 300, 0), (6, 300, 1), (8, 300, 2))  # runs, frames, seed


def test_populations_and_times_are_those_of_the_process(states: States) -> None:
    assert states.names == ["A", "B"]
    folded = FOLDING / (FOLDING + UNFOLDING)
    exact = {"A": INTERVAL / FOLDING, "B": INTERVAL / UNFOLDING}
    record = plain(states.record())
    for name, population in (("A", 1 - folded), ("B", folded)):
        for label in ("training", "reference", "generated"):
            entry = record["states"][name][label]
            assert entry["population"] == pytest.approx(population, abs=0.15)
            assert entry["population_95"][0] < entry["population"] < entry["population_95"][1]
            low, high = entry["life_95"]
            assert low < entry["life_ps"] < high and low < 1.3 * exact[name] and high > exact[name] / 1.3
    passage = record["first_passage_ps"]["A to B"]["generated"]
    assert passage["mean"] == pytest.approx(record["states"]["A"]["generated"]["life_ps"])
    assert record["lag_ps"] == 20.0


def test_states_are_told_by_their_structure(states: States) -> None:
    assert states.looks(1).startswith("helix 2–9; ") and "elsewhere" in states.looks(1)
    assert "helix" not in states.looks(0)
    entries = {name: entry["reference"] for name, entry in states.record()["states"].items()}
    assert entries["A"]["rmsd_nm"] < 0.05 < entries["B"]["rmsd_nm"]
    assert entries["B"]["gyration_nm"] < entries["A"]["gyration_nm"] and entries["B"]["contacts"] > 4


def test_page_and_files_show_every_state_of_every_set(states: States, tmp_path: Path) -> None:
    (tmp_path / "state-F-training.pdb").write_text("of an earlier evaluation")
    (tmp_path / "mine.pdb").write_text("not ours")
    section = states.section(tmp_path)
    names = {path.name for path in tmp_path.glob("state-*")}
    assert names == {f"state-{k}-{s}.pdb" for k in "AB" for s in ("training", "reference", "generated")}
    assert (tmp_path / "mine.pdb").exists()
    bundle = mdtraj.load(str(tmp_path / "state-B-generated.pdb"))
    assert bundle.n_frames == 10 and bundle.n_atoms == TOPOLOGY.n_atoms
    assert (mdtraj.compute_dssp(bundle) == "H").mean() > 0.7
    assert mdtraj.rmsd(bundle, bundle).max() < 0.05
    before = bundle.xyz.copy()
    assert np.abs(bundle.superpose(bundle).xyz - before).max() < 1e-2  # they lie on each other as they are
    assert len(section.figures) == 2 and all(png.startswith(b"\x89PNG") for png, _ in section.figures)
    assert "helix 2–9" in section.body and "A to B" in section.body and "20 ps" in section.text


def test_a_set_that_never_enters_a_state_says_so(states: States, tmp_path: Path) -> None:
    still = hopping(np.stack([EXTENDED.xyz[0]] * 2), 2, 50, 0)
    found = States(states.model, {"reference": states.sets["reference"].data, "generated": still}, TOPOLOGY)
    section = found.section(tmp_path)
    assert "not visited" in section.body and "never left" in section.body
    assert not (tmp_path / "state-B-generated.pdb").exists() and (tmp_path / "state-B-reference.pdb").exists()


def test_states_of_one_run_come_from_its_own_files(tmp_path: Path) -> None:
    both, rng, paths = np.stack([EXTENDED.xyz[0], helix(EXTENDED)]), np.random.default_rng(5), []
    for walker in range(3):
        state = np.cumsum(rng.random(200) < 0.05) % 2
        frames = both[state] + rng.normal(0, 0.004, (200, *both.shape[1:]))
        paths.append(tmp_path / f"walker-{walker}.xtc")
        mdtraj.Trajectory(frames, TOPOLOGY, time=INTERVAL * np.arange(200)).save_xtc(str(paths[-1]))
    found = states_of_run(paths, TOPOLOGY, 27.0, 300.0)
    assert found.record()["lag_ps"] == 30.0 and list(found.sets) == ["generated"]
    assert sorted(found.looks(k).startswith("helix 2–9") for k in range(2)) == [False, True]
    with pytest.raises(EvaluationError, match="longest reference run"):
        states_of_run(paths, TOPOLOGY, 5000.0, 300.0)


def test_molecules_without_torsions_are_told_by_distances() -> None:
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    for i in range(5):
        topology.add_atom(f"C{i}", mdtraj.element.carbon, residue)
    for i in range(4):
        topology.add_bond(topology.atom(i), topology.atom(i + 1))
    rng, x = np.random.default_rng(0), np.zeros((2000, 5, 3), dtype=np.float32)
    x[:, :, 0] = 0.15 * np.arange(5)
    x[:, 4, 1] = 0.2 * (np.cumsum(rng.random(2000) < 0.05) % 2)
    x += rng.normal(0, 0.002, x.shape)
    spec = feature_spec(topology)
    assert isinstance(spec, FeatureSpec) and spec.kind == "distances"
    data = FeatureSet((), [spec.values(x)], 1.0, x[::10], StructureTotals())
    model = ReferenceModel(spec, data.runs, 1.0, lag=5.0, temperature=300.0, seed=0)
    found = States(model, {"generated": data}, topology)
    assert len(found.names) == 2 and "nm (elsewhere" in found.looks(0)
    assert "contacts" not in found.record()["states"]["A"]["generated"]
