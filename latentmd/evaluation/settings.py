"""Settings of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

ASSUMED_TEMPERATURE = 350.0  # K, of the reference protocol
FRAME_BASELINES = ("replicate", "persistence", "msm", "shuffled", "residue-table")
MODEL_BASELINES = ("tica-flow", "koopman")


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        lag: ps, of TICA and the MSM.
        temperature: kelvin; 350 where None, which the result says.
        interval: ps between frames, for files that carry no times.
        resample: thin the finer of two spacings to the coarser.
        baselines: of `FRAME_BASELINES`; "all" for those there is enough known for; "auto" for the residue table of a
            peptide, which needs nothing.
        wall_time: seconds the generated set took; effective samples per second and "replicate" follow from it.
        md_speed: picoseconds of plain MD per second of wall time on the same machine, for "replicate".
        seed: of k-means and every resampling.
    """

    lag: float = 100.0
    temperature: float | None = None
    interval: float | None = None
    resample: bool = False
    baselines: tuple[str, ...] = ("auto",)
    wall_time: float | None = None
    md_speed: float | None = None
    seed: int = 0


DEFAULTS = EvaluationSettings()
