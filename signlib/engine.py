"""A papermill engine that passes SIGINT and SIGTERM on to the kernel as an interrupt, and waits for it to end tidily.

Papermill alone kills the kernel at SIGTERM without an exception in it, and gives a cell 2 to 3 seconds after SIGINT.
"""

import contextlib
import os
import signal
import threading

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.log import logger


class _Client(PapermillNotebookClient):
    """Knows whether a cell is running: a kernel that runs none ignores interrupts."""

    running = False

    def execute_cell(self, cell, index, **kwargs):
        self.running = cell.cell_type == "code"
        try:
            return super().execute_cell(cell, index, **kwargs)
        finally:
            self.running = False


class SignalEngine(NBClientEngine):
    """The engine "signlib". `signals`: a list that receives the numbers of the signals that came."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, signals=None, stdout_file=None, stderr_file=None, **kwargs):
        """Runs the notebook; raises KeyboardInterrupt at a second signal, or at one that comes while no cell runs."""
        received = [] if signals is None else signals
        client = _Client(
            nb_man,
            kernel_name=kernel_name,
            log=logger,
            log_output=kwargs.get("log_output", False),
            stdout_file=stdout_file,
            stderr_file=stderr_file,
            startup_timeout=kwargs.get("start_timeout", 60),
            extra_arguments=["--log-level=ERROR"],  # newer kernels warn of their local TCP port at every start
        )

        def pass_on(signum, frame):
            received.append(signum)
            if len(received) > 1 or not client.running:
                raise KeyboardInterrupt
            os.kill(client.km.provisioner.pid, signal.SIGINT)

        with _handlers(pass_on):
            return client.execute()


@contextlib.contextmanager
def _handlers(handler):
    """SIGINT and SIGTERM go to `handler` meanwhile, as far as this thread may decide that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handler) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)


def register():
    """Makes the engine known to papermill as "signlib"."""
    papermill_engines.register("signlib", SignalEngine)
