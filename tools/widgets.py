"""Checks the front end in `widgets/`: its types, its tests, and that the committed bundle is what it builds.

*Rule:* without Node 20 or newer it says what to install, and fails only where CI=true: who does not change
the front end needs none, since its bundle is committed.
*Rule:* what `package-lock.json` names is installed once; a stamp beside it says for which one that was done.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

WIDGETS: Final = Path(__file__).resolve().parent.parent / "widgets"
STAMP: Final = WIDGETS / "node_modules" / ".installed"
OLDEST: Final = 20
STEPS: Final = (
    ("types", "tsc", "types"),
    ("test", "vitest", "tests"),
    ("check", "the committed bundle is what src/ makes", "bundle"),
)


def missing() -> str:
    """What of Node is not there, in a sentence; "" where all is."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return f"there is no {'node' if node is None else 'npm'} on the PATH"
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    number = re.match(r"v(\d+)", told)
    if number is None or int(number[1]) < OLDEST:
        return f"{node} is {told or 'a program that does not run'}"
    return ""


def npm(*arguments: str) -> int:
    """Run npm in `widgets/`; its exit status."""
    program = shutil.which("npm") or "npm"
    return subprocess.run(
        [program, *arguments], cwd=WIDGETS, stdin=subprocess.DEVNULL, check=False
    ).returncode


def install() -> int:
    """Install what the lock file names, unless the stamp says that it is there; the exit status."""
    digest = hashlib.sha256((WIDGETS / "package-lock.json").read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == digest:
        return 0
    print("Installing what the front end is built with", flush=True)
    status = npm("ci", "--no-audit", "--no-fund", "--loglevel=error")
    if status == 0:
        STAMP.write_text(digest, encoding="utf-8")
    else:
        print("npm could not install it; its own words are above. Is the network there?", file=sys.stderr)
    return status


def main() -> int:
    """Check what can be checked; the exit status."""
    why = missing()
    if why:
        print(
            f"The front end is not checked: it needs Node {OLDEST} or newer with npm, and {why}.",
            file=sys.stderr,
        )
        print("apt-get install nodejs npm brings them, where Debian's are new enough.", file=sys.stderr)
        return int(os.environ.get("CI", "").lower() == "true")
    if status := install():
        return status
    for script, title, what in STEPS:
        print(f"\n== Widgets: {title}", flush=True)
        if status := npm("run", "--silent", script):
            print(
                f"\n== FAILED: the {what} of the front end (in widgets/: npm run {script})", file=sys.stderr
            )
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
