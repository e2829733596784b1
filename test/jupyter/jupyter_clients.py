"""What people run the kernel from: jupyter_client, nbclient and jupyter console. Prints one JSON object a finding."""

import json
import os
import pty
import select
import signal
import statistics
import subprocess
import sys
import time

import nbformat
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient


def tell(**finding):
    print(json.dumps(finding), flush=True)


def alive(pid):
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


def children(pid):
    """Processes below `pid`, itself included."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in listed.splitlines()}
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def with_jupyter_client():
    manager, client = start_new_kernel(kernel_name="gpt-lab", startup_timeout=60)
    try:
        outputs = []
        reply = client.execute_interactive(
            "console.log('out'); console.error('err'); 6 * 7", output_hook=outputs.append, timeout=30
        )
        kinds = [message["msg_type"] for message in outputs]
        tell(test="execute", status=reply["content"]["status"], kinds=kinds)

        client.execute_interactive("const kept = 41;", timeout=30)
        client.execute("while (true) {}")
        while client.get_iopub_msg(timeout=30)["msg_type"] != "execute_input":
            pass
        manager.interrupt_kernel()
        name = client.get_shell_msg(timeout=30)["content"].get("ename")
        answers = []
        client.execute_interactive("kept + 1", output_hook=answers.append, timeout=30)
        result = [m["content"]["data"]["text/plain"] for m in answers if m["msg_type"] == "execute_result"]
        tell(test="interrupt", ename=name, result=result)

        replies = []
        client.execute_interactive(
            "await prompt('name?')", allow_stdin=True, stdin_hook=lambda _: client.input("Ishmael"),
            output_hook=replies.append, timeout=30,
        )
        result = [m["content"]["data"]["text/plain"] for m in replies if m["msg_type"] == "execute_result"]
        tell(test="stdin", result=result)

        family = children(manager.provisioner.process.pid)
        manager.shutdown_kernel()
        deadline = time.monotonic() + 20
        while any(map(alive, family)) and time.monotonic() < deadline:
            time.sleep(0.05)
        tell(test="shutdown", processes=len(family), left=[pid for pid in family if alive(pid)])
    finally:
        client.stop_channels()
        if manager.is_alive():
            manager.shutdown_kernel(now=True)


def with_nbclient():
    cells = ["let sum = 0;\nfor (const x of [1, 2, 3]) sum += x;\nconsole.log(sum);", "sum * 7"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="gpt-lab", timeout=60).execute()
    stream, result = notebook.cells[0].outputs[0], notebook.cells[1].outputs[0]
    tell(test="nbclient", stream=stream["text"], result=result["data"]["text/plain"])


def with_console():
    """`jupyter console` in a terminal of its own, as a person uses it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.execvp(sys.executable, [sys.executable, "-m", "jupyter_console", "--kernel", "gpt-lab", "--simple-prompt"])
    seen = b""

    def until(text, after=0):
        nonlocal seen
        deadline = time.monotonic() + 60
        while text not in seen[after:]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the console did not show {text!r}: {seen!r}")
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 4096)

    try:
        until(b"In [1]")
        start = len(seen)
        os.write(terminal, b"6 * 7\n")
        until(b"42", start)
        tell(test="console", shown=True)
        os.write(terminal, b"\x04")
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        os.close(terminal)


with_jupyter_client()
with_nbclient()
with_console()
