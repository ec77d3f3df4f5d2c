import sys
from pathlib import Path

# Test files are imported by path, so their helpers have to be found by name. The fake store and the
# harbour tariff are those of the stories.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "stories")]
