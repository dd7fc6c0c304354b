"""Damage model files at random and count what loads: `python examples/inputs/fuzz_models.py 1000`.

Each bundled model is changed by bytes flipped, cut, left out, doubled or exchanged, and read as `latentmd simulate
--model` does: its manifest, then its functions. Whatever loads, or fails with anything but one sentence, is printed
with its number, from which it can be made again.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from latentmd.model.file import BundleError, bundled_models, find, load
from latentmd.model.peptide_file import NAME, find_peptides, load_peptides
from latentmd.sampling.models import given_model


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One random change of a file."""
    kind, at = int(rng.integers(5)), int(rng.integers(len(data)))
    length = int(rng.integers(1, 200))
    if kind == 0:
        changed = bytearray(data)
        for place in rng.integers(len(data), size=int(rng.integers(1, 6))):
            changed[place] ^= 1 << int(rng.integers(8))
        return bytes(changed)
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + data[at + length :]
    if kind == 3:
        return data[:at] + data[at : at + length] + data[at:]
    other = int(rng.integers(len(data) - length))
    changed = bytearray(data)
    changed[other : other + length] = bytes(rng.integers(256, size=length, dtype=np.uint8))
    return bytes(changed)


def outcome(path: Path) -> str:
    """Whether a file is refused in one sentence, and by what."""
    for read in (lambda: given_model(str(path)), lambda: load(path), lambda: load_peptides(path)):
        try:
            read()
            return "LOADED"
        except BundleError as error:
            if "\n" in str(error):
                return "SEVERAL LINES"
        except Exception as error:  # anything else is what is looked for
            return f"{type(error).__name__.upper()}: {error}"
    return "refused"


def main() -> None:
    """Run the number of mutations that the command line names, 1000 by default."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    sources = [find(name) for name in bundled_models()] + [find_peptides(NAME)]
    contents, found = [path.read_bytes() for path in sources], Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        for number in range(count):
            rng = np.random.default_rng([17, number])
            data = contents[number % len(contents)]
            changed = mutated(data, rng)
            if changed == data:
                found["unchanged"] += 1
                continue
            path.write_bytes(changed)
            result = outcome(path)
            found[result.split(":")[0]] += 1
            if result != "refused":
                print(f"{number} {sources[number % len(sources)].name}: {result}", flush=True)
    print(f"{count} files: " + ", ".join(f"{n} {name}" for name, n in sorted(found.items())))


if __name__ == "__main__":
    main()
