"""Inpainting: given atoms stay where they are, the rest follows from them and is joined to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
import torch
from openmm.app import PDBFile

from latentmd.model.binding import bind
from latentmd.model.propagator import Propagator
from latentmd.molecule.chain import SLOTS
from latentmd.molecule.checks import aligned_rmsd, check_frames, structure_template, torsions
from latentmd.sampling.paths.inpaint import Graft, ToldSteps, hidden_residues, inpaint, known_atoms, laid_on_known

TOP = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def test_a_mask_that_leaves_nothing_or_everything_is_refused(alanine: Any) -> None:
    assert hidden_residues(alanine.topology, (2,)).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="nothing is given"):
        hidden_residues(alanine.topology, (1, 2, 3))
    with pytest.raises(ValueError, match="nothing is left to draw"):
        hidden_residues(alanine.topology, ())
    with pytest.raises(ValueError, match=r"--residues 7: no such residue; the molecule has 1 ACE, 2 ALA, 3 NME"):
        hidden_residues(alanine.topology, (7,))


def _given(chain: Any, propagator: Any, path: Path, interval: float) -> Path:
    """Twelve frames, the last four of the rarest state."""
    rng = np.random.default_rng(0)
    rare = len(chain.populations) - 1
    points = np.concatenate([chain.draw(1, 8, rng), chain.draw(rare, 4, rng)])
    frames = propagator.decode(torch.from_numpy(points), rng)
    mdtraj.Trajectory(frames, mdtraj.load_topology(str(TOP)), time=interval * np.arange(12)).save_xtc(str(path))
    return path


def test_the_hidden_residue_follows_from_the_others(chain: Any, propagator: Any, tmp_path: Path) -> None:
    path = _given(chain, propagator, tmp_path / "given.xtc", 10.0)
    result = inpaint(path, TOP, [2], out=tmp_path / "run", processes=1)
    given, made = (mdtraj.load(str(p), top=str(TOP)) for p in (path, result.trajectory))
    caps = np.array([a.index for a in given.topology.atoms if a.residue.name != "ALA"])
    assert aligned_rmsd(made.xyz, given.xyz, caps).max() < 2e-3
    names = {(a.residue.name, a.name): a.index for a in given.topology.atoms}
    phi = np.array([[names[k] for k in (("ACE", "C"), ("ALA", "N"), ("ALA", "CA"), ("ALA", "C"))]])
    agree = (torsions(made.xyz, phi) > 0) == (torsions(given.xyz, phi) > 0)
    assert agree.mean() > 0.8  # the jump into the rare state included
    assert result.summary["frames_made"] == 12 and result.summary["residues"] == [2]


def test_frames_closer_than_a_step_are_refused(chain: Any, propagator: Any, tmp_path: Path) -> None:
    path = _given(chain, propagator, tmp_path / "fine.xtc", 1.0)
    with pytest.raises(ValueError, match=r"no multiple of a step of the model, 10 ps to 200 ps.*latentmd upsample"):
        inpaint(path, TOP, [2], out=tmp_path / "run")


def _rest(alanine: Any) -> Any:
    return np.asarray(alanine.positions._value, dtype=np.float64)


def test_known_atoms_are_those_of_the_other_residues(alanine: Any) -> None:
    known, heavy = known_atoms(alanine.topology, np.array([False, True, False]))
    names = [atom.residue.name for atom in alanine.topology.atoms()]
    assert {names[i] for i in known} == {"ACE", "NME"} and len(known) == 12
    assert len(heavy) == 5 and set(heavy) <= set(known)


def test_superposition_undoes_a_rotation(alanine: Any) -> None:
    rest = _rest(alanine)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    known = np.arange(5)
    back = laid_on_known((rest @ turn.T + 0.3)[None], rest[None], known)
    assert back[0] == pytest.approx(rest, abs=1e-9)


def test_given_atoms_do_not_move_and_the_joint_heals(alanine: Any) -> None:
    rest = _rest(alanine)
    known, _ = known_atoms(alanine.topology, np.array([False, True, False]))
    generated = rest + np.random.default_rng(0).normal(scale=0.02, size=rest.shape)
    joined, energy = Graft(alanine, known, None, 1).join(generated, rest)
    assert joined[known] == pytest.approx(rest[known], abs=1e-7)
    hidden = np.setdiff1d(np.arange(len(rest)), known)
    assert (joined[hidden] != generated[hidden]).all()
    thermal = 1.5 * len(hidden) * 0.0083145 * alanine.protocol.temperature
    assert energy < _energy(alanine, rest) + 2 * thermal


def test_a_joint_heals_without_a_force_field(alanine: Any) -> None:
    rest = _rest(alanine)
    template = structure_template(alanine.topology, rest)
    known, _ = known_atoms(alanine.topology, np.array([False, True, False]))
    generated = rest + np.random.default_rng(0).normal(scale=0.02, size=rest.shape)
    joined, energy = Graft(alanine, known, None, 1, template).join(generated, rest)
    assert joined[known] == pytest.approx(rest[known], abs=1e-7) and np.isnan(energy)
    assert all(passed.all() for passed in check_frames(joined[None], template).values())
    assert not check_frames(np.where(np.isin(np.arange(22), known)[:, None], rest, generated)[None], template)["bonds"][
        0
    ]


def test_equal_seeds_give_equal_frames(alanine: Any) -> None:
    rest = _rest(alanine)
    known, _ = known_atoms(alanine.topology, np.array([False, True, False]))
    first, again, other = (Graft(alanine, known, None, seed).join(rest, rest)[0] for seed in (1, 1, 2))
    assert (first == again).all() and np.abs(first - other).max() > 1e-4


def test_atoms_thrown_onto_each_other_come_apart(alanine: Any) -> None:
    rest = _rest(alanine)
    known, _ = known_atoms(alanine.topology, np.array([False, True, False]))
    hidden = np.setdiff1d(np.arange(len(rest)), known)
    heap = rest.copy()
    heap[hidden] = rest[hidden].mean(axis=0) + np.random.default_rng(0).normal(scale=1e-3, size=(len(hidden), 3))
    limit = _energy(alanine, rest) + 400
    joined, energy = Graft(alanine, known, (0.0, limit), 1).join(heap, rest)
    assert np.isfinite(joined).all() and energy < 1e4 and joined[known] == pytest.approx(rest[known], abs=1e-7)


def test_held_neighbours_turn_a_residue_back(alanine: Any) -> None:
    """The caps of alanine dipeptide leave phi and psi no more room than vibrations have."""
    rest = _rest(alanine)
    atoms = {(a.residue.name, a.name): a.index for a in alanine.topology.atoms()}
    phi = np.array([[atoms[k] for k in (("ACE", "C"), ("ALA", "N"), ("ALA", "CA"), ("ALA", "C"))]])
    known, _ = known_atoms(alanine.topology, np.array([False, True, False]))
    turned = rest.copy()
    side = [atoms["ALA", name] for name in ("CB", "HB1", "HB2", "HB3", "C", "O", "HA")]
    axis = rest[phi[0, 2]] - rest[phi[0, 1]]
    turned[side] = _rotated(rest[side] - rest[phi[0, 1]], axis, np.radians(25.0)) + rest[phi[0, 1]]
    found = np.stack([Graft(alanine, known, None, seed).join(turned, rest)[0] for seed in range(1, 9)])
    off = np.degrees(np.angle(np.exp(1j * (torsions(found, phi) - torsions(rest[None], phi)))))
    assert abs(np.degrees(torsions(turned[None], phi) - torsions(rest[None], phi))).item() == pytest.approx(25, abs=1)
    assert abs(off.mean()) < 12


def _rotated(x: Any, axis: Any, angle: float) -> Any:
    """Rodrigues' rotation."""
    k = axis / np.linalg.norm(axis)
    return x * np.cos(angle) + np.cross(k, x) * np.sin(angle) + np.outer(x @ k, k) * (1 - np.cos(angle))


