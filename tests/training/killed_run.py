"""Resumes a toy run, and kills itself after a time that is given in seconds of the processor.

Such a time does not depend on what else the machine does. Prints the time that a run needs which is not killed.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from toy_run import TOY_RECIPE, toy_task

from floqzoo.training import prepared_run, resume


def kill_at(processor_time: float) -> None:
    while time.process_time() < processor_time:
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    prepared_run.load_task = lambda config: toy_task()
    start, lifetime = time.process_time(), float(sys.argv[2])
    threading.Thread(target=kill_at, args=(start + lifetime,), daemon=True).start()
    resume(Path(sys.argv[1]), recipe=TOY_RECIPE)
    print(time.process_time() - start)
