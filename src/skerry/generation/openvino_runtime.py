"""OpenVINO and its GenAI, imported so that they report to nobody."""

import sys

# `import openvino` loads its model converter, and that reports each import to its maker over
# the network. The converter is of no use here, so it is kept out: openvino expects that.
CONVERTER = "openvino.tools.ovc"
if CONVERTER not in sys.modules:
    sys.modules[CONVERTER] = None  # type: ignore[assignment]
    import openvino as ov
    import openvino_genai as genai

    del sys.modules[CONVERTER]
else:
    import openvino as ov
    import openvino_genai as genai

__all__ = ["genai", "ov"]
