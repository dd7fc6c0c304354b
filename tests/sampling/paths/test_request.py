"""Requests: frames of a path, what to do with an earlier run, and limits of the energy where the model has them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.io.folder import OutputError
from latentmd.sampling.paths.fill import FillRequest
from latentmd.sampling.paths.request import Subject, subject_of
from latentmd.systems.protocol import DEFAULT_INPUTS


@pytest.mark.parametrize(("time", "interval", "frames"), [(100.0, 10.0, 10), (0.3, 0.1, 3), (20.0, 20.0, 1)])
def test_frames_follow_from_the_times(path_plan: Any, time: float, interval: float, frames: int) -> None:
    assert dataclasses.replace(path_plan.request, time=time, interval=interval).frames == frames


def test_one_policy_at_a_time(path_plan: Any) -> None:
    assert path_plan.request.policy == "new"
    assert dataclasses.replace(path_plan.request, resume=True).policy == "resume"
    with pytest.raises(OutputError, match="exclude each other"):
        _ = dataclasses.replace(path_plan.request, resume=True, overwrite=True).policy


def test_limits_of_the_energy_are_the_median_and_the_upper_quantile(path_plan: Any) -> None:
    subject: Subject = path_plan.subject
    median, upper = subject.limits or (0.0, 0.0)
    assert median < upper and (median, upper) == tuple(subject.manifest.reference.energy_quantiles[1:3])
    reference = subject.manifest.reference.model_copy(update={"energy_quantiles": None})
    manifest = subject.manifest.model_copy(update={"reference": reference})
    model = dataclasses.replace(subject.model, manifest=manifest)
    assert dataclasses.replace(subject, model=model).limits is None


MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"
ALANINE = MOLECULES / "alanine_dipeptide.pdb"


def test_a_model_brings_its_own_molecule() -> None:
    subject = subject_of((), "alanine-dipeptide", DEFAULT_INPUTS)
    assert subject.structures == () and subject.molecule.system.getNumParticles() == 22
    assert subject.molecule.protocol.temperature == subject.manifest.temperature


def test_two_files_give_two_relaxed_structures(tmp_path: Path) -> None:
    moved = mdtraj.load(str(ALANINE))
    moved.xyz = moved.xyz + 0.5
    moved.save_pdb(str(tmp_path / "moved.pdb"))
    subject = subject_of((ALANINE, tmp_path / "moved.pdb"), None, DEFAULT_INPUTS)
    assert subject.model.manifest.name == "alanine-dipeptide" and len(subject.structures) == 2
    assert np.ptp(subject.structures[1] - subject.structures[0], axis=0).max() < 0.02  # a shift, and rounding
    assert (subject.reference == subject.structures[0]).all()


@pytest.mark.parametrize(
    ("files", "model", "reason"),
    [
        ((), None, "nothing says which molecule"),
        ((ALANINE, MOLECULES / "glycine_dipeptide.pdb"), "alanine-dipeptide", "a path joins two structures of one"),
        ((MOLECULES / "valine_dipeptide.pdb",), "alanine-dipeptide", "does not cover"),
        ((), "peptides", "a model of many peptides.*latentmd bind"),
        ((MOLECULES / "alanine_tetrapeptide.pdb",), None, "latentmd bind .*alanine_tetrapeptide.pdb"),
    ],
)
def test_files_and_models_that_do_not_fit_are_refused(files: tuple[Path, ...], model: str | None, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        subject_of(files, model, DEFAULT_INPUTS)


def test_a_solute_in_water_is_taken_alone_and_has_no_energies(
    solute_model: Path, in_water: Path, tmp_path: Path
) -> None:
    subject = subject_of((in_water, ALANINE), str(solute_model), DEFAULT_INPUTS)
    assert subject.molecule.topology.getNumAtoms() == 22 and len(subject.structures) == 2
    frames = np.stack(subject.structures)
    positions, energies, minimised = subject.relaxed(frames)
    assert (positions == frames).all() and np.isnan(energies).all() and not minimised.any()
    assert np.isnan(subject.settled(frames, 0)[1]).all() and np.isnan(subject.energies(frames)).all()
    assert "no energies" in subject.notes[0]
    loaded = mdtraj.load(str(in_water))
    wet = mdtraj.Trajectory(loaded.xyz.repeat(3, axis=0), loaded.topology, 10.0 * np.arange(3))
    wet.save(str(path := tmp_path / "run.xtc"))
    given = FillRequest(trajectory=path, top=in_water, interval=None, out=tmp_path).given(subject)
    assert given.positions.shape == (3, 22, 3) and given.interval == pytest.approx(10.0)
    assert subject_of((), str(solute_model), DEFAULT_INPUTS).molecule.topology.getNumAtoms() == 22
    with pytest.raises(ValueError, match=r"does not cover the molecule in .*chignolin.pdb: it has 138 atoms"):
        subject_of((MOLECULES / "chignolin.pdb",), str(solute_model), DEFAULT_INPUTS)
