"""`jupyter console` at a terminal of its own.

Run by clients.test.ts, which installs the kernel and says by JUPYTER_PATH where.
"""

import os
import sys
import unittest

import pexpect

TIMEOUT = 60


class Console(unittest.TestCase):
    def test_a_session(self):
        console = pexpect.spawn(
            sys.executable,
            ["-m", "jupyter_console", "--kernel", "gpt-lab", "--simple-prompt"],
            encoding="utf8",
            timeout=TIMEOUT,
            dimensions=(40, 120),
            env={**os.environ, "TERM": "dumb"},
        )
        try:
            console.expect("GPT Lab .*TypeScript on Node")
            console.expect(r"In \[1\]: ")
            console.sendline("const a: number = 20")
            console.expect(r"In \[2\]: ")
            console.sendline("[a, a + 1]")
            console.expect(r"Out\[2\]: .*\[ 20, 21 \]")
            console.expect(r"In \[3\]: ")
            console.sendline("(await prompt('Your name? ')).length")
            console.expect(r"Your name\? ")
            console.sendline("Ada")
            console.expect(r"Out\[3\]: .*3")
            console.expect(r"In \[4\]: ")
            console.sendline("console.log('spin' + 'ning'); while (true) {}")
            console.expect("spinning")
            console.sendintr()
            console.expect("Interrupted: .*variables are kept")
            console.expect(r"In \[5\]: ")
            console.sendline("a + 2")
            console.expect(r"Out\[5\]: .*22")
            console.expect(r"In \[6\]: ")
            console.sendeof()
            console.expect("really want to exit")
            console.sendline("y")
            console.expect(pexpect.EOF)
        finally:
            console.close(force=True)


if __name__ == "__main__":
    unittest.main()
