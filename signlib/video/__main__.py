"""`python -m signlib.video extract` and `python -m signlib.video live`."""

import importlib
import sys

COMMANDS = {"extract": "the keypoints of a folder of videos", "live": "signs before a camera or in a video, as they are made"}


def main(arguments):
    """Runs the command that is named first. Returns its exit status; 2 where there is none, or it cannot be imported."""
    if not arguments or arguments[0] not in COMMANDS:
        print("usage: python -m signlib.video COMMAND ...; each with --help", file=sys.stderr)
        print("\n".join(f"  {name:8} {what}" for name, what in COMMANDS.items()), file=sys.stderr)
        return 2
    try:
        return importlib.import_module(f"signlib.video.{arguments[0]}").main(arguments[1:])
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except ImportError as error:
        print(f"error: {error}; `make extract` and `make live` install it, or pip install -e '.[video]'", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
