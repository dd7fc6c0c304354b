"""Settings of an evaluation, and the folder that it writes to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from latentmd.analysis.features import EvaluationError

ASSUMED_TEMPERATURE = 350.0  # K, of the reference protocol
FRAME_BASELINES = ("replicate", "persistence", "msm", "shuffled")
MODEL_BASELINES = ("tica-flow", "koopman")


@dataclass(frozen=True)
class Settings:
    """How to evaluate.

    Attributes:
        lag: ps, of TICA and the MSM.
        temperature: kelvin; 350 where None, which the result says.
        interval: ps between frames, for files that carry no times.
        resample: thin the finer of two spacings to the coarser.
        baselines: of `FRAME_BASELINES`, or "all" for those there is enough known for.
        wall_time: seconds the generated set took; effective samples per second and "replicate" follow from it.
        md_speed: picoseconds of plain MD per second of wall time on the same machine, for "replicate".
        seed: of k-means and every resampling.
    """

    lag: float = 100.0
    temperature: float | None = None
    interval: float | None = None
    resample: bool = False
    baselines: tuple[str, ...] = ()
    wall_time: float | None = None
    md_speed: float | None = None
    seed: int = 0


DEFAULTS = Settings()


def prepared_folder(folder: Path, overwrite: bool, record: str = "evaluation.json") -> Path:
    """Make a folder for results, refusing one that holds results already or cannot be written.

    Args:
        folder: made where it does not exist.
        overwrite: accept earlier results, which are then replaced.
        record: name of the file that says that there are results.

    Raises:
        EvaluationError: the folder cannot be used; the message says what to do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(f"{folder}: cannot make this folder ({error.strerror}); choose another --out") from error
    if not os.access(folder, os.W_OK):
        raise EvaluationError(f"{folder}: not writable; choose another folder with --out")
    if (folder / record).exists() and not overwrite:
        raise EvaluationError(f"{folder} holds {record} already; pass --overwrite or another --out")
    return folder
