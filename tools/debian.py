"""Installs what the tests need of Debian's packages, where it may: `python tools/debian.py chromium`.

*Rule:* a package that cannot be had is named with its command; that fails only where CI=true, since what
needs it is skipped elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

PROGRAMS: Final = {
    "chromium": ("chromium", "chromium-browser"),
    "gcc": ("gcc", "cc"),
    "nodejs": ("node", "nodejs"),
}
PERHAPS: Final = ("npm",)
"""What other packages may bring along, and may not stand beside them: asked for when those are there."""

FILES: Final = {"libc6-dev": "/usr/include/stdio.h"}
_APT: Final = ("-o", "DPkg::Lock::Timeout=300", "-qq")


def present(package: str) -> bool:
    """Whether a program of this package is on the PATH, or the file that it is installed for is there."""
    if package in FILES:
        return Path(FILES[package]).exists()
    return any(shutil.which(program) for program in PROGRAMS.get(package, (package,)))


def root_prefix() -> list[str] | None:
    """What to put before a command so that root runs it; None where that takes a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def install(packages: list[str]) -> str:
    """Install packages; why they cannot be installed, or "" where nothing went wrong."""
    apt = shutil.which("apt-get")
    if apt is None:
        return "there is no apt-get here"
    prefix = root_prefix()
    if prefix is None:
        return "apt-get needs root or a sudo without password"
    print(f"Installing Debian's {', '.join(packages)}", flush=True)
    env = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", apt, *_APT]
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(
            [*env, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            return f"apt-get {arguments[0]} failed: {''.join(last)}"
    return ""


def main(packages: list[str]) -> int:
    """See that the packages are there; the exit status."""
    missing = [package for package in packages if not present(package)]
    if not missing:
        return 0
    why = ""
    for some in ([each for each in missing if each not in PERHAPS], list(PERHAPS)):
        if wanted := [each for each in some if each in missing and not present(each)]:
            why = install(wanted) or why
    missing = [package for package in missing if not present(package)]
    if not missing:
        return 0
    names = " ".join(missing)
    print(f"Not installed: {names} ({why or 'no program of that name came with it'}).", file=sys.stderr)
    print(f"Tests that need it are skipped; apt-get install {names} brings it.", file=sys.stderr)
    return int(os.environ.get("CI", "").lower() == "true")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
