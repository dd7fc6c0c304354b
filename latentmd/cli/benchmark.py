"""`latentmd benchmark`: what everything costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click import argument, option

from latentmd.cli.options import AT_LEAST_ONE, NOT_NEGATIVE, PATH, device, out, settings_of, several, shown
from latentmd.cli.progress import displayed

if TYPE_CHECKING:
    from latentmd.evaluation.benchmark import BenchmarkSettings


@click.command(
    "benchmark",
    epilog="""\b
Examples:
  latentmd benchmark
  latentmd benchmark my.pdb --model my.pt --out benchmark --walkers 1 --walkers 1000
  latentmd benchmark chignolin.pdb --model none""",
)
@several([
    argument("pdb", required=False, type=PATH),
    option(
        "--model",
        help="Bundle or bundled model; none for plain MD only. "
        "[default: alanine-dipeptide where no PDB is named, else none]",
    ),
    option(
        "--walkers", multiple=True, type=AT_LEAST_ONE, default=(1, 16, 64, 256, 1024),
        help="Walkers of the rollouts; may be repeated.",
    ),
    shown("--seconds", type=click.FloatRange(min=0.01), default=0.6, help="Wall time of each timing."),
    shown(
        "--max-atoms", type=NOT_NEGATIVE, default=10_100,
        help="Largest peptide of the cost against atoms; 0 leaves that out.",
    ),
    device("Device of the model."),
    option("--threads", type=AT_LEAST_ONE, help="Torch threads. [default: torch's own choice]"),
    out("benchmark"),
    option("--overwrite", is_flag=True, help="Replace an earlier benchmark in the folder."),
    settings_of("latentmd.evaluation.benchmark:BenchmarkSettings"),
])  # fmt: skip
def benchmark_command(
    pdb: Path | None, model: str | None, threads: int | None, out: Path, overwrite: bool, settings: BenchmarkSettings
) -> None:
    """Time OpenMM on every platform, the replica engine and each part of a surrogate, on this machine, in one run.

    PDB is the bundled alanine dipeptide where none is named. Writes benchmark.json and benchmark.png.
    """
    from rich.console import Console

    from latentmd.evaluation.benchmark import benchmark
    from latentmd.evaluation.speed import REPLICA_MD, scan_table, table
    from latentmd.model.file import models_folder

    if model is None and pdb is None:
        model = "alanine-dipeptide"
    molecule = pdb or models_folder().parent / "alanine_dipeptide.pdb"
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    with displayed("stopped before the benchmark was complete; nothing was written") as stages:
        model = None if model == "none" else model
        document = benchmark(molecule, model, out=out, settings=settings, overwrite=overwrite, progress=stages)
    console = Console(highlight=False)
    console.print(table(document["rows"]))
    if found := document["replicas_on_one_core"]:
        console.print(str(found))
    for row in document["rows"]:
        if row.name == REPLICA_MD and not found:
            console.print(f"no replica engine: {row.note}")
    if document["cost_against_atoms"]:
        console.print(scan_table(document["cost_against_atoms"]))
    if document["peak_gflops"]:
        console.print(f"peak in matrix products: {document['peak_gflops']:.0f} GFLOP/s")
    spent = ", ".join(f"{name} {value:.2f} s" for name, value in document["import_seconds"].items())
    console.print(f"time to import: {spent}")
    console.print(f"wrote {out / 'benchmark.json'} and {out / 'benchmark.png'}")
