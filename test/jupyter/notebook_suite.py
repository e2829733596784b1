"""A notebook executed by nbclient, as `jupyter execute`, papermill and documentation builders do.

Run by clients.test.ts, which installs the kernel and says by JUPYTER_PATH where.
"""

import unittest

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


def execute(*cells, **options):
    notebook = new_notebook(
        cells=[new_markdown_cell("# Title"), *(new_code_cell(code) for code in cells)],
        metadata={"kernelspec": {"name": "gpt-lab", "display_name": "GPT Lab (TypeScript)"}},
    )
    NotebookClient(notebook, timeout=60, **options).execute()
    nbformat.validate(notebook)
    return notebook


class Notebooks(unittest.TestCase):
    def test_outputs_are_those_of_the_format(self):
        notebook = execute(
            "import { EOL } from 'node:os';\nconst n: number = 20;\nconsole.log('out');\nconsole.error('err');",
            "display({ 'text/html': '<b>hi</b>', 'text/plain': 'hi' });\nn + 1",
            "display('first', { displayId: 'd' });\nfor (const i of [1, 2]) display(`update ${i}`, { displayId: 'd', update: true });",
            "console.log('gone');\ndisplay.clear({ wait: true });\nconsole.log('stays');",
        )
        first, second, third, fourth = (cell for cell in notebook.cells if cell.cell_type == "code")
        self.assertEqual(
            [(o.output_type, o.name, o.text) for o in first.outputs],
            [("stream", "stdout", "out\n"), ("stream", "stderr", "err\n")],
        )
        shown, result = second.outputs
        self.assertEqual(shown.data["text/html"], "<b>hi</b>")
        self.assertEqual((result.data["text/plain"], result.execution_count), ("21", 2))
        self.assertEqual([o.data["text/plain"] for o in third.outputs], ["update 2"])
        self.assertEqual([o.text for o in fourth.outputs], ["stays\n"])
        self.assertEqual(notebook.metadata.language_info.file_extension, ".ts")

    def test_an_error_stops_the_notebook_and_names_its_cell(self):
        with self.assertRaises(CellExecutionError) as raised:
            execute("1", "function f() {\n  throw new TypeError('wrong');\n}\nf();")
        self.assertEqual((raised.exception.ename, raised.exception.evalue), ("TypeError", "wrong"))
        self.assertIn("Cell In[2], line 2", str(raised.exception))

    def test_errors_may_be_allowed(self):
        notebook = execute("throw new Error('allowed')", "'after'", allow_errors=True)
        self.assertEqual(notebook.cells[1].outputs[0].ename, "Error")
        self.assertEqual(notebook.cells[2].outputs[0].data["text/plain"], "'after'")


if __name__ == "__main__":
    unittest.main()
