from __future__ import annotations

import subprocess
import sys

# Without the conversion that the module makes while it is imported, two runs in five never end.
FIRST_CONVERSIONS_AT_ONCE = """
import os, sys, threading
from skerry.inference.openvino import ov
sys.setswitchinterval(1e-6)
begun, waiting = [], threading.Barrier(9)
def convert():
    waiting.wait()
    while not begun:
        pass
    ov.Type.f32.to_dtype()
threads = [threading.Thread(target=convert, daemon=True) for _ in range(8)]
for thread in threads:
    thread.start()
waiting.wait()
begun.append(True)
for thread in threads:
    thread.join(5)
os._exit(any(thread.is_alive() for thread in threads))
"""
ROUNDS = 6


def test_the_first_requests_may_come_at_once_without_stopping_the_process() -> None:
    for _ in range(ROUNDS):
        subprocess.run([sys.executable, "-c", FIRST_CONVERSIONS_AT_ONCE], check=True, timeout=20)
