"""``python -m recbole_tslrec``."""

from recbole_tslrec.cli import console

if __name__ == "__main__":
    console()
