"""Builds the documentation's site: `python tools/site.py out/site`; `--links` tries the links that lead out.

*Rule:* a warning is an error, and nothing is fetched but by `--links`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).resolve().parent.parent


def build(out: Path, builder: str = "html") -> int:
    """Build into a folder; 0 where it went well and without a warning."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto", "-b", builder]
    trees = out.with_name(f"{out.name}.doctrees")
    return subprocess.run([*command, "-c", "docs", "-d", trees, ".", out], cwd=ROOT, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, or try the links that lead out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder to write to")
    parser.add_argument("--links", action="store_true", help="try each link that leads out; needs a network")
    given = parser.parse_args(arguments)
    out = given.out.resolve()
    failed = build(out, "linkcheck" if given.links else "html")
    if not failed:
        print(f"{out / ('output.txt' if given.links else 'index.html')}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
