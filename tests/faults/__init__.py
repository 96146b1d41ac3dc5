"""Injected faults: kills, a full disk, flipped bits, two at once. ``python -m tests.faults --minutes=30 --seed=1``."""
