"""Runs of many models, datasets and seeds: what the reports need, and how what is missing is run."""
