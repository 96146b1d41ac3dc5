"""LLM baselines of the paper's Table 2, as tasks of the fine-tuning engine."""
