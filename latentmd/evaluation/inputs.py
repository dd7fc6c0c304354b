"""What an evaluation is given: settings, trajectory files, and what summary and provenance of the runs say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import mdtraj
import numpy as np

from latentmd.analysis.features import EvaluationError, FeatureSet
from latentmd.analysis.metric import Document
from latentmd.arrays import Floats
from latentmd.io.formats import trajectories_in
from latentmd.io.provenance import read_provenance
from latentmd.units import format_time

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

#: Trajectory files, each an independent run, or folders of them.
Paths = Sequence[str | Path]
_NS_PER_DAY = 86400 / 1000  # ns/day in one ps/s
ASSUMED_TEMPERATURE = 350.0  # K, of the reference protocol
FRAME_BASELINES = ("replicate", "persistence", "msm", "shuffled", "residue-table")
MODEL_BASELINES = ("tica-flow", "koopman")


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation; the last four are of a model's rollouts."""

    lag: float = 100.0  #: ps, of TICA and the MSM
    temperature: float | None = None  #: kelvin; 350 where None, which the result says
    interval: float | None = None  #: ps between frames, for files that carry no times
    resample: bool = False  #: thin the finer of two spacings to the coarser
    baselines: tuple[str, ...] = ("auto",)  #: "all": those there is enough known for; "auto": a peptide's residue table
    wall_time: float | None = None  #: seconds the generated set took, for effective samples per second and "replicate"
    md_speed: float | None = None  #: ps of plain MD per second of wall time on the same machine, for "replicate"
    select: str = ""  #: the solute of trajectories, in the language of mdtraj
    seed: int = 0  #: of k-means and every resampling
    frames: int = 100_000  #: all walkers together
    walkers: int = 64  #: independent rollouts
    step: float | None = None  #: ps per latent step and between frames; `model.default_step` where None
    seeds: int = 3  #: other starts and noise; the first is evaluated in full, the others say how far metrics scatter

    @property
    def timed(self) -> bool:
        """Whether it is known how much MD the wall time of the generated set pays for."""
        return self.wall_time is not None and self.md_speed is not None

    def beside_training(self) -> EvaluationSettings:
        """The same where there are training data: "auto" then means baselines of them too."""
        made = ("msm", "shuffled", *(("replicate",) if self.timed else ())) if "auto" in self.baselines else ()
        return replace(self, baselines=tuple(dict.fromkeys((*made, *self.baselines)))) if made else self


DEFAULTS = EvaluationSettings()


def check_baselines(settings: EvaluationSettings, known: Sequence[str]) -> None:
    """Refuse a baseline that there is not, with the names of those there are (EvaluationError)."""
    unknown = [name for name in settings.baselines if name not in ("all", "auto", *known)]
    if unknown:
        raise EvaluationError(f"no baseline is called {unknown[0]!r}; there are {', '.join(known)}")


def in_order_of(propagator: Propagator, topology: mdtraj.Topology, structure: Floats, top: str | Path) -> Propagator:
    """A model with its atoms in the order of a file's; EvaluationError where the file holds another molecule."""
    try:
        return propagator.arranged(topology, structure)
    except ValueError as error:
        raise EvaluationError(f"{top}: {error}") from error


def trajectory_files(paths: Paths) -> list[Path]:
    """Trajectory files named directly or found in folders, such as those that `simulate` and `md` write."""
    found: list[Path] = []
    for given in map(Path, paths):
        inside = [p for p in trajectories_in(given) if "energy" not in p.stem] if given.is_dir() else [given]
        if not inside:
            raise EvaluationError(f"{given}: a folder without trajectories; expected files such as *.xtc or *.dcd")
        found += inside
    if not found:
        raise EvaluationError("no trajectory was named; expected at least one file or folder")
    return found


def refuse_unused_interval(interval: float | None, *sets: FeatureSet) -> None:
    """Refuse a user's interval in ps where no file needs it and the files' own times say another (EvaluationError)."""
    if interval is None or any(s.timeless for s in sets):
        return
    for s in sets:
        if abs(s.interval - interval) > 1e-3 * interval:
            raise EvaluationError(
                f"--interval is {format_time(interval)}, but {s.files[0]} has its own times, a frame every"
                f" {format_time(s.interval)}: leave the option out"
            )


@dataclass(frozen=True)
class RunRecord:
    """How a set of trajectories was made, as its folders say, and the energies (kJ/mol) that an engine computed."""

    wall_time: float | None = None
    md_speed: float | None = None
    temperature: float | None = None
    seeds: tuple[int, ...] = ()
    energies: Floats | None = None


def run_record(files: Sequence[Path]) -> RunRecord:
    """Records beside trajectories; wall time and MD speed only where all trajectories of each folder are given."""
    folders = sorted({file.parent for file in files})
    known = [s for s in map(_summary, folders) if s is not None]
    if len(known) < len(folders):
        return RunRecord(energies=_energies(folders))
    whole = all(set(trajectory_files([folder])) <= set(files) for folder in folders)
    temperatures = {s.get("protocol", {}).get("temperature") for s in known}
    speeds = [s.get("speed", {}).get("plain_md_ns_per_day") for s in known]
    return RunRecord(
        sum(float(s["wall_seconds"]["total"]) for s in known) if whole else None,
        float(np.mean(speeds)) / _NS_PER_DAY if whole and None not in speeds else None,
        float(temperatures.pop()) if len(temperatures) == 1 and None not in temperatures else None,
        tuple(int(s["seed"]) for s in known if "seed" in s),
        _energies(folders),
    )


def _summary(folder: Path) -> Document | None:
    try:
        content = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "wall_seconds" in content else None


def _energies(folders: Sequence[Path]) -> Floats | None:
    found = []
    for folder in folders:
        path = folder / "provenance.csv"
        if not path.is_file():
            return None
        rows = read_provenance(path)
        energies = rows["potential_energy"][rows["kind"] != "latent"]
        found.append(energies[np.isfinite(energies)])
    energies = np.concatenate(found) if found else np.empty(0)
    return energies if len(energies) else None
