"""The papermill engine "signlib": a notebook that ends tidily at a signal, and says how it ended.

Papermill alone kills the kernel at SIGTERM without an exception in it, gives a cell 2 to 3 seconds after SIGINT, and calls
the cells of a killed kernel completed. Papermill imports this file by its entry point; nothing else has to.
"""

import signal
import threading

import nbformat
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine
from papermill.log import logger

from signlib.signals import handled, stop_signals

STOP_SECONDS = 60  # for a notebook without that parameter
MARKER = "papermill-error-cell-tag"  # papermill's own, by which it removes such cells before the next run


class KernelKilledError(DeadKernelError):
    """The kernel died before the notebook was done; the message says of what."""

    def __init__(self, status):
        name = signal.Signals(-status).name if status and status < 0 else f"status {status}"
        if name == "SIGKILL":
            name += ") by the system, most often because memory ran out: set BATCH_SIZE to 16, then 8, or CACHE_MB to 256"
        else:
            name += ")"
        super().__init__(f"the kernel was killed ({name}")


class _Client(PapermillNotebookClient):
    """Passes signals on to the kernel: the first as an interrupt, as soon as a cell executes and can hear it; the second, or
    the end of `stop_seconds`, kills it. After an interrupt the notebook goes on only where its cell says "interrupted"."""

    def __init__(self, nb_man, signals, stop_seconds, **options):
        super().__init__(nb_man, **options)
        self.signals = signals
        self.stop = threading.Timer(stop_seconds, self._kill)
        self.stop.daemon = True
        self.process = None
        self.executing = self.passed_on = self.absorbed = self.done = False

    def on_signal(self, signum, frame):
        """Handles a signal."""
        if self.done:
            return
        self.signals.append(signum)
        if len(self.signals) == 1:
            self.stop.start()
            self._pass_on()
        elif self.process is None:
            raise KeyboardInterrupt
        else:
            self._kill()

    def execute_cell(self, cell, index, **options):
        if cell.cell_type != "code":
            return cell
        try:
            if self.signals and not self.absorbed:
                raise KeyboardInterrupt
            self.process = self.km.provisioner.process
            return super().execute_cell(cell, index, **options)
        except (KeyboardInterrupt, DeadKernelError):
            self.nb_man.cell_exception(cell, index)  # else papermill calls it completed
            raise
        finally:
            self.executing = False
            if self.passed_on and not self.absorbed:
                self.absorbed = any("interrupted" in output.get("text", "") for output in cell.outputs)

    def process_message(self, message, *more, **options):
        if message["msg_type"] == "execute_input":  # before it, the kernel is idle and ignores interrupts
            self.executing = True
            self._pass_on()
        return super().process_message(message, *more, **options)

    def papermill_execute_cells(self):
        super().papermill_execute_cells()
        self.done = True

    def _pass_on(self):
        if self.signals and self.executing and not self.passed_on:
            self.passed_on = True
            self.process.send_signal(signal.SIGINT)

    def _kill(self):
        if self.process is not None:
            self.process.kill()


class SignalEngine(NBClientEngine):
    """The engine "signlib". `signals`: a list that receives the numbers of the signals that came."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, signals=None, stdout_file=None, stderr_file=None, **kwargs):
        """Runs the notebook. Ends with SystemExit, 128 and the signal's number, where a signal stopped it, and with
        KernelKilledError where the kernel died of something else; the notebook then says so at its top."""
        notebook = nb_man.nb
        client = _Client(
            nb_man,
            [] if signals is None else signals,
            notebook.metadata.papermill.parameters.get("STOP_SECONDS", STOP_SECONDS),
            kernel_name=kernel_name,
            log=logger,
            log_output=kwargs.get("log_output", False),
            stdout_file=stdout_file,
            stderr_file=stderr_file,
            startup_timeout=kwargs.get("start_timeout", 60),
            timeout=kwargs.get("execution_timeout"),
            shutdown_kernel="immediate",  # all is written by then; the graceful way interrupts the idle kernel, which complains
            extra_arguments=["--log-level=ERROR"],  # newer kernels warn of their local TCP port at every start
        )
        ended = None
        with handled(client.on_signal, *stop_signals()):
            try:
                if client.signals:  # already, before there was a kernel
                    raise KeyboardInterrupt
                client.execute()
            except (KeyboardInterrupt, DeadKernelError) as error:
                ended = error
            finally:
                client.stop.cancel()
        if client.signals and (ended or client.absorbed or notebook.metadata.papermill.exception):
            _say(notebook, "interrupted", f"by {signal.Signals(client.signals[0]).name}")
            raise SystemExit(128 + client.signals[0])
        if ended:
            ended = KernelKilledError(client.process and client.process.poll())
            _say(notebook, "failed", str(ended))
            raise ended


def _say(notebook, status, reason):
    """Writes how it ended into the notebook, for a program and for a reader."""
    notebook.metadata.papermill["status"] = status
    cell = nbformat.v4.new_markdown_cell(f"**{status}**: {reason}", metadata={"tags": [MARKER]})
    cell.metadata.papermill = {"status": "completed"}
    notebook.cells.insert(0, cell)
