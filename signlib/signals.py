"""Taking over signals for a while."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def handled(handler, *signums):
    """The signals go to `handler(signum, frame)` meanwhile; but in the main thread alone, which decides over signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handler) for signum in signums}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)


def stop_signals():
    """Returns the signals that stop a run: SIGINT, SIGTERM, and SIGHUP where it is not ignored, as nohup has it on purpose."""
    # A shell's background jobs ignore SIGINT from their start on; they are stopped by it all the same.
    return [signal.SIGINT, signal.SIGTERM] + [signal.SIGHUP] * (signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)
