"""Convert a published MSDNet checkpoint, strictly: every key has to find its place.

Example:
    python tools/model_converters/msdnet_to_dynnet.py model_best.pth.tar msdnet.pth \
        --config configs/msdnet/CONFIG.py
"""

import sys

from dynnet.utils.cli import run_main
from dynnet.utils.conversion import early_exit_keys, run_converter


def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    run_converter(__doc__.splitlines()[0], early_exit_keys, argv)


if __name__ == '__main__':
    sys.exit(run_main(main))
