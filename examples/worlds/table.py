"""Mean and deviation of the figures of several seeds, as tables: `python table.py FOLDER...`.

Each folder is one that `latentmd train world ...` filled; all are of one world, observed in one way.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def mean_and_deviation(values: list[float], digits: int) -> str:
    """The mean, and with more than one value ± their standard deviation."""
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def columns(row: dict[str, Any], structure: dict[str, Any]) -> dict[str, tuple[float, int]]:
    """Figures of one predictor of one seed: (value, digits) by heading."""
    found = {name: (row["one_step"][key], 4) for name, key in (("cosine", "cosine"), ("R²", "r2"))}
    found["gain"] = (row["one_step"]["gain"], 3)
    errors = row["forecast"]
    found |= {f"error {name.split()[-1]}" if name != "mean" else "mean error": (e, 3) for name, e in errors.items()}
    found["drift"] = (row["energy_drift"]["last"], 2)
    if structure:
        found["g(r) error"] = (structure["rdf_error"], 3)
        found["temperature / true"] = (structure["temperature_ratio"], 3)
    return found


def table(seeds: list[dict[str, Any]]) -> str:
    """One line per predictor, then one per linear probe and, of stochastic worlds, one per population and rate."""
    lines: list[str] = []
    for name, first in seeds[0]["predictors"].items():
        rows = [columns(s["predictors"][name], s.get("structure", {}).get(name, {})) for s in seeds]
        if not lines:
            lines = ["| predictor | weights | " + " | ".join(rows[0]) + " |", "|---|---|" + len(rows[0]) * "---|"]
        cells = [mean_and_deviation([r[heading][0] for r in rows], digits) for heading, (_, digits) in rows[0].items()]
        lines.append(f"| {name} | {first['parameters']:,} | " + " | ".join(cells) + " |")
    lines += ["", "| linear probe, held out | R² |", "|---|---|"]
    lines += [f"| {p} | {mean_and_deviation([s['probe_r2'][p] for s in seeds], 3)} |" for p in seeds[0]["probe_r2"]]
    if "ensemble" in seeds[0]:
        lines += ["", "| quantity | exact | world | model |", "|---|---|---|---|"]
        for name, value in seeds[0]["ensemble"].items():
            world, model = (mean_and_deviation([s["ensemble"][name][k] for s in seeds], 4) for k in ("world", "model"))
            exact = "" if value["exact"] is None else f"{value['exact']:.4f}"
            lines.append(f"| {name} | {exact} | {world} | {model} |")
    return "\n".join(lines)


found = [json.loads((Path(folder) / "table.json").read_text()) for folder in sys.argv[1:]]
if len({(f["world"], f["observe"]) for f in found}) != 1:
    sys.exit("name folders of one world observed in one way: python table.py FOLDER...")
print(f"{found[0]['world']}, {found[0]['observe']}, seeds {', '.join(str(f['seed']) for f in found)}\n")
print(table(found))
