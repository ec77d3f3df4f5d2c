"""The load tests are run as scripts too: they import as they do when run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "loadtest"))
