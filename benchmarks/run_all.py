"""Run every benchmark one after the other, then write docs/figures.md; about twenty minutes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Script and arguments of a full run, and what makes it short.
FULL: dict[str, list[str]] = {
    "startup": ["--install"],
    "recognize": [],
    "cached": [],
    "ladder": [],
    "ingest": [],
    "vector_search": [],
    "shared_weights": [],
    "embeddings": [],
    "classification": [],
    "generation": [],
    "documents": [],
    "documents_http": [],
    "documents_text": [],
}
SHORT: dict[str, list[str]] = {
    "startup": ["--starts", "3"],
    "recognize": ["--rounds", "2", "--seconds", "3", "--stored", "100"],
    "cached": ["--rounds", "2", "--seconds", "2", "--stored", "100"],
    "ladder": ["--rounds", "1", "--seconds", "3"],
    "ingest": ["--count", "500"],
    "embeddings": ["--rounds", "1", "--seconds", "0.5"],
    "classification": ["--rounds", "1", "--seconds", "0.5"],
    "generation": ["--rounds", "1", "--tokens", "32", "--seconds", "3"],
    "documents": ["--short"],
    "documents_http": ["--short"],
    "documents_text": ["--short"],
}
QUIET_LOAD = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few minutes, figures for a look")
    parser.add_argument("only", nargs="*", help="names of benchmarks; all when none is given")
    arguments = parser.parse_args()
    names = arguments.only or list(FULL)
    if unknown := set(names) - set(FULL):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(FULL)}")
    if (load := os.getloadavg()[0]) > QUIET_LOAD:
        print(f"The load average is {load:.1f}: something else runs, and times will be off.")
    failed = [name for name in names if not run(name, short=arguments.short)]
    subprocess.run([sys.executable, str(HERE / "figures.py")], check=True)
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}")


def run(name: str, *, short: bool) -> bool:
    """Run one script; whether it ended well."""
    script = HERE / f"{name}.py"
    if not script.is_file():
        print(f"-- {name}: no such script")
        return False
    words = SHORT.get(name, FULL[name]) if short else FULL[name]
    print(f"\n-- {name} {' '.join(words)}", flush=True)
    began = time.monotonic()
    # From the project's folder, so that the command on the page is one to type there.
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", *words], cwd=HERE.parent, check=False
    )
    print(f"-- {name}: {time.monotonic() - began:.0f} s", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    main()
