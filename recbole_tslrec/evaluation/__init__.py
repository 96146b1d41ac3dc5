"""How a ranking is judged: history modes, results by user, rows without a model, significance."""
