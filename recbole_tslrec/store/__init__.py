"""Artifacts on disk: written whole or not at all, found again by what they were made from."""
