"""Relaxation of decoded structures: a minimisation that stops at an energy which MD usually has."""

from __future__ import annotations

from typing import Any

import openmm


class StopBelow(openmm.MinimizationReporter):  # type: ignore[misc]
    """Ends a minimisation at an energy in kJ/mol, so that MD starts from where it usually is."""

    def __init__(self, energy: float) -> None:
        super().__init__()
        self.energy = energy

    def report(self, iteration: int, x: Any, grad: Any, args: Any) -> bool:
        """Whether to stop."""
        return bool(args["system energy"] < self.energy)
