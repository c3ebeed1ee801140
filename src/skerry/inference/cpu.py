"""What this machine's processor is and can do."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# The same box computes otherwise when its instruction set is held down by this variable.
ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
X86 = ("x86_64", "amd64")
INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor: its name, instruction set and the cores this process may use."""

    name: str
    machine: str
    flags: frozenset[str]
    cores: int
    isa_limit: str = ""

    @property
    def engine(self) -> str:
        """The engine to prefer: OpenVINO is written for x86; elsewhere ONNX Runtime is safer."""
        return "openvino" if self.machine in X86 else "onnx"

    @property
    def has_bf16(self) -> bool:
        """bf16 arithmetic in hardware; emulated, it is slower than fp32."""
        return not self.isa_limit and bool(self.flags & BF16_FLAGS)

    @property
    def has_int8_dot_product(self) -> bool:
        """Products of bytes are summed in 32 bits; without it, in 16 bits that can saturate."""
        limited = self.isa_limit and "VNNI" not in self.isa_limit and "AMX" not in self.isa_limit
        return not limited and bool(self.flags & INT8_FLAGS)

    @property
    def signature(self) -> str:
        """16 hex digits; measurements made under it hold for this CPU only."""
        parts = [self.name, self.machine, str(self.cores), self.isa_limit, *sorted(self.flags)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def this_cpu() -> Cpu:
    """Read the processor's facts; flags are known on Linux only, and empty elsewhere."""
    fields: dict[str, str] = {}
    if CPUINFO.is_file():
        first = CPUINFO.read_text("utf-8", errors="replace").split("\n\n")[0]
        pairs = (line.partition(":") for line in first.splitlines())
        fields = {key.strip().lower(): value.strip() for key, _, value in pairs}
    flags = fields.get("flags") or fields.get("features") or ""
    return Cpu(
        name=fields.get("model name") or platform.processor() or platform.machine(),
        machine=platform.machine().lower(),
        flags=frozenset(flags.split()),
        cores=usable_cores(),
        isa_limit=os.environ.get(ISA_LIMIT, "").upper(),
    )


def usable_cores() -> int:
    """Cores this process may run on; a container or taskset may allow fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
