import sys
from pathlib import Path

# Tools are scripts: they are run with their folder on the path.
sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))
