"""Modules that are missing in the worker, and what to install for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from snakepit_nb.errors.remote import ImportFailed
from snakepit_nb.errors.rules.rule import ANY, Mapped, meant, rule

if TYPE_CHECKING:
    import re

    from snakepit_nb.errors.record import ErrorRecord
    from snakepit_nb.errors.rules.rule import Rule

# What to install for a module whose package has another name.
PACKAGES: Final = {
    "Bio": "biopython",
    "Cython": "cython",
    "Crypto": "pycryptodome",
    "Levenshtein": "python-Levenshtein",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "PyQt5": "PyQt5",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "community": "python-louvain",
    "cupy": "cupy-cuda12x",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dns": "dnspython",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "github": "PyGithub",
    "google.protobuf": "protobuf",
    "googleapiclient": "google-api-python-client",
    "graphviz": "graphviz",
    "haystack": "haystack-ai",
    "igraph": "igraph",
    "imblearn": "imbalanced-learn",
    "jose": "python-jose",
    "jwt": "PyJWT",
    "kafka": "kafka-python",
    "ldap": "python-ldap",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "nacl": "PyNaCl",
    "osgeo": "GDAL",
    "past": "future",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "pywt": "PyWavelets",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "skopt": "scikit-optimize",
    "slugify": "python-slugify",
    "socks": "PySocks",
    "speech_recognition": "SpeechRecognition",
    "telegram": "python-telegram-bot",
    "umap": "umap-learn",
    "usb": "pyusb",
    "win32com": "pywin32",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}


def _module(match: re.Match[str], record: ErrorRecord) -> Mapped:
    module = match["module"]
    root, _, rest = module.partition(".")
    close: dict[str, object] = {"close": record.close} if record.close else {}
    if match["parent"] is not None:
        hint = f"'{match['parent']}' is a module and holds no others: check the name {module!r}"
        return Mapped(ImportFailed, {"module": module, "package": None, **close}, meant(record, hint))
    if rest:
        # Python names the first part that is missing: here the package was there.
        hint = f"'{root}' is installed, but has no {module!r}: check the name, or the version of {root!r}"
        return Mapped(ImportFailed, {"module": module, "package": None, **close}, meant(record, hint))
    package = PACKAGES.get(root, root)
    hint = f"%pip install {package}, then %snakepit recycle, and run the cell again"
    if record.close:
        hint = f"{meant(record, '')} If not: {hint}"
    return Mapped(ImportFailed, {"module": module, "package": package, **close}, hint)


def _member(match: re.Match[str], record: ErrorRecord) -> Mapped:
    module, name = match["module"], match["name"]
    facts: dict[str, object] = {"module": module, "member": name, "package": None}
    if record.close:
        facts["close"] = record.close
    root = module.partition(".")[0]
    hint = f"{module!r} has no {name!r}: check the name, or the version of {root!r}"
    return Mapped(ImportFailed, facts, meant(record, hint))


RULES: Final[tuple[Rule, ...]] = (
    rule(
        ANY,
        "ModuleNotFoundError",
        r"No module named '(?P<module>[\w.]+)'(?:; '(?P<parent>[\w.]+)' is not a package)?",
        _module,
    ),
    rule(
        ANY,
        "ImportError",
        r"cannot import name '(?P<name>\w+)' from '(?P<module>[\w.]+)' \(.*\)",
        _member,
    ),
)
