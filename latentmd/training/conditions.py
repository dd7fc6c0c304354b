"""Conditions of the training trajectories, and the summary of them that the manifest keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.training.config import ConfigError, TrainingConfig

_BINS = 50


def training_reference(
    trajectories: list[NDArray[np.float32]], topology: Any, energies: NDArray[np.float64] | None
) -> dict[str, Any]:
    """Ramachandran counts of each residue with φ and ψ (50 × 50 bins over ±180°) and quantiles of the energy.

    Args:
        trajectories: positions [frames, atoms, 3] nm.
        topology: mdtraj topology.
        energies: potential energies of sample frames, kJ/mol, or None.
    """
    import mdtraj

    counts: dict[str, NDArray[np.int64]] = {}
    for positions in trajectories:
        frames = mdtraj.Trajectory(positions, topology)
        phi_atoms, phi = mdtraj.compute_phi(frames, periodic=False)
        psi_atoms, psi = mdtraj.compute_psi(frames, periodic=False)
        psi_of = {topology.atom(atoms[1]).residue.index: column for column, atoms in enumerate(psi_atoms)}
        for column, atoms in enumerate(phi_atoms):
            residue = topology.atom(atoms[1]).residue
            if residue.index not in psi_of:
                continue
            x, y = np.rad2deg(phi[:, column]), np.rad2deg(psi[:, psi_of[residue.index]])
            histogram, _, _ = np.histogram2d(x, y, bins=_BINS, range=[[-180.0, 180.0], [-180.0, 180.0]])
            name = f"{residue.name}{residue.resSeq}"
            counts[name] = counts.get(name, np.zeros((_BINS, _BINS), dtype=np.int64)) + histogram.astype(np.int64)
    return {
        "ramachandran": [{"residue": name, "counts": table.tolist()} for name, table in counts.items()],
        "energy_quantiles": None if energies is None else tuple(np.quantile(energies, [0.001, 0.5, 0.999]).tolist()),
        "frames": int(sum(map(len, trajectories))),
    }


_NUMBERS = ("temperature", "friction", "timestep", "hydrogen_mass")
_SAME = 1e-6  # relative


def with_own_force_field(config: TrainingConfig, top: Path) -> TrainingConfig:
    """Settings with the force field and solvent of the system.xml beside the topology, where there is one.

    Raises:
        ConfigError: the settings name another force field or solvent.
    """
    from latentmd.systems.own_force_field import identity, inputs_beside, is_own, read_system, solvent_of

    path = inputs_beside(top).system
    if path is None:
        if is_own(config.force_field):
            raise ConfigError(f"{top}: the force field {config.force_field[0]} needs the run's system.xml beside it")
        return config
    system = read_system(Path(path))
    found: dict[str, Any] = {"force_field": (identity(system),), "solvent": solvent_of(system)}
    for name, value in found.items():
        if name in config.model_fields_set and getattr(config, name) != value and getattr(config, name) != ():
            raise ConfigError(f"{path}: is the force field of the run; leave {name} out of the configuration")
    return config.model_copy(update=found)


def check_conditions(config: TrainingConfig, trajectories: Sequence[str | Path]) -> None:
    """Refuse trajectories that `latentmd md` or `simulate` made under other conditions than the settings state.

    Trajectories of other programs carry no record; their conditions are the settings' word.

    Raises:
        ConfigError: which condition it is, with both values.
    """
    for folder in dict.fromkeys(Path(path).parent for path in trajectories):
        protocol = recorded_protocol(folder)
        stated = config.model_fields_set
        for name in stated.intersection(_NUMBERS):
            asked, found = getattr(config, name), protocol.get(name)
            if isinstance(found, int | float) and abs(asked - found) > _SAME * abs(found):
                raise ConfigError(_message(folder, name, found, asked))
        for name in stated.intersection({"solvent", "force_field"}):
            asked, found = getattr(config, name), protocol.get(name)
            if name == "force_field" and found is not None:
                asked, found = _files(config.solvent, asked), _files(config.solvent, tuple(found))
            if found is not None and asked != found:
                raise ConfigError(_message(folder, name, found, asked))


_ROOM_TEMPERATURE = 300.0  # K, of trajectories of which nothing is said


def with_conditions(config: TrainingConfig, trajectories: Sequence[str | Path], water: bool) -> TrainingConfig:
    """Settings with conditions of trajectories as their record or, without one, what is around the solute tells.

    A solute in explicit water, and one of whose force field nothing is known, is learnt without energies.

    Raises:
        ConfigError: the settings state another condition than the record.
    """
    check_conditions(config, trajectories)
    stated = config.model_fields_set
    record = recorded_protocol(Path(trajectories[0]).parent)
    found: dict[str, Any] = {name: record[name] for name in (*_NUMBERS, "solvent") if record.get(name) is not None}
    if record.get("force_field"):
        found["force_field"] = tuple(record["force_field"])
    if not record and not stated & {"solvent", "force_field"}:
        found = {"solvent": "explicit" if water else "unknown", "temperature": _ROOM_TEMPERATURE}
    settled = config.model_copy(update={name: value for name, value in found.items() if name not in stated})
    check_conditions(settled, trajectories)  # runs of several folders must agree
    return settled


def _files(solvent: Any, names: tuple[str, ...]) -> list[str]:
    from latentmd.systems.protocol import DEFAULT_FORCE_FIELDS

    return list(names or DEFAULT_FORCE_FIELDS[solvent])


def recorded_protocol(folder: Path) -> dict[str, Any]:
    """Protocol in the record of a run in a folder; empty where there is none."""
    try:
        protocol = json.loads((folder / "request.json").read_text(encoding="utf-8")).get("protocol", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return protocol if isinstance(protocol, dict) else {}


def _message(folder: Path, name: str, found: Any, asked: Any) -> str:
    return (
        f"{folder}: simulated with {name} {_shown(found)}, the settings say {_shown(asked)}; put "
        f"`{name} = {json.dumps(found)}` into the file for --config"
    )


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
