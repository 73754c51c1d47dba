"""``python -m cootmart``."""

import sys

from cootmart.cli import main

sys.exit(main())
