"""The kernel before Jupyter's own conformance tests, and what these leave out.

Run by clients.test.ts, which installs the kernel and says by JUPYTER_PATH where.
"""

import os
import signal
import unittest

import jupyter_kernel_test
from jupyter_client.manager import start_new_kernel

KERNEL = "gpt-lab"
TIMEOUT = 30


class Conformance(jupyter_kernel_test.KernelTests):
    kernel_name = KERNEL
    language_name = "typescript"
    file_extension = ".ts"
    code_hello_world = "console.log('hello, world')"
    code_stderr = "console.error('test')"
    completion_samples = [
        {"text": "'text'.toUpp", "matches": {"toUpperCase"}},
        {"text": "await promp", "matches": {"prompt"}},
    ]
    complete_code_samples = ["1 + 1", "const f = () => {\n  return 1;\n}", "for (const a of []) {}"]
    incomplete_code_samples = ["const f = () => {", "[1,", "`a template"]
    invalid_code_samples = ["const = 1", "}", "'a string"]
    code_generate_error = "throw new Error('expected')"
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": "'a' + 'b'", "result": "'ab'"},
        {"code": "[1, 2].map((n: number) => 2 * n)", "result": "[ 2, 4 ]"},
    ]
    code_display_data = [
        {"code": "display({ 'text/html': '<b>bold</b>' })", "mime": "text/html"},
        {"code": "display.svg('<svg/>')", "mime": "image/svg+xml"},
    ]
    code_history_pattern = "6 ? *"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "console.log"
    code_clear_output = "display.clear()"


class Welcome(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = KERNEL
    support_iopub_welcome = True


class Sessions(unittest.TestCase):
    """Through jupyter_client: input, interrupt, comms, death and restart."""

    @classmethod
    def setUpClass(cls):
        cls.km, cls.kc = start_new_kernel(kernel_name=KERNEL)

    @classmethod
    def tearDownClass(cls):
        cls.kc.stop_channels()
        cls.km.shutdown_kernel()

    def execute(self, code, **options):
        """Runs a cell; gives its reply and its outputs by type."""
        outputs = []
        reply = self.kc.execute_interactive(
            code, timeout=TIMEOUT, output_hook=lambda message: outputs.append(message), **options
        )
        return reply["content"], outputs

    def result(self, code):
        _, outputs = self.execute(code)
        return [o["content"]["data"]["text/plain"] for o in outputs if o["msg_type"] == "execute_result"]

    def test_input_is_asked_for_and_answered(self):
        asked = []

        def answer(message):
            asked.append(message["content"])
            self.kc.input("Ada")

        _, outputs = self.execute(
            "`hello ${await prompt('Name?')}`", allow_stdin=True, stdin_hook=answer
        )
        self.assertEqual(asked, [{"prompt": "Name?", "password": False}])
        results = [o["content"]["data"]["text/plain"] for o in outputs if o["msg_type"] == "execute_result"]
        self.assertEqual(results, ["'hello Ada'"])

    def test_input_is_refused_where_nobody_can_answer(self):
        reply, _ = self.execute("await prompt('Name?')", allow_stdin=False)
        self.assertEqual((reply["status"], reply["ename"]), ("error", "NoInput"))

    def test_an_interrupt_ends_the_cell_and_keeps_its_variables(self):
        self.execute("const kept = 42;")
        for endless in ("while (true) {}", "await new Promise(() => {});"):
            message = self.kc.execute(f"console.log('in'); {endless}")
            while self.kc.get_iopub_msg(timeout=TIMEOUT)["msg_type"] != "stream":
                pass
            self.km.interrupt_kernel()
            reply = self.kc.get_shell_msg(timeout=TIMEOUT)
            self.assertEqual(reply["parent_header"]["msg_id"], message)
            self.assertEqual(reply["content"]["ename"], "Interrupted")
        self.assertEqual(self.result("kept"), ["42"])

    def test_comms_of_an_unknown_target_are_closed(self):
        content = {"comm_id": "c1", "target_name": "jupyter.widget", "data": {}}
        message = self.kc.session.msg("comm_open", content)
        self.kc.shell_channel.send(message)
        while True:
            answer = self.kc.get_iopub_msg(timeout=TIMEOUT)
            if answer["msg_type"] == "comm_close":
                break
        self.assertEqual(answer["content"]["comm_id"], "c1")
        self.assertEqual(answer["parent_header"]["msg_id"], message["header"]["msg_id"])

    def test_requests_on_control_are_answered_between_busy_and_idle_while_a_cell_runs(self):
        cell = self.kc.execute("console.log('in'); await new Promise(() => {});")
        while self.kc.get_iopub_msg(timeout=TIMEOUT)["msg_type"] != "stream":
            pass
        message = self.kc.session.msg("kernel_info_request", {})
        self.kc.control_channel.send(message)
        reply = self.kc.get_control_msg(timeout=TIMEOUT)
        self.assertEqual((reply["msg_type"], reply["content"]["status"]), ("kernel_info_reply", "ok"))
        states = []
        while len(states) < 3:
            status = self.kc.get_iopub_msg(timeout=TIMEOUT)
            states.append((status["parent_header"]["msg_id"], status["content"]["execution_state"]))
        own = message["header"]["msg_id"]
        # Front ends show the newest state, and the cell is still running.
        self.assertEqual(states, [(own, "busy"), (own, "idle"), (cell, "busy")])
        self.km.interrupt_kernel()
        self.kc.get_shell_msg(timeout=TIMEOUT)

    def test_a_restart_makes_a_new_session_without_variables(self):
        self.execute("const before = 1;")
        session = self.kc.execute("1") and self.kc.get_shell_msg(timeout=TIMEOUT)["header"]["session"]
        self.km.restart_kernel()
        self.kc.wait_for_ready(timeout=TIMEOUT)
        self.assertEqual(self.result("typeof before"), ["'undefined'"])
        self.kc.execute("1")
        self.assertNotEqual(self.kc.get_shell_msg(timeout=TIMEOUT)["header"]["session"], session)

    def test_ctrl_c_at_the_process_interrupts_too(self):
        supervisor = int(self.result("process.ppid")[0])
        message = self.kc.execute("console.log('in'); while (true) {}")
        while self.kc.get_iopub_msg(timeout=TIMEOUT)["msg_type"] != "stream":
            pass
        os.kill(supervisor, signal.SIGINT)
        reply = self.kc.get_shell_msg(timeout=TIMEOUT)
        self.assertEqual(reply["parent_header"]["msg_id"], message)
        self.assertEqual(reply["content"]["ename"], "Interrupted")

    def test_two_clients_of_one_kernel_are_both_welcomed(self):
        other = self.km.client()
        other.start_channels()
        try:
            welcome = other.get_iopub_msg(timeout=TIMEOUT)
            self.assertEqual(welcome["msg_type"], "iopub_welcome")
        finally:
            other.stop_channels()


if __name__ == "__main__":
    unittest.main()
