"""Makes `.venv` and installs this package with extras into it: `python3 tools/environment.py lab test`.

*Rule:* it runs on whatever `python3` there is, so that an old one gets a sentence and not a SyntaxError.
*Rule:* nothing is installed twice; a stamp in `.venv` says from which files, for which extras, and
whether with a compiler, it was done.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
OLDEST = (3, 11)
NAMES = ("python3", "python3.13", "python3.12", "python3.11", "python3.14")


def output(*command: str) -> str:
    """What a program printed, or "" where it cannot be run or failed."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def version(python: str) -> "tuple[int, ...]":
    """The version of a Python interpreter; empty where it does not run."""
    text = output(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    return tuple(int(part) for part in text.split(".") if part)


def interpreter() -> str:
    """A Python that is new enough; ends the program with a sentence where there is none."""
    seen = []
    for name in (sys.executable, *NAMES):
        found = shutil.which(name)
        if found is None:
            continue
        its = version(found)
        if its >= OLDEST:
            return found
        seen.append(f"{found} ({'.'.join(map(str, its)) or 'does not run'})")
    return sys.exit(
        f"snakepit_nb needs Python 3.11 or newer; found {', '.join(dict.fromkeys(seen))}.\n"
        "Install one (on Debian and Ubuntu: apt-get install python3 python3-venv) and run make again, "
        "or name one that make did not find: make PYTHON=/path/to/python3"
    )


def usable() -> bool:
    """Whether `.venv` has a Python that is new enough, and pip."""
    return version(str(PYTHON)) >= OLDEST and bool(output(str(PYTHON), "-m", "pip", "--version"))


def make_venv() -> None:
    """Make `.venv`; anew where the one that is there does not run."""
    if usable():
        return
    python = interpreter()
    print(f"Making .venv with {python}", flush=True)
    output(python, "-m", "venv", "--clear", str(VENV))
    if usable():
        return
    # Debian packs the part of venv that installs pip apart; the pip that is there can do its work.
    output(python, "-m", "venv", "--clear", "--without-pip", str(VENV))
    output(python, "-m", "pip", "--python", str(PYTHON), "install", "pip")
    if usable():
        return
    name = "python" + ".".join(map(str, version(python)))
    sys.exit(
        f"{python} cannot make a virtual environment with pip in it.\n"
        f"Install its venv module (on Debian and Ubuntu: apt-get install {name}-venv) and run make again."
    )


def sources() -> str:
    """What the installation depends on besides its extras: how it is built, from what, and with what."""
    digest = hashlib.sha256()
    for path in (ROOT / "pyproject.toml", ROOT / "setup.py", *sorted(ROOT.glob("snakepit_nb/arrays/*.[ch]"))):
        digest.update(path.read_bytes())
    digest.update(b"with a compiler" if shutil.which("cc") or shutil.which("gcc") else b"without a compiler")
    return digest.hexdigest()


def install(wanted: "list[str]") -> None:
    """Install the package with these extras, unless the stamp says that they are there."""
    digest = sources()
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stamp = {"extras": []}
    extras = sorted({*stamp["extras"], *wanted})
    if stamp.get("sources") == digest and stamp["extras"] == extras:
        return
    what = f".[{','.join(extras)}]"
    print(f"Installing snakepit_nb {', '.join(extras)} (this takes minutes the first time)", flush=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "-qq"]
    if subprocess.run([*pip, "install", "--editable", what], cwd=ROOT, check=False).returncode != 0:
        sys.exit("pip could not install what is needed; its own words are above. Is the network there?")
    STAMP.write_text(json.dumps({"sources": digest, "extras": extras}), encoding="utf-8")


if __name__ == "__main__":
    make_venv()
    install(sys.argv[1:])
