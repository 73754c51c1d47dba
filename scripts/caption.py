"""`cootmart caption` for people who run from a checkout, also under `accelerate launch`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cootmart.cli import main

if __name__ == "__main__":
    sys.exit(main(["caption", *sys.argv[1:]]))
