"""rclone, with no configuration but what stands on its command line."""

from pathlib import Path

from tests.zoo.programs import Ended, run


def rclone(folder: Path, *arguments: str | Path) -> Ended:
    """Run it; it tries once, so that what it does with a refusal is seen at once."""
    once = ("--config", "/dev/null", "--retries", "1", "--low-level-retries", "1")
    return run("rclone", *arguments, *once, package="rclone", folder=folder)
