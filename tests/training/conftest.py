"""Makes `toy`, the family that the tests here train, importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
