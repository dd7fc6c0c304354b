"""In words, for the page of a run: how far it can be trusted, and which commands say more."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from latentmd.model.zero_shot import next_commands, zero_shot_facts
from latentmd.units import format_time

if TYPE_CHECKING:
    from latentmd.model.manifest import ZeroShot
    from latentmd.sampling.rollout.plan import RolloutPlan


def trust(plan: RolloutPlan, found: ZeroShot | None) -> list[str]:
    """Sentences on where the frames come from and what may be concluded from them.

    Args:
        plan: of the run.
        found: how near the molecule is to the training set of a model of many; None for other models and plain MD.
    """
    if plan.model is None:
        files = ", ".join(plan.prepared.molecule.protocol.force_field_files)
        own = ", ".join(plan.prepared.molecule.own_force_field)
        return [f"plain MD with the force field of {own or files}; no model made any frame"]
    accepted = "latent steps are accepted as they come, so that populations and times are the model's"
    if found is not None:
        return [*zero_shot_facts(found), accepted]
    name, frames = plan.model.manifest.name, plan.model.manifest.reference.frames
    trained = f"the model {name} was trained on MD of this molecule" + (f", {frames:,} frames" if frames else "")
    return [trained, f"{accepted}; `latentmd inspect {name}` has how near they came to MD"]


def next_lines(plan: RolloutPlan, found: ZeroShot | None) -> list[str]:
    """Commands to go on with.

    Args:
        plan: of the run.
        found: as for `trust`.
    """
    file, folder = Path(plan.prepared.source), quote(str(plan.settings.out))
    source = quote(str(file))
    if plan.model is None:
        return [f"latentmd train {folder}/walker-*.xtc --top {folder}/topology.pdb --out {quote(file.stem)}.pt"]
    if found is not None:
        return next_commands(found, str(file))
    every = format_time(plan.settings.interval).replace(" ", "")
    kelvin = plan.prepared.molecule.protocol.temperature
    return [
        f"latentmd md {source} --time 100ns --save-every {every} --temperature {kelvin:g} --out reference",
        f"latentmd evaluate {folder} --reference reference --top {folder}/topology.pdb",
    ]
