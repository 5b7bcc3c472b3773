"""Where this checkout and the corpus beside it are."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "../shared/corpus"
