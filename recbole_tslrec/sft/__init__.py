"""Supervised fine-tuning of an LLM: one engine for many tasks."""
