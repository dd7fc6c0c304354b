"""`python -m latentmd`: the command line."""

from __future__ import annotations

from latentmd.cli.main import main

if __name__ == "__main__":
    main(prog_name="latentmd")
