"""`python -m signlib.video extract` and `python -m signlib.video live`."""

import sys

from signlib.video import extract

COMMANDS = {"extract": extract.main}


def main(arguments):
    """Runs the command that is named first. Returns the exit status."""
    if not arguments or arguments[0] not in COMMANDS:
        print(f"usage: python -m signlib.video {{{','.join(COMMANDS)}}} ...; each with --help", file=sys.stderr)
        return 2
    return COMMANDS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
