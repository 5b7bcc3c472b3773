"""The parts of scripts/bench race: its files and its readers."""
