"""`python -m truerun`, for where the console script is not on the path."""

import sys

from truerun.cli import main

sys.exit(main())
