"""Show that every core dependency, transitive ones included, has a wheel for each platform."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
MACHINES = ("x86_64", "aarch64")
# Newest to oldest: a wheel for an older glibc runs on a newer one.
GLIBC = ("manylinux_2_35", "manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_27",
         "manylinux_2_26", "manylinux_2_24", "manylinux_2_17", "manylinux2014")  # fmt: skip


def main() -> int:
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = {machine: resolve(requirements, machine, version) for machine in MACHINES}
    names = sorted({name for wheels in found.values() for name in wheels})
    print(f"Python {version}, {len(names)} packages, wheels only\n")
    print(f"{'package':28} " + " ".join(f"{machine:>12}" for machine in MACHINES))
    for name in names:
        print(f"{name:28} " + " ".join(f"{found[m].get(name, '-'):>12}" for m in MACHINES))
    return 0


def resolve(requirements: list[str], machine: str, version: str) -> dict[str, str]:
    """name -> version of all packages; exits when pip finds no set of wheels."""
    with tempfile.TemporaryDirectory() as target:
        report = Path(target) / "report.json"
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
            "--only-binary", ":all:", "--implementation", "cp", "--python-version", version,
            "--target", target, "--report", str(report),
            *(f"--platform={glibc}_{machine}" for glibc in GLIBC), *requirements,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"No set of wheels for {machine}:\n{done.stderr}")
        installs = json.loads(report.read_text())["install"]
    return {i["metadata"]["name"].lower(): i["metadata"]["version"] for i in installs}


if __name__ == "__main__":
    sys.exit(main())
