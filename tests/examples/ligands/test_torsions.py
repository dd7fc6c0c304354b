"""The model of torsions from molecules to scores, as the study's scripts do it, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rdkit")
pytest.importorskip("openff.toolkit")

import molecules
from rdkit import Chem
from score_torsions import Table, distances
from torsion_data import sample
from train_torsions import Sampled

from latentmd.io.atomic import write_npz
from latentmd.model.torsion_graph import load_torsions

FOLDER = Path(molecules.__file__).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small molecules with a few sweeps each."""
    folder = tmp_path_factory.mktemp("data")
    for name, smiles in (("butanol", "CC[C@H](C)O"), ("amide", "COCC(=O)N(C)CC")):
        write_npz(folder / f"{name}.npz", sample(name, smiles, sweeps=10, every=1, seed=1))
    return folder


def test_molecules_that_fit_and_their_scaffolds() -> None:
    fits = [
        molecules.fits(Chem.MolFromSmiles(s), (9, 30), (1, 5)) for s in ("CCCO", "C", "CC[O-]", "CC[SiH3]", "CO.CO")
    ]
    assert fits == [True, False, False, False, False]
    assert molecules.scaffold("CCc1ccccc1") == molecules.scaffold("c1ccccc1O") == "c1ccccc1"
    assert molecules.scaffold("CC[C@H](C)O") == molecules.scaffold("CCC(C)O") == "CCC(C)O"
    assert "@" in molecules.one_isomer(Chem.MolFromSmiles("CCC(C)O"))


def test_examples_hold_what_chains_sampled_and_what_is_known(data: Path) -> None:
    """A torsion is a target or known, never both; amides without a hydrogen are drawn."""
    rng = np.random.default_rng(1)
    sampled = Sampled(data / "amide.npz")
    stored = np.load(data / "amide.npz")
    middles = [set(sampled.graph.quads[t, 1:3].tolist()) for t in np.flatnonzero(sampled.graph.drawn)]
    symbols = stored["symbols"]
    assert any({"C", "N"} == {str(symbols[i]) for i in middle} for middle in middles)
    seen = [sampled.example(rng) for _ in range(30)]
    assert all((e.target & e.known).sum() == 0 and e.target.any() for e in seen)
    assert any(e.known.any() for e in seen) and {float(e.hand) for e in seen} == {1.0, -1.0}
    angles = stored["angles"].reshape(-1, stored["angles"].shape[-1])
    for e in seen[:5]:
        assert np.abs(angles - e.angles.numpy()[sampled.columns]).max(axis=1).min() < 1e-6


def test_a_table_of_torsion_types_knows_what_it_saw(data: Path) -> None:
    mol = Chem.MolFromMolBlock(str(np.load(data / "butanol.npz")["ligand"]), removeHs=False)
    sampled = Sampled(data / "butanol.npz")
    table = Table([(sampled, mol)])
    quad = sampled.graph.quads[int(np.flatnonzero(sampled.graph.drawn)[0])].tolist()
    density = table.density(mol, quad)
    np.testing.assert_allclose(density, density[::-1], atol=1e-9)
    assert density.max() > 3 / len(density)
    same = np.random.default_rng(0).uniform(-np.pi, np.pi, (500, 2))
    assert distances(same, same, [(0, 1)]) == (0.0, 0.0) and np.isnan(distances(same, same, [])[1])


def test_a_short_training_is_written_and_scored(data: Path, tmp_path: Path) -> None:
    out, scores = tmp_path / "torsions.pt", tmp_path / "score.json"
    line = ["--minutes", "5", "--steps", "12", "--batch", "8", "--width", "16", "--depth", "2", "--out", str(out)]
    done = _script("train_torsions.py", str(data), *line)
    assert "learn from" in done
    assert load_torsions(out)[1].molecules >= 1
    line = ["--train", str(data), "--test", str(data), "--out", str(scores)]
    done = _script("score_torsions.py", str(out), *line)
    assert "2 molecules" in done
    assert all(0 <= row["model"][0] <= 0.8326 for row in json.loads(scores.read_text()).values())


def _script(name: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, str(FOLDER / name), *arguments], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout
