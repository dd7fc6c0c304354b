"""What the frames of a run are judged by: energies that MD of the molecule shows, and where training data lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmd.core.noise import noise_generator
from latentmd.replicas.choice import unsupported
from latentmd.replicas.settle import STEPS, EnergyRange, measured_range
from latentmd.sampling.models import OneMolecule
from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.preparation import Prepared, made_once
from latentmd.sampling.walkers.folder import STATE
from latentmd.units import format_time, percent

_STRUCTURES, _FEWER = 64, 16  # that the range is measured from; where OpenMM simulates one at a time
_LATENT_STEPS = 5  # of the longest lag, from the start to those structures
_PURPOSE = 101  # of the noise


def energy_range(ready: Prepared, settings: WalkerOptions, folder: Path, model: OneMolecule) -> EnergyRange:
    """The range of the model's training data; else one that is measured, once for all sessions of a run."""
    stored = model.manifest.reference.energy_quantiles
    if stored is not None:
        return EnergyRange(*stored)

    def make() -> dict[str, Any]:
        measured = _measured(ready, settings, model)
        return {"range": [measured.low, measured.median, measured.high], "source": measured.source}

    found = made_once(folder / STATE / "energies.npz", make)
    low, median, high = found["range"].tolist()
    return EnergyRange(low, median, high, str(found["source"]))


def _measured(ready: Prepared, settings: WalkerOptions, model: OneMolecule) -> EnergyRange:
    """From short MD of structures that the model draws."""
    from latentmd.model.propagator import Propagator

    protocol, system = ready.molecule.protocol, ready.molecule.system
    propagator = Propagator(model.name, "cpu")
    count = _FEWER if unsupported(system) else _STRUCTURES
    rng = noise_generator(settings.seed, purpose=_PURPOSE)
    slow = propagator.encode(np.repeat(ready.reference[None], count, axis=0))
    slow = propagator.rollout(slow, propagator.lag_range[1], _LATENT_STEPS, rng, every=_LATENT_STEPS)[-1]
    positions = propagator.decode(slow, rng, ready.reference)
    return measured_range(
        system, positions, temperature=protocol.temperature, timestep=protocol.timestep, seed=settings.seed
    )


def left_data(rows: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """What summary.json says of rollouts that left the data, from the rows of provenance.csv."""
    left = np.array(["data" in failed.split() for failed in rows["checks_failed"]])
    first = np.flatnonzero(left)[np.argmin(rows["time_ps"][left])] if left.any() else None
    record: dict[str, Any] = {"frames": int(left.sum()), "share": float(left.mean())}
    return record if first is None else record | {name: rows[name][first].item() for name in ("walker", "time_ps")}


def left_in_words(record: dict[str, Any]) -> str:
    """A sentence on what `left_data` found."""
    far = "further from the training data than 99.9 % of held-out frames"
    if not record["frames"]:
        return f"the rollouts stay where the training data are: no frame is {far}"
    first = f"the first in walker {record['walker']} at {format_time(record['time_ps'])}"
    share = percent(record["share"], 2)
    return f"{record['frames']:,} frames ({share}) are {far}, {first}; `data` in provenance.csv marks them"


def mended(rows: dict[str, NDArray[Any]]) -> str:
    """A sentence on how many frames of a molecule without a force field had to be settled, from provenance.csv."""
    settled = rows["kind"] == "settled"
    return (
        f"{int(settled.sum()):,} of {len(settled):,} decoded frames ({percent(float(settled.mean()), 1)}) had rings"
        " that did not close or atoms that overlap, and were settled by a bonded model fitted to the training data"
    )


def judged(rows: dict[str, NDArray[Any]], found: EnergyRange) -> dict[str, Any]:
    """What summary.json says of the energies of frames, the rows of provenance.csv, beside what MD shows."""
    energies, kinds = rows["potential_energy"], rows["kind"]
    above, below = found.above(energies), found.below(energies)
    return {
        "md_quantiles": [round(value, 2) for value in (found.low, found.median, found.high)],
        "md_source": found.source,
        "frames_above": int(above.sum()),
        "frames_below": int(below.sum()),
        "inside": 1 - float(np.mean(above | below)),
        "frames_by_kind": {str(kind): int(np.sum(kinds == kind)) for kind in np.unique(kinds)},
        "median_by_kind": {str(kind): round(float(np.median(energies[kinds == kind])), 2) for kind in np.unique(kinds)},
    }


def in_words(record: dict[str, Any]) -> str:
    """A sentence on what `judged` found."""
    settled, raw = (record["frames_by_kind"].get(kind, 0) for kind in ("settled", "latent"))
    low, _, high = record["md_quantiles"]
    made = f"{settled:,} decoded frames settled by {STEPS} steps of MD"
    made = made if settled else f"{raw:,} decoded frames as they are"
    return (
        f"{made}; energies of {percent(record['inside'], 1)} of all frames are in MD's 0.1 to 99.9 %, {low:.0f} to "
        f"{high:.0f} kJ/mol ({record['frames_above']:,} above, "
        f"{record['frames_below']:,} below; range from {record['md_source']})"
    )
