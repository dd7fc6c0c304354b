"""`latentmd simulate`: a PDB file in, trajectories out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click import argument, option

from latentmd.cli import options as opt
from latentmd.cli.common import BadInput, run_errors
from latentmd.cli.progress import Display


def _gone(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Refuse an option of earlier versions."""
    if value is not None:
        raise click.UsageError("--exactness is gone: exact chains are --mode chains")


@click.command(
    "simulate",
    epilog="""\b
Examples:
  latentmd simulate systems/molecules/alanine_dipeptide.pdb
  latentmd simulate my.pdb --wall 5min --resume --out exact
  latentmd simulate my.pdb --model my.pt --time 100ns --walkers 64 --seed 7
  latentmd simulate my.pdb --mode latent --time 1us --save-every 1ns --out long
  latentmd simulate mine.pt --time 10us --save-every 1ns --out long
  latentmd simulate my.pdb --mode md --time 1ns --temperature 300
  latentmd simulate my.pdb --mode chains --wall 30min --resume --out sampled
  latentmd simulate ligand.pdb --force-field ligand.xml --solvent vacuum --mode chains --wall 30min
  latentmd simulate aspirin.sdf --wall 3min
  latentmd simulate --smiles "CC(=O)Oc1ccccc1C(=O)O" --name aspirin --wall 3min
  latentmd simulate my.prmtop --positions my.inpcrd --mode chains --wall 30min""",
)
@opt.several([
    argument("pdb", metavar="[FILE]", required=False, type=opt.PATH),
    opt.MODEL,
    option("--time", type=opt.Time(), help="Simulated time per walker; not with --mode chains. [default: 10ns]"),
    option(
        "--wall", type=opt.WallTime(),
        help="Wall time of everything, over all sessions, such as 30min; what is there by then is the result. "
        "[default: 10min for chains that are chosen for you and plain MD without --time, else any]",
    ),
    option("--walkers", type=opt.AT_LEAST_ONE, help="Independent runs. [default: 16]"),
    option(
        "--mode", metavar="[model|latent|chains|md|module:NAME]",
        help="Latent steps of a model and MD by turns, latent steps only, exact chains of a small molecule, plain MD, "
        "or a way of your own. [default: model where one covers the molecule, else chains to 150 atoms, else md; it "
        "says why]",
    ),
    option("--exactness", hidden=True, expose_value=False, callback=_gone, help="Gone."),
    option("--temperature", type=float, help="Kelvin; must be the model's, except with --mode md or chains."),
    option("--save-every", type=opt.Time(), help="Time between frames. [default: 100ps]"),
    option("--cycle", type=opt.Time(), help="Alternation: time from one MD burst to the next. [default: about 1ns]"),
    option("--burst", type=opt.Time(), help="Alternation: MD at the end of a cycle. [default: 2ps]"),
    option(
        "--settle", type=click.Choice(["on", "off"]),
        callback=lambda _context, _option, value: None if value is None else value == "on",
        help="Settle decoded structures by a short run of MD before they are written. [default: on]",
    ),
    opt.SEED,
    opt.device("Where the model runs."),
    option(
        "--solvent", type=click.Choice(["implicit", "vacuum", "explicit"]),
        help="Must be the model's, except with --mode md or chains. [default: the model's, or implicit]",
    ),
    opt.FORCE_FIELD(
        help="OpenMM force-field XML, may be repeated; must be the model's, except with --mode md or chains."
    ),
    opt.PROCESSES,
    option("--scheduler", metavar="ADDRESS", help="Chains: Dask scheduler that runs them, tcp://host:port."),
    option("--out", type=opt.PATH, help="Output folder. [default: <stem>-latentmd, or -chains]"),
    *opt.AGAIN,
    option("--name", help="With --smiles and no FILE: begins the name of the output. [default: molecule]"),
    option("--enumerate", "isomers", is_flag=True, help="Undefined stereocentres: a run of each isomer."),
    *opt.INPUTS,
])  # fmt: skip
def simulate_command(pdb: Path | None, name: str | None, isomers: bool, **options: Any) -> None:
    """Simulate the molecule in FILE with a model and write full-atom trajectories.

    FILE is a PDB, mmCIF or GRO file, or one that brings its own force field: an Amber prmtop, GROMACS top or CHARMM psf
    with --positions, or a PDB or mmCIF file with --system; or an SDF, MOL2 or --smiles of a small molecule. A model
    covers it only if its force field is the model's. A model file (.pt) as FILE brings its own molecule.

    Writes topology.pdb, walker-0000.xtc and on, provenance.csv (how each frame was made), summary.json, report.png and
    evaluation.html (metrics, figures and a 3-D view, beside the model's training data).
    Frames are `settled` (decoded from a latent step, then 100 steps of MD; with --settle off `latent`), `relaxed`
    (minimised after a latent step, then moved by MD) or `md`. Chains write free_energy.html, metropolised.xtc,
    metropolised.npz, topology.pdb and summary.json, and all their frames weigh the same.
    """
    from latentmd.sampling.run.clock import process_start
    from latentmd.sampling.sample import MODEL_FILE
    from latentmd.systems.ligands import records

    if pdb is None and options["inputs"].smiles is None:
        raise click.UsageError("Missing argument 'FILE', or --smiles with a small molecule")
    if pdb is not None and name is not None:
        raise click.UsageError("--name is for --smiles without a FILE; --out names the output")
    pdb, begun = pdb or Path(name or "molecule"), process_start()
    with run_errors():
        alone = pdb.suffix == MODEL_FILE or (options["inputs"].system is not None and not isomers)
        found = {} if alone else records(pdb, options["inputs"], isomers)
    if len(found) < 2:
        options["inputs"] = next(iter(found.values()), options["inputs"])
        _simulate_one(pdb, begun, options)
        return
    from latentmd.sampling.sample import DEFAULT_WALL

    folder, failed = options["out"] or Path(f"{pdb.stem}-conformers"), []
    wall = options["wall"] or DEFAULT_WALL * len(found)
    for number, (label, inputs) in enumerate(found.items()):
        click.echo(f"{label} ({number + 1} of {len(found)})")
        one = {**options, "inputs": inputs, "out": folder / label, "wall": wall / len(found)}
        try:
            _simulate_one(pdb, begun if number == 0 else None, one)
        except click.ClickException as error:
            failed.append(label)
            click.echo(f"{label}: {error.message}", err=True)
    if failed:
        raise BadInput(f"{len(failed)} of {len(found)} molecules were not simulated: {', '.join(failed)}")


def _simulate_one(pdb: Path, begun: float | None, options: dict[str, Any]) -> None:
    from latentmd.sampling.sample import simulate, way_of

    with run_errors():
        with Display(picoseconds=True) as display:
            result = simulate(pdb, progress=display, begun=begun, **options)
        click.echo("\n".join(way_of(result.summary["mode"]).told(result)))
