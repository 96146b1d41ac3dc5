"""How this machine computes: processes, floating-point types, random states."""
