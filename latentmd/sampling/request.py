"""Requests: the settings of `simulate`, checked once and passed on whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal

from latentmd.io.folder import Policy, policy_of
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions
from latentmd.units import parse_time

if TYPE_CHECKING:
    from latentmd.systems.builder import Solvent

Mode = Literal["model", "latent", "chains", "md"]
MODES: tuple[Mode, ...] = ("model", "latent", "chains", "md")


def picoseconds(value: str | float) -> float:
    """A time given as text with a unit, or as a number of ps."""
    return parse_time(value) if isinstance(value, str) else float(value)


@dataclass(frozen=True)
class RolloutSettings:
    """Settings of walkers: latent rollouts, alternation with MD, or plain MD. Times in ps.

    Attributes:
        mode: "model" (latent steps and MD by turns), "latent" or "md".
        time, interval: per walker, and between frames.
        walkers, seed: independent runs; with the number of a walker, the seed decides all randomness.
        processes: worker processes asked for; one per core where None.
        out, overwrite, resume: output folder, and whether to replace the run in it or to go on with it.
        model: name or path; None for the bundled model that covers the molecule.
        device: of the model.
        temperature, solvent, force_field: kelvin, kind and OpenMM XML files; None or empty for the model's.
        settle: whether decoded structures are settled by a short run of MD before they are written.
        cycle, burst: length of a cycle of alternation and of the MD at its end; None for the default cycle.
        inputs: choices where the file of the molecule leaves one.
        wall: seconds of wall time over all sessions, after which walkers end where they are; None for no limit.
        begun: when this session began, of `time.monotonic`.
        equilibration: of plain MD before time zero, ps.
        closer: whether frames may lie closer together than `interval` where the wall time would leave few of them.
    """

    mode: Mode
    time: float
    interval: float
    walkers: int
    seed: int
    processes: int | None
    out: Path
    overwrite: bool
    resume: bool = False
    model: str | None = None
    device: str = "auto"
    temperature: float | None = None
    solvent: Solvent | None = None
    force_field: tuple[str, ...] = ()
    cycle: float | None = None
    burst: float = 2.0
    settle: bool = True
    inputs: InputOptions = DEFAULT_INPUTS
    wall: float | None = None
    begun: float = field(default_factory=monotonic)
    equilibration: float = 100.0
    closer: bool = False

    @property
    def frames(self) -> int:
        """Frames per walker."""
        return round(self.time / self.interval)

    @property
    def policy(self) -> Policy:
        """What to do with a run in the output folder."""
        return policy_of(self.resume, self.overwrite)
