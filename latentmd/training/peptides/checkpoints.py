"""State of an unfinished stage of training on disk, so that an interrupted training goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from latentmd.io.atomic import replacing
from latentmd.training.peptides.schedule import Schedule


class Stateful(Protocol):
    """What has a state: modules, optimisers."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take a state."""


class Checkpoint:
    """A file with the state of one stage: its parts, its progress and its random numbers.

    Args:
        path: of the file, which holds one stage at a time.
        every: seconds between two states.
    """

    def __init__(self, path: Path, every: float = 20.0) -> None:
        self.path, self.every = path, every
        self.last = time.monotonic()

    def stage(self) -> str:
        """Name of the stage in the file; empty where there is no file."""
        return str(self._read()["stage"]) if self.path.exists() else ""

    def restore(
        self, stage: str, schedule: Schedule, generators: list[torch.Generator], parts: Mapping[str, Stateful]
    ) -> bool:
        """Put a stage into the state of the file, where it holds that stage; whether it did.

        Args:
            stage: its name.
            schedule: its progress.
            generators: of random numbers.
            parts: modules and optimisers by name.
        """
        if self.stage() != stage:
            return False
        stored = self._read()
        for name, part in parts.items():
            part.load_state_dict(stored["parts"][name])
        schedule.resume(stored["seconds"], stored["steps"])
        for generator, state in zip(generators, stored["generators"], strict=True):
            generator.set_state(state)
        torch.set_rng_state(stored["torch"])
        return True

    def save(
        self,
        stage: str,
        schedule: Schedule,
        generators: list[torch.Generator],
        parts: Mapping[str, Stateful],
        always: bool = False,
    ) -> None:
        """Write the state of a stage where the last one is old enough.

        Args:
            stage: its name.
            schedule: its progress.
            generators: of random numbers.
            parts: modules and optimisers by name.
            always: however new the last state is.
        """
        if not always and time.monotonic() - self.last < self.every:
            return
        state = {
            "stage": stage, "seconds": schedule.spent, "steps": schedule.done,
            "generators": [generator.get_state() for generator in generators], "torch": torch.get_rng_state(),
            "parts": {name: part.state_dict() for name, part in parts.items()},
        }  # fmt: skip
        with replacing(self.path) as temporary:
            torch.save(state, temporary)
        self.last = time.monotonic()

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        return found
