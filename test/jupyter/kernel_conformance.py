"""Jupyter's own conformance suite (jupyter_kernel_test) on the kernel `gpt-lab`, found by its kernelspec."""

import unittest

import jupyter_kernel_test

HTML = "{ [Symbol.for('Jupyter.display')]: () => ({ 'text/html': '<b>bold</b>' }) }"


class GptLabKernel(jupyter_kernel_test.KernelTests):
    kernel_name = "gpt-lab"
    language_name = "typescript"
    file_extension = ".ts"
    code_hello_world = "console.log('hello, world')"
    code_stderr = "console.error('test')"
    completion_samples = [
        {"text": "JSON.stringif", "matches": {"stringify"}},
        {"text": "'🐋'; JSON.pars", "matches": {"parse"}},
    ]
    complete_code_samples = ["1", "const x: number = 1;", "function f() {\n  return 1;\n}", "await Promise.resolve(1)"]
    incomplete_code_samples = ["function f() {", "[1, 2,", "`a template"]
    invalid_code_samples = ["const 1 = x", "function 1() {}"]
    code_generate_error = "throw new Error('on purpose')"
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": HTML.join("()"), "mime": "text/html"},
    ]
    code_display_data = [{"code": f"display({HTML})", "mime": "text/html"}]
    code_inspect_sample = "JSON.stringify"
    code_history_pattern = "6 ? 7"
    supported_history_operations = ("tail", "range", "search")
    code_clear_output = "import { display as shown } from 'gpt-lab'; shown.clear()"


if __name__ == "__main__":
    unittest.main()
