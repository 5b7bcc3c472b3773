"""The parts of scripts/bench read."""
