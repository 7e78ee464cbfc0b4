"""What libraries in C++ write to stderr, without what is known to be no error: `without_noise`."""

import contextlib
import os
import sys
import tempfile


@contextlib.contextmanager
def without_noise(noise):
    """Holds back what is written to the process' stderr meanwhile, by C++ too, and then writes all lines of it but those in
    which the compiled pattern `noise`, of bytes, is found. For libraries that heed no setting for it. What a process said
    that is killed meanwhile is lost."""
    if sys.stderr is None:  # closed on purpose
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not noise.search(line):
                    os.write(2, line)
