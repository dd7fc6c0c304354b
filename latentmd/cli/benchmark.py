"""`latentmd benchmark`: what everything costs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentmd.cli.common import settings_of
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
@click.argument("pdb", required=False, type=click.Path(path_type=Path))
@click.option(
    "--model",
    help="Bundle or bundled model; none for plain MD only. "
    "[default: alanine-dipeptide where no PDB is named, else none]",
)
@click.option(
    "--walkers",
    multiple=True,
    type=click.IntRange(min=1),
    default=(1, 16, 64, 256, 1024),
    help="Walkers of the rollouts; may be repeated.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=0.01), default=0.6, show_default=True, help="Wall time of each timing."
)
@click.option(
    "--max-atoms",
    type=click.IntRange(min=0),
    default=10_100,
    show_default=True,
    help="Largest peptide of the cost against atoms; 0 leaves that out.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device of the model.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Torch threads. [default: torch's own choice]")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmark"), show_default=True, help="Output folder."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier benchmark in the folder.")
@settings_of("latentmd.evaluation.benchmark:BenchmarkSettings")
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
        document = benchmark(
            molecule, None if model == "none" else model, out=out, settings=settings, overwrite=overwrite,
            progress=stages,
        )  # fmt: skip
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
