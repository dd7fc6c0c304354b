"""Preparation: protocols are checked, and a molecule is built again only where its System must differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openmm import unit

from latentmd.io.atomic import OutputError
from latentmd.molecule.checks import bond_angles
from latentmd.sampling.run import preparation
from latentmd.sampling.run.preparation import check_protocol, made_once, minimised, molecule_under
from latentmd.systems.builder import Protocol, build
from latentmd.systems.bundled import bundled


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"temperature": 0.0}, "--temperature is 0 K"),
        ({"friction": 1000.0}, "--friction is 1000/ps"),
        ({"timestep": 0.006}, "--timestep is 6 fs; expected more than 0 and at most 5 fs"),
    ],
)
def test_numbers_out_of_range(change: dict[str, float], text: str) -> None:
    check_protocol(Protocol())
    with pytest.raises(ValueError, match=text):
        check_protocol(replace(Protocol(), **change))


def test_a_system_is_kept_where_only_the_integrator_differs(alanine: Any) -> None:
    warm = replace(alanine.protocol, temperature=400.0, friction=10.0, timestep=0.002)
    again = molecule_under(warm, Path("nowhere.pdb"), alanine)
    assert again.system is alanine.system and again.protocol == warm
    named = replace(alanine.protocol, force_field=alanine.protocol.force_field_files)
    assert molecule_under(named, Path("nowhere.pdb"), alanine).system is alanine.system


def test_a_system_is_built_again_where_it_differs(alanine: Any) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.pdb"):
        molecule_under(replace(alanine.protocol, solvent="vacuum", force_field=()), Path("nowhere.pdb"), alanine)


def test_minimisation_lowers_the_largest_force(alanine: Any) -> None:
    start = alanine.positions._value + 0.005 * np.random.default_rng(0).standard_normal((22, 3))
    strained = replace(alanine, positions=start)
    found = minimised(strained, "Reference")
    context = alanine.context(alanine.langevin(1), "Reference")
    energies = []
    for positions in (start, found):
        context.setPositions(positions)
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    assert energies[1] < energies[0] - 10.0


def test_a_structure_does_not_stay_in_a_minimum_with_a_bent_terminus(monkeypatch: pytest.MonkeyPatch) -> None:
    molecule = build(bundled("trialanine"))
    at = {atom.name: atom.index for atom in list(molecule.topology.residues())[-1].atoms()}
    bent = np.array(molecule.positions.value_in_unit(unit.nanometer))
    along = (bent[at["CA"]] - bent[at["C"]]) / np.linalg.norm(bent[at["CA"]] - bent[at["C"]])
    across = bent[at["O"]] - bent[at["C"]]
    across -= along * (across @ along)
    across /= np.linalg.norm(across)
    for name, degrees in (("O", 163.0), ("OXT", 85.0)):  # where a minimisation of such a file has ended
        angle = np.deg2rad(degrees)
        bent[at[name]] = bent[at["C"]] + 0.125 * (np.cos(angle) * along + np.sin(angle) * across)
    molecule = replace(molecule, positions=bent * unit.nanometer)
    triple = np.array([[at["O"], at["C"], at["OXT"]]])
    assert np.rad2deg(bond_angles(minimised(molecule, "Reference")[None], triple)[0, 0]) == pytest.approx(126, abs=10)
    monkeypatch.setattr(preparation, "_ATTEMPTS", 1)
    assert np.rad2deg(bond_angles(minimised(molecule, "Reference")[None], triple)[0, 0]) < 90


def test_arrays_are_made_by_the_first_session_only(tmp_path: Path) -> None:
    first = made_once(tmp_path / "a" / "b.npz", lambda: {"x": np.arange(3)})
    again = made_once(tmp_path / "a" / "b.npz", lambda: {"x": np.arange(5)})
    part = made_once(tmp_path / "a" / "c.npz", lambda: {"x": np.arange(2)}, lambda made: len(made["x"]) == 4)
    assert part["x"].tolist() == [0, 1] and not (tmp_path / "a" / "c.npz").exists()
    assert first["x"].size == again["x"].size == 3
    (tmp_path / "a" / "b.npz").write_bytes(b"half")
    with pytest.raises(OutputError, match=r"b\.npz cannot be read .* --overwrite"):
        made_once(tmp_path / "a" / "b.npz", dict)
