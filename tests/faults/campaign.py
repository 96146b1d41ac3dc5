"""The campaign: a fault, the same command again, and the artifacts of an undisturbed run."""

import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.disk import die, fill_up
from tests.faults.runs import FAMILIES, Command, Ended


@dataclass
class Undisturbed:
    """What a family's command does without a fault."""

    places: list[str]
    seconds: float
    found: dict[str, str]

    @property
    def changes(self) -> int:
        """How often it changes the disk."""
        return len(self.places)


@dataclass
class Campaign:
    """Trials of all kinds in turn.

    Attributes:
        folder: an empty one.
        random: draws what happens where.
        tried: trials by kind.
        failed: what became of those that did not survive, by kind.
    """

    folder: Path
    random: random.Random
    tried: dict[str, int] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    _undisturbed: dict[str, Undisturbed] = field(default_factory=dict)

    def trial(self, kind: str, family: str) -> None:
        """One fault of a kind in the command of a family."""
        command = self._afresh(family)
        self._note(kind, family, KINDS[kind](self, command, self.undisturbed(family)))

    def kill_before(self, change: int, kind: str, family: str) -> None:
        """SIGKILL before the change of a number."""
        command = self._afresh(family)
        command.run(before=change, fault=die)
        self._note(
            kind, f"{family}, change {change}", is_as_undisturbed(command, self.undisturbed(family), command.run())
        )

    def _afresh(self, family: str) -> Command:
        command = Command(family, self.folder / "trial")
        shutil.rmtree(command.folder, ignore_errors=True)
        command.prepare()
        return command

    def _note(self, kind: str, where: str, what: str) -> None:
        self.tried[kind] = self.tried.get(kind, 0) + 1
        if what:
            self.failed.setdefault(kind, []).append(f"{where}, trial {self.tried[kind]} of {kind}: {what}")

    def undisturbed(self, family: str) -> Undisturbed:
        """The command without a fault, once for all trials."""
        if family not in self._undisturbed:
            command = Command(family, self.folder / family)
            command.prepare()
            ended = command.run()
            assert ended.code == 0, ended.said
            assert not command.left_over(), command.left_over()
            self._undisturbed[family] = Undisturbed(ended.places, ended.seconds, command.found())
        return self._undisturbed[family]


def is_as_undisturbed(command: Command, undisturbed: Undisturbed, ended: Ended) -> str:
    """What differs from an undisturbed run, in words; empty where nothing does."""
    if ended.code:
        return f"the same command ended with {ended.code}: {ended.said}"
    found = command.found()
    if found != undisturbed.found:
        differing = sorted(name for name in found | undisturbed.found if found.get(name) != undisturbed.found.get(name))
        return f"other artifacts: {', '.join(differing)}"
    left = command.left_over()
    return f"left over: {', '.join(left)}" if left else ""


def killed_before_a_change(campaign: Campaign, command: Command, undisturbed: Undisturbed) -> str:
    """SIGKILL before a write, fsync, rename or unlink."""
    command.run(before=campaign.random.randrange(undisturbed.changes), fault=die)
    return is_as_undisturbed(command, undisturbed, command.run())


def killed_at_a_time(campaign: Campaign, command: Command, undisturbed: Undisturbed) -> str:
    """SIGKILL anywhere, so amid a write too."""
    command.run(kill_after=campaign.random.random() * undisturbed.seconds)
    return is_as_undisturbed(command, undisturbed, command.run())


def killed_twice(campaign: Campaign, command: Command, undisturbed: Undisturbed) -> str:
    """SIGKILL, and again while the same command goes on."""
    for _ in range(2):
        command.run(before=campaign.random.randrange(undisturbed.changes), fault=die)
    return is_as_undisturbed(command, undisturbed, command.run())


