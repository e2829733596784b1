/** `gpt-lab notebook run`: what `npm start -- --headless` runs on the quickstart. */
import { resolve } from 'node:path';
import { applySettings } from '../lab/settings.ts';
import { UsageError } from './arguments.ts';
import { defineCommand, EXIT, note, print, printJson } from './command.ts';
import { CellError, runNotebook } from './run-notebook.ts';

export const notebookRun = defineCommand({
  name: 'notebook run',
  summary: 'Execute a notebook in the terminal and write it with its outputs',
  notes: 'Exit status 1 when a cell fails; the notebook is written all the same.',
  hidden: true,
  positionals: ['FILE'],
  options: {
    to: { type: 'text', value: 'FILE', required: true, help: 'where the executed notebook goes' },
    set: {
      type: 'text',
      value: 'a.b=value',
      many: true,
      help: 'change one key of every configuration that the notebook trains with',
    },
  },
  async run({ values, positionals: [file = ''] }) {
    const to = resolve(values.to);
    const applied = applySettings({}, values.set);
    if ('problems' in applied) throw new UsageError(applied.problems);
    try {
      await runNotebook(file, to, {
        out: values.json ? process.stderr : process.stdout,
        settings: values.set,
      });
    } catch (error) {
      if (!(error instanceof CellError)) throw error;
      note(`${error.message}; the notebook so far is ${to}`);
      return EXIT.failed;
    }
    if (values.json) printJson({ notebook: to });
    else print(`\nThe executed notebook is ${to}`);
    return EXIT.done;
  },
});
