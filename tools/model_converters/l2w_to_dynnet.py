"""Convert a published L2W-DEN checkpoint, strictly: network and WPN, every key.

Example:
    python tools/model_converters/l2w_to_dynnet.py model_best.pth.tar l2w.pth \
        --config configs/l2w/CONFIG.py
"""

import sys

from dynnet.utils.cli import run_main
from dynnet.utils.conversion import l2w_keys, run_converter


def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    run_converter(
        __doc__.splitlines()[0], l2w_keys, argv, ('state_dict', 'meta_state_dict')
    )


if __name__ == '__main__':
    sys.exit(run_main(main))