def without_room(campaign: Campaign, command: Command, undisturbed: Undisturbed) -> str:
    """No space left on the device at one change: an error in one message, and with room all is well."""
    ended = command.run(before=campaign.random.randrange(undisturbed.changes), fault=fill_up)
    if ended.code and not ended.is_refusal:
        return f"no refusal in one message: {ended.said}"
    return is_as_undisturbed(command, undisturbed, command.run())


def flipped_in_an_artifact(campaign: Campaign, command: Command, undisturbed: Undisturbed) -> str:
    """A bit of a finished artifact: refused by name, or of no consequence."""
    command.run()
    flip(campaign.random, [path for path in command.artifacts.rglob("*") if path.is_file()])
    return refused_or_as_undisturbed(command, undisturbed)


def flipped_in_unfinished_work(campaign: Campaign, command: Command, undisturbed: Undisturbed) -> str:
    """A bit of what an interrupted attempt has left: passed over, or of no consequence."""
    command.run(before=campaign.random.randrange(undisturbed.changes), fault=die)
    flip(campaign.random, [path for path in command.artifacts.glob("*.partial/unfinished/**/*") if path.is_file()])
    return is_as_undisturbed(command, undisturbed, command.run())


def two_at_once(campaign: Campaign, command: Command, undisturbed: Undisturbed) -> str:
    """The same command in two processes, one a little later."""
    started = time.monotonic()
    first = command.start()
    time.sleep(campaign.random.random() * undisturbed.seconds)
    second = command.start()
    ended = [command.wait(process, started) for process in (first, second)]
    return is_as_undisturbed(command, undisturbed, max(ended, key=lambda each: abs(each.code)))


def refused_or_as_undisturbed(command: Command, undisturbed: Undisturbed) -> str:
    """A refusal is one message; what is not refused has changed nothing."""
    ended = command.run()
    if ended.is_refusal:
        return ""
    return is_as_undisturbed(command, undisturbed, ended)


def flip(random: random.Random, paths: list[Path]) -> None:
    """One bit of one file that is not empty, if there is any."""
    paths = sorted(path for path in paths if path.stat().st_size)
    if not paths:
        return
    path = random.choice(paths)
    data = bytearray(path.read_bytes())
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


KINDS: dict[str, Callable[[Campaign, Command, Undisturbed], str]] = {
    "killed before a change": killed_before_a_change,
    "killed at a time": killed_at_a_time,
    "killed twice": killed_twice,
    "without room": without_room,
    "flipped in an artifact": flipped_in_an_artifact,
    "flipped in unfinished work": flipped_in_unfinished_work,
    "two at once": two_at_once,
}


def run_campaign(folder: Path, seed: int, minutes: float, most: int | None) -> Campaign:
    """Trials of all kinds and families in turn, until the time is over or there were ``most``."""
    campaign = Campaign(folder, random.Random(seed))
    deadline = time.monotonic() + 60 * minutes
    pairs: list[tuple[str, str]] = []
    while time.monotonic() < deadline and (most is None or sum(campaign.tried.values()) < most):
        if not pairs:
            pairs = [(kind, family) for family in FAMILIES for kind in KINDS]
            campaign.random.shuffle(pairs)
        campaign.trial(*pairs.pop())
    return campaign


def kill_everywhere(folder: Path, families: Sequence[str]) -> Campaign:
    """SIGKILL before every change of the disk of the families, one by one."""
    campaign = Campaign(folder, random.Random(0))
    for family in families:
        for change in range(campaign.undisturbed(family).changes):
            campaign.kill_before(change, "killed before every change", family)
    return campaign


def kill_at_every_place(folder: Path, families: Sequence[str]) -> Campaign:
    """SIGKILL before the first change at each place in the code that a family, or one before it, comes to."""
    campaign, seen = Campaign(folder, random.Random(0)), set[str]()
    for family in families:
        for change, place in enumerate(campaign.undisturbed(family).places):
            if place not in seen:
                campaign.kill_before(change, "killed at every place", family)
                seen.add(place)
    return campaign
