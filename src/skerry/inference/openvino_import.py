"""Import OpenVINO so that it reports to nobody and cannot stop the process."""

from __future__ import annotations

import os
import sys

# Texts come in thousands of shapes, and code generated for each of them is kept: by default that of
# 1,024, a megabyte a shape. Read once, when the first model is compiled.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

# `import openvino` loads its model converter, and that reports each import to its maker over
# the network. The converter is of no use here, so it is kept out: openvino expects that.
CONVERTER = "openvino.tools.ovc"
if CONVERTER not in sys.modules:
    sys.modules[CONVERTER] = None  # type: ignore[assignment]
    import openvino as ov

    del sys.modules[CONVERTER]
else:
    import openvino as ov

# The binding looks NumPy up at its first conversion, with a C++ lock held while it lets go of the
# GIL: two threads doing so at once stop the whole process for good. Here one thread does it.
ov.Type.f32.to_dtype()

__all__ = ["ov"]
