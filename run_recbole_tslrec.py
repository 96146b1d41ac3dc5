"""Train and evaluate a model of recbole_tslrec or RecBole, e.g.

python run_recbole_tslrec.py --model=TSLRecSASRec --dataset=ml-100k --config_files=properties/presets/quick.yaml
"""

from recbole_tslrec.cli import console

if __name__ == "__main__":
    console()
