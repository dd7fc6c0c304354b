"""Results as JSON files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.io.atomic import write_text


def plain(value: Any) -> Any:
    """A value as JSON types; a number that is not finite becomes null, for JSON has none."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain({k: v for k, v in asdict(value).items() if v is not None and v != ""})
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.bool_, np.integer)):
        return value.item()
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping (dataclasses, arrays and paths too) as indented JSON, whole or not at all."""
    write_text(path, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")
