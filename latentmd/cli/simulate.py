"""`latentmd simulate`: a PDB file in, trajectories out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click import argument, option

from latentmd.cli import options as opt
from latentmd.cli.common import BadInput, run_errors
from latentmd.cli.progress import Display


@click.command(
    "simulate",
    epilog="""\b
Examples:
  latentmd simulate systems/molecules/alanine_dipeptide.pdb
  latentmd simulate my.pdb --wall 5min --resume --out exact
  latentmd simulate my.pdb --model my.pt --time 100ns --walkers 64 --seed 7
  latentmd simulate my.pdb --mode latent --time 1us --save-every 1ns --out long
  latentmd simulate peptides/ --time 100ns --scheduler tcp://node:8786 --out rollouts
  latentmd simulate mine.pt --time 10us --save-every 1ns --out long
  latentmd simulate my.pdb --mode md --time 1ns --temperature 300
  latentmd simulate my.pdb --solvent explicit --salt 0.15 --wall 2h --compare md --out wet
  latentmd simulate my.pdb --mode chains --wall 30min --resume --out sampled
  latentmd simulate ligand.pdb --force-field ligand.xml --solvent vacuum --mode chains --wall 30min
  latentmd simulate aspirin.sdf --wall 3min
  latentmd simulate --smiles "CC(=O)Oc1ccccc1C(=O)O" --name aspirin --wall 3min
  latentmd simulate my.prmtop --positions my.inpcrd --mode chains --wall 30min""",
)
@opt.several([
    argument("files", metavar="[FILE]...", nargs=-1, type=opt.PATH),
    opt.MODEL,
    option("--time", type=opt.Time(), help="Simulated time per walker; not with --mode chains. [default: 10ns]"),
    option(
        "--wall", type=opt.WallTime(),
        help="Wall time of everything, over all sessions, such as 30min; what is there by then is the result. "
        "[default: 10min for chains that are chosen for you and plain MD without --time, 2h in water, else any]",
    ),
    option("--walkers", type=opt.AT_LEAST_ONE, help="Independent runs. [default: 16]"),
    option(
        "--mode", metavar="[model|latent|chains|bias|jumps|md|module:NAME]",
        help="Latent steps of a model and MD by turns, latent steps only, exact chains of a small molecule, in "
        "explicit water MD with a bias on slow torsions or with exact jumps of them, plain MD, or a way of your own. "
        "[default: model where one covers the molecule, else chains to 150 atoms, else md; it says why. In explicit "
        "water bias]",
    ),
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
        help="Must be the model's, except with --mode md, chains, bias or jumps. [default: the model's, or implicit]",
    ),
    opt.FORCE_FIELD(
        help="OpenMM force-field XML, may be repeated; must be the model's, except with --mode md or chains."
    ),
    opt.PROCESSES,
    option("--scheduler", metavar="ADDRESS", help="Chains or several FILEs: Dask scheduler that runs them, tcp://host:port."),
    option("--compare", type=click.Choice(["md"]), help="Bias and jumps: plain MD beside, at equal cost."),
    option("--whole", is_flag=True, default=None, help="Bias and jumps: write the frames with their water, too."),
    option("--out", type=opt.PATH, help="Output folder. [default: <stem>-latentmd, -chains, -bias or -jumps]"),
    *opt.AGAIN,
    opt.NAME,
    option("--enumerate", "isomers", is_flag=True, help="Undefined stereocentres: a run of each isomer."),
    *opt.BOX,
    *opt.INPUTS,
])  # fmt: skip
def simulate_command(files: tuple[Path, ...], name: str | None, isomers: bool, **options: Any) -> None:
    """Simulate the molecule in FILE with a model and write full-atom trajectories.

    FILE is a PDB, mmCIF or GRO file, or one that brings its own force field: an Amber prmtop, GROMACS top or CHARMM psf
    with --positions, or a PDB or mmCIF file with --system; or an SDF, MOL2 or --smiles of a small molecule. A model
    covers it only if its force field is the model's. A model file (.pt) as FILE brings its own molecule.

    Writes topology.pdb, walker-0000.xtc and on, provenance.csv (how each frame was made), summary.json, report.png and
    evaluation.html (metrics, figures and a 3-D view, beside the model's training data).
    Frames are `settled` (decoded from a latent step, then 100 steps of MD; with --settle off `latent`), `relaxed`
    (minimised after a latent step, then moved by MD) or `md`. Chains write free_energy.html, metropolised.xtc,
    metropolised.npz, topology.pdb and summary.json, bias and jumps free_energy.html, solute.xtc, jumps.csv,
    topology.pdb and summary.json; a bias biased.xtc and weights.txt, too. Frames without weights weigh the same.

    Several FILEs, or a folder of them, become one data set of rollouts: a folder for each molecule and manifest.json,
    which lists what was made and what failed. With --resume, more files may be added.
    """
    if len(files) > 1 or (files and files[0].is_dir()):
        if name is not None or isomers:
            raise click.UsageError("--name and --enumerate belong to one molecule; give one FILE")
        _data_set(files, options)
        return
    from latentmd.sampling.run.clock import process_start
    from latentmd.sampling.run.options import DEFAULT_WALL
    from latentmd.sampling.sample import MODEL_FILE, simulate, way_of
    from latentmd.systems.ligands import records

    pdb = opt.source_of(files[0] if files else None, name, options["inputs"].smiles)
    begun, wall = process_start(), options["wall"]
    with run_errors():
        alone = pdb.suffix == MODEL_FILE or (options["inputs"].system is not None and not isomers)
        found = {"": options["inputs"]} if alone else records(pdb, options["inputs"], isomers)
    several, failed = len(found) > 1, []
    folder = options["out"] or Path(f"{pdb.stem}-conformers")
    for number, (label, inputs) in enumerate(found.items()):
        options["inputs"] = inputs
        if several:
            click.echo(f"{label} ({number + 1} of {len(found)})")
            options |= {"out": folder / label, "wall": wall / len(found) if wall else DEFAULT_WALL}
        try:
            with run_errors():
                with Display(picoseconds=True) as display:
                    result = simulate(pdb, progress=display, begun=None if number else begun, **options)
                click.echo("\n".join(way_of(result.summary["mode"]).told(result)))
        except click.ClickException as error:
            if not several:
                raise
            failed.append(label)
            click.echo(f"{label}: {error.message}", err=True)
    if failed:
        raise BadInput(f"{len(failed)} of {len(found)} molecules were not simulated: {', '.join(failed)}")


def _data_set(files: tuple[Path, ...], options: dict[str, Any]) -> None:
    from latentmd.sampling.sample import simulate_data_set

    out = options.pop("out") or Path(f"{files[0].resolve().stem}-rollouts")
    with run_errors(), Display(picoseconds=True) as progress:
        result = simulate_data_set(files, out=out, progress=progress, **options)
    click.echo("\n".join(result.told))
