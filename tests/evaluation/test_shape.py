"""Metrics of shape of chains whose contacts and size are known."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.evaluation.shape import Shape, shape_metrics, shape_of, shape_record, shape_sections

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"


def helix(extended: mdtraj.Trajectory) -> np.ndarray:
    """The chain as an ideal helix, positions (atoms, 3) in nm."""
    coordinates = InternalCoordinates.from_topology(extended.topology)
    bonds, angles, torsions = coordinates.to_internal(torch.from_numpy(extended.xyz).float())
    drivers = coordinates.driver_index
    for measure, wanted in ((mdtraj.compute_phi, -60.0), (mdtraj.compute_psi, -45.0)):
        for angle in measure(extended)[1][0]:
            torsions[0, drivers[torch.argmin((torsions[0, drivers] - float(angle)).abs())]] = np.deg2rad(wanted)
    return coordinates.to_cartesian(bonds, angles, torsions).numpy()[0]


def shapes(own: np.ndarray, md: np.ndarray, topology: mdtraj.Topology) -> dict[str, Shape]:
    return {name: shape_of(frames, topology, md[0]) for name, frames in (("generated", own), ("reference", md))}


@pytest.fixture(scope="module")
def chignolin() -> mdtraj.Trajectory:
    return mdtraj.load(str(MOLECULES / "chignolin.pdb"))


def test_a_share_of_unfolded_frames_is_measured(chignolin: mdtraj.Trajectory) -> None:
    """Chains pressed together have contacts, those blown up have none: the error is the share of the latter."""
    rng = np.random.default_rng(0)
    folded = 0.4 * np.repeat(chignolin.xyz, 400, axis=0) + 0.005 * rng.standard_normal((400, chignolin.n_atoms, 3))
    mixed = folded.copy()
    mixed[::4] *= 5
    values = {m.name: m for m in shape_metrics(shapes(mixed, folded, chignolin.topology))}
    apart = mdtraj.compute_contacts(
        mdtraj.Trajectory(folded.astype(np.float32), chignolin.topology),
        [(i, j) for i in range(10) for j in range(i + 3, 10)],
        scheme="closest-heavy",
    )[0]
    contacts = values["contact probabilities, mean absolute error"]
    assert contacts.value == pytest.approx(0.25 * (apart < 0.45).mean(), abs=5e-3) and contacts.value > 0.02
    assert contacts.floor < 0.01
    # A quarter of the frames lies where the reference has none: JS² = H(m) - H/2 of (1, 0) and (3/4, 1/4) in nats.
    mixture = np.array([7 / 8, 1 / 8])
    js = -(mixture @ np.log(mixture)) + 0.5 * (0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert values["JS distance, radius of gyration"].value == pytest.approx(np.sqrt(js), abs=0.02)
    assert values["JS distance, RMSD to the first reference frame"].value > 0.25


def test_the_distance_between_two_molecules_is_compared() -> None:
    one, rng = mdtraj.load(str(MOLECULES / "alanine_dipeptide.pdb")), np.random.default_rng(0)
    two = one.stack(one)
    frames = np.repeat(two.xyz, 500, axis=0)
    heights = np.ptp(one.xyz[0, one.topology.select("element != H"), 2]) + rng.uniform(0.3, 0.6, (2, 500, 1))
    md, own = (frames.copy() for _ in range(2))
    md[:, 22:, 2] += heights[0]
    own[:, 22:, 2] += heights[1] + 0.5
    found = shapes(own, md, two.topology)
    assert (0, 3) in found["reference"].pairs and (0, 2) not in found["reference"].pairs
    assert 0.3 < found["reference"].apart.min() and found["generated"].apart.min() > 0.8
    values = {m.name: m for m in shape_metrics(found)}
    assert values["JS distance, distance between molecules"].value == pytest.approx(np.sqrt(np.log(2)), abs=0.05)
    assert len(shape_sections(found, two.topology)[0].figures) == 1
    assert shape_of(frames[:2, :22], one.topology, frames[0, :22]).apart.size == 0


def test_native_motion_is_compared_atom_by_atom(chignolin: mdtraj.Trajectory) -> None:
    rng = np.random.default_rng(1)
    size = rng.uniform(0.01, 0.05, (1, chignolin.n_atoms, 1))
    one, two, other = (
        chignolin.xyz + s * rng.standard_normal((500, chignolin.n_atoms, 3)) for s in (size, size, size[:, ::-1])
    )
    name = "RMSF, correlation with the reference's"
    same = {m.name: m.value for m in shape_metrics(shapes(two, one, chignolin.topology))}
    assert same[name] > 0.97 and same["RMSF, mean"] == pytest.approx(np.sqrt(3) * 0.03, rel=0.1)
    assert {m.name: m.value for m in shape_metrics(shapes(other, one, chignolin.topology))}[name] < 0.5


def test_small_molecules_have_no_shape() -> None:
    small = mdtraj.load(str(MOLECULES / "alanine_dipeptide.pdb"))
    alone = shapes(small.xyz, small.xyz, small.topology)
    assert shape_metrics(alone) == [] and shape_sections(alone, small.topology) == []
    assert shape_record(alone, small.topology)["secondary_structure"] == {}


def test_secondary_structure_is_counted_by_residue(chignolin: mdtraj.Trajectory) -> None:
    """A quarter of the frames a helix, of whose residues DSSP takes the ends as coil."""
    folded = np.repeat(helix(chignolin)[None], 100, axis=0)
    mixed = np.concatenate([folded[:25], np.repeat(chignolin.xyz, 75, axis=0)])
    both = shapes(mixed, folded, chignolin.topology)
    values = {m.name: m for m in shape_metrics(both)}
    helical = values["share of helix per residue, mean absolute error"]
    assert helical.value == pytest.approx(0.75 * 0.8) and helical.floor == 0
    assert values["share of strand per residue, mean absolute error"].value == 0
    record = shape_record(both, chignolin.topology)
    assert record["secondary_structure"]["helix"]["generated"].tolist() == [0, *8 * [0.25], 0]
    assert len(record["contacts"]["pairs"]) == len(record["contacts"]["reference"]) == 28
    (section,) = shape_sections(both, chignolin.topology)
    assert section.figures[0][0].startswith(b"\x89PNG")
