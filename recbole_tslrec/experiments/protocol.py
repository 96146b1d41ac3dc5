"""The protocol of the comparisons, ``properties/protocol.yaml``, and how a command keeps to it."""

from recbole_tslrec.configuration.properties import properties_folder, read_properties
from recbole_tslrec.experiments.command import Command

SEEDS_ON_BEAUTY = 10
# where the protocol leaves something to the backbone, or what does not change a result
_FREE = ("train_mode", "eval_batch_size")
_SPLIT = {"LS": "valid_and_test"}  # a user's last item is the test item, the one before it the validation item


def deviations(command: Command) -> list[str]:
    """What a command does otherwise than the protocol, e.g. ``epochs 3 (protocol: 200)``."""
    config = command.config()
    protocol = read_properties(properties_folder() / "protocol.yaml", config.yaml_loader)
    found = [
        f"{key} {config[key]} (protocol: {value})"
        for key, value in protocol.items()
        if key not in _FREE and config[key] not in (None, value)
    ]
    split = config["eval_args"]["split"]
    if split != _SPLIT:
        found.append(f"eval_args split {split} (protocol: {_SPLIT})")
    if "beauty" in command.datasets and len(command.seeds) < SEEDS_ON_BEAUTY:
        found.append(f"{len(command.seeds)} seeds (protocol: at least {SEEDS_ON_BEAUTY} on beauty)")
    return found


def quoted_protocol(command: Command) -> str:
    """The command, how it deviates from the protocol, and the protocol itself, for the reader of a report."""
    differences = deviations(command)
    keeps = f"Deviates from the protocol: {'; '.join(differences)}." if differences else "Keeps to the protocol."
    protocol = (properties_folder() / "protocol.yaml").read_text(encoding="utf-8")
    return f"{command.line}\n{keeps}\n\nThe protocol, properties/protocol.yaml:\n{protocol}"
