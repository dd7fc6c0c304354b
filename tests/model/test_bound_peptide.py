"""A model of many peptides bound to one: coverage, the model file, mirror images, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openmm.app import PDBFile

from latentmd.arrays import Doubles
from latentmd.core.steps.tilt import Tilt
from latentmd.model.binding import bind, bound_peptide
from latentmd.model.file import BundleError, load
from latentmd.model.peptide_file import PeptideFile, load_peptides, read_peptide_manifest
from latentmd.model.propagator import Propagator
from latentmd.molecule.checks import check_frames, structure_template

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
CAPPED = ["alanine_dipeptide", "valine_dipeptide", "glycine_dipeptide", "alanine_tetrapeptide"]


def read(name: str) -> tuple[Any, Doubles]:
    """Topology and positions of a bundled molecule."""
    pdb = PDBFile(str(MOLECULES / f"{name}.pdb"))
    return pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value, dtype=np.float64)


@pytest.fixture(scope="module")
def peptides() -> PeptideFile:
    return load_peptides()


@pytest.mark.parametrize("name", [*CAPPED, "met_enkephalin"])
def test_decoded_structures_are_sound(name: str, peptides: PeptideFile) -> None:
    topology, positions = read(name)
    bound, found, _ = bound_peptide(topology, positions, peptides)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        slow, fast = bound.encode(torch.from_numpy(positions).float().expand(32, -1, -1))
        assert slow.shape == (32, len(found.names), bound.axes) and fast.shape[-1] == bound.dim - bound.n_slow
        slow = bound.step(slow, torch.full((32,), 100.0), torch.randn(32, bound.step_noise, generator=generator))
        frames = bound.decode(slow, torch.randn(32, bound.decode_noise, generator=generator)).double().numpy()
    passed = check_frames(frames, structure_template(topology, positions))
    assert np.all(list(passed.values()), axis=0).mean() >= 0.9


def test_slow_axes_tell_torsions_and_structures_keep_them(peptides: PeptideFile) -> None:
    topology, positions = read("alanine_tetrapeptide")
    bound, _, _ = bound_peptide(topology, positions, peptides)
    x = torch.from_numpy(positions).float().unsqueeze(0)
    with torch.no_grad():
        own = bound.angles(x)
        slow, fast = bound.encode(x)
        noise = torch.randn(1, bound.decode_noise, generator=torch.Generator().manual_seed(1))
        kept = [bound.reconstruct(slow, fast, noise), bound.decode(slow, noise)]
        likely = bound.likely(slow[..., : bound.n_slow])
        assert torch.allclose(bound.from_waves(3 * slow[..., bound.n_slow :]), slow, atol=1e-4)
    for angles in (bound.angles(again) for again in kept):
        assert float(turn(angles, own).abs().max()) < 1e-4
    assert float(turn(likely, own).abs().max()) < np.deg2rad(30)


def test_the_density_of_a_step_is_that_of_its_draws(peptides: PeptideFile) -> None:
    """Over draws of a step p, the mean of q/p is one, for q the step of another lag (importance sampling)."""
    topology, positions = read("alanine_dipeptide")
    bound, _, _ = bound_peptide(topology, positions, peptides)
    draws, lags = 400, [100.0, 20.0]
    noise = torch.randn(draws, bound.torsion_noise, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        start = bound.encode(torch.from_numpy(positions).float().unsqueeze(0))[0]
        drawn = bound.state(bound.draw(start.expand(draws, -1, -1), torch.full((draws,), lags[0]), noise))
        p, q = (torch.cat([bound.log_arrival(start, torch.tensor([lag]), end) for end in drawn]) for lag in lags)
    ratio = torch.exp(q - p)
    assert float(ratio.std()) > 0.05
    assert abs(float(ratio.mean()) - 1) < 3 * float(ratio.std()) / draws**0.5


def turn(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.remainder(a - b + np.pi, 2 * np.pi) - np.pi


def test_a_peptide_of_d_residues_is_the_mirror_image(peptides: PeptideFile) -> None:
    topology, positions = read("met_enkephalin")
    mirror = positions * np.array([1.0, 1.0, -1.0])
    left, _, _ = bound_peptide(topology, positions, peptides)
    right, _, _ = bound_peptide(topology, mirror, peptides)
    noise = torch.randn(4, left.decode_noise, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        slow = left.encode(torch.from_numpy(positions).float().expand(4, -1, -1))[0]
        other = right.encode(torch.from_numpy(mirror).float().expand(4, -1, -1))[0]
        assert torch.allclose(slow, other, atol=1e-4)
        one, two = left.decode(slow, noise), right.decode(slow, noise)
    assert torch.allclose(one * torch.tensor([1.0, 1.0, -1.0]), two, atol=1e-6)


def test_the_file_gives_what_memory_gives(peptides: PeptideFile, tmp_path: Path) -> None:
    topology, positions = read("valine_dipeptide")
    bound, _, _ = bound_peptide(topology, positions, peptides)
    manifest = bind(topology, positions, tmp_path / "v.pt", peptides)
    assert manifest.covers(topology) and manifest.zero_shot is not None
    assert manifest.zero_shot.sequence == "ACE-VAL-NME" and not manifest.zero_shot.trained
    stored = load(tmp_path / "v.pt").module
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(5, bound.step_noise, generator=generator)
    with torch.no_grad():
        slow = bound.encode(torch.from_numpy(positions).float().expand(5, -1, -1))[0]
        lags = torch.full((5,), 50.0)
        assert torch.allclose(bound.step(slow, lags, noise), stored.step(slow, lags, noise), atol=1e-4)


def test_a_propagator_makes_sound_steps_and_refuses_energies(peptides: PeptideFile, tmp_path: Path) -> None:
    topology, positions = read("alanine_tetrapeptide")
    bind(topology, positions, tmp_path / "a.pt", peptides)
    propagator = Propagator(tmp_path / "a.pt", "cpu")
    step = propagator.sound_step(positions, 200.0, lambda draw: np.random.default_rng(draw))
    assert step.positions.shape == positions.shape
    assert all(passed.all() for passed in propagator.checks(step.positions[None]).values())
    with pytest.raises(Exception, match="has no energy"):
        propagator.energies(positions[None])


def test_one_proposal_is_the_plain_step_and_equal_weights_change_no_law(peptides: PeptideFile) -> None:
    bound, _, _ = bound_peptide(*read("valine_dipeptide"), peptides)
    slow = torch.zeros(300, bound.n_tokens, bound.axes)
    lags, generator = torch.full((300,), 100.0), torch.Generator().manual_seed(6)
    noise = torch.randn(300, 2 * bound.torsion_noise + 1, generator=generator)
    with torch.no_grad():
        first, second = (bound.draw(slow, lags, part) for part in noise[:, 1:].chunk(2, dim=1))
        assert torch.equal(
            bound.move(slow, lags, noise[:, : bound.move_noise]),
            bound.draw(slow, lags, noise[:, : -1 - bound.torsion_noise]),
        )
        bound.take(Tilt(bound.mask[0], proposals=2))
        taken = bound.move(slow, lags, noise)
    expected = torch.where((noise[:, 0] > 0).reshape(-1, 1, 1), second, first)
    assert torch.allclose(taken, expected, atol=1e-4)


def test_what_is_not_covered_is_named(peptides: PeptideFile, tmp_path: Path) -> None:
    topology, positions = read("chignolin")
    with pytest.raises(BundleError, match="it has 10 residues; covered are 1 to 8"):
        bind(topology, positions, tmp_path / "c.pt", peptides)
    topology, positions = read("trialanine")
    coverage = peptides.manifest.coverage
    assert "temperature is 300 K" in coverage.covers(topology, 300.0).reason
    assert "force field is other.xml" in coverage.covers(topology, force_field=("other.xml",)).reason
    record = {"templates": coverage.templates - {key for key in coverage.templates if key.startswith("ALA inner")}}
    narrow = coverage.model_copy(update=record)
    assert "it was not trained on ALA inner" in narrow.covers(topology).reason


def test_l_and_d_residues_together_are_refused(peptides: PeptideFile) -> None:
    topology, positions = read("trialanine")
    other = positions.copy()
    index = {a.name: a.index for a in topology.atoms() if a.residue.index == 1}
    other[[index["HA"], index["CB"]]] = other[[index["CB"], index["HA"]]]
    assert "L and D residues" in peptides.manifest.coverage.covers(topology, positions=other).reason


def test_cis_peptide_bonds_are_refused(peptides: PeptideFile) -> None:
    topology, positions = read("trialanine")
    index = {(a.residue.index, a.name): a.index for a in topology.atoms()}
    c, n = positions[index[0, "C"]], positions[index[1, "N"]]
    axis, cis = (n - c) / np.linalg.norm(n - c), positions.copy()
    behind = [i for (residue, _), i in index.items() if residue >= 1]
    cis[behind] = c + 2 * np.outer((positions[behind] - c) @ axis, axis) - (positions[behind] - c)
    coverage = peptides.manifest.coverage
    assert coverage.covers(topology, positions=positions)
    assert "residue 2 ALA has a cis peptide bond" in coverage.covers(topology, positions=cis).reason


def test_a_model_of_many_is_not_taken_for_one_of_a_molecule() -> None:
    from latentmd.model.peptide_file import find_peptides

    with pytest.raises(BundleError, match="latentmd bind MOLECULE"):
        load(find_peptides())
    manifest = read_peptide_manifest()
    assert len(manifest.sequences) == 999 and not set(manifest.sequences) & set(manifest.held_out)
