"""The language model: loading it, the prompt, its layout in a batch, and Eq. 1."""