def _energy(molecule: Any, x: Any) -> float:
    import openmm

    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(molecule.system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(x)
    return float(context.getState(energy=True).getPotentialEnergy()._value)


MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"
PSI = SLOTS.index("psi")


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model of peptides bound to trialanine, and its structure."""
    pdb = PDBFile(str(MOLECULES / "trialanine.pdb"))
    x = np.array(pdb.getPositions(asNumpy=True)._value)
    path = tmp_path_factory.mktemp("bound") / "a.pt"
    bind(pdb.topology, x, path)
    return Propagator(path, "cpu", threads=1), x


def test_told_torsions_are_there_and_weights_make_up_for_them(bound: Any) -> None:
    """ψ of the first residue told: weights average to its marginal density, as a histogram of free steps has it."""
    propagator, x = bound
    module, given = propagator.module, np.flatnonzero([a.residue.index == 0 for a in _atoms(propagator)])
    steps, start = ToldSteps(propagator, given, x[None], 500.0), propagator.encode(x[None]).repeat(4000, 1, 1)
    known = steps.known
    assert known[0, PSI] and not known[1:].any()
    z, weight = steps.arrive(start, 0, torch.Generator().manual_seed(0))
    drawn = module.torsions(z)[:, known]
    assert float((torch.remainder(drawn - steps.angles[0][known] + np.pi, 2 * np.pi) - np.pi).abs().max()) < 1e-4
    free = module.torsions(module.step(start, torch.full((4000,), 500.0), torch.randn(4000, module.step_noise)))
    away = np.remainder(free[:, 0, PSI].numpy() - float(steps.angles[0, 0, PSI]) + np.pi, 2 * np.pi) - np.pi
    density = (np.abs(away) < np.radians(15)).mean() / np.radians(30)
    others = [s for s in range(len(SLOTS)) if known[0, s] and s != PSI]
    if not others:
        assert float(weight.double().exp().mean()) == pytest.approx(density, rel=0.15)


def test_the_first_frame_starts_with_draws_that_agree(bound: Any) -> None:
    propagator, x = bound
    given = np.flatnonzero([a.residue.index != 1 for a in _atoms(propagator)])
    steps = ToldSteps(propagator, given, x[None], 100.0)
    starts = steps.starts(20, torch.Generator().manual_seed(0))
    assert starts.shape == (20, 3, propagator.module.axes)
    moved, gain = steps.defended(starts, torch.ones(1), torch.Generator().manual_seed(0))
    assert moved.shape == starts.shape and not gain.any() and not steps.cell(starts).any()


def _atoms(propagator: Any) -> list[Any]:
    return list(propagator.manifest.molecule()[0].atoms())
