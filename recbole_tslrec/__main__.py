"""``python -m recbole_tslrec``."""

from recbole_tslrec.quick_start import console

if __name__ == "__main__":
    console()
