"""Parts of studies are imported as the studies import them: from their own folder."""

from __future__ import annotations

import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path += [str(EXAMPLES / folder) for folder in ("inputs", "ligands", "peptides", "replicas")]
