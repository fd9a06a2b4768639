"""Convert a published ARC checkpoint: backbone and neck strictly, heads not.

Example:
    python tools/model_converters/arc_to_dynnet.py ARC_ResNet50_xFFF_n4.pth arc.pth \
        --config configs/arc/CONFIG.py
"""

import sys

import dynnet  # noqa: F401  (registers dynnet's types)
from dynnet.utils.arc_conversion import run_arc_converter
from dynnet.utils.cli import run_main

if __name__ == '__main__':
    sys.exit(run_main(run_arc_converter))
