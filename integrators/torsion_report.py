"""What a jump of torsions did, and a file of such records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Jump:
    """What one jump did.

    Attributes:
        time: of the simulation, ps.
        start, target, end: the block's torsions before, where the centre was sent, and when it had arrived, radians.
        length: of the steering, ps.
        work: kJ/mol; infinite where the run failed on the way, which is a rejection.
        log_ratio: logarithm of q(s | s') / q(s' | s).
        log_acceptance: logarithm of the probability to accept.
    """

    number: int
    time: float
    block: str
    start: tuple[float, ...]
    target: tuple[float, ...]
    end: tuple[float, ...]
    length: float
    work: float
    log_ratio: float
    log_acceptance: float
    accepted: bool


class JumpReport:
    """Writes every jump as a line of a CSV file: torsions in degrees, separated by blanks.

    Args:
        path: of the file, which is begun anew unless `append`.
        append: go on after a restart.
    """

    def __init__(self, path: str | Path, append: bool = False) -> None:
        self.path = path
        if not append:
            with open(path, "w", encoding="utf-8") as file:
                file.write(",".join(Jump.__dataclass_fields__) + "\n")

    def __call__(self, jump: Jump) -> None:
        """Append a jump."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(",".join(_text(value) for value in asdict(jump).values()) + "\n")


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{np.rad2deg(angle):.1f}" for angle in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
