/** `gpt-lab notebook run`: what `npm start -- --headless` runs on the quickstart. */
import { resolve } from 'node:path';
import { applySettings } from '../lab/settings.ts';
import { UsageError } from './arguments.ts';
import { defineCommand, EXIT, note, print, printJson } from './command.ts';
import { CellError, KernelDied, runNotebook } from './run-notebook.ts';

/** Ctrl-C. */
class Interrupted extends Error {
  constructor() {
    super('Interrupted. Runs go on: `gpt-lab runs` lists them, `gpt-lab stop last` stops the newest');
  }
}

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
    const interrupt = new AbortController();
    process.once('SIGINT', () => interrupt.abort(new Interrupted()));
    try {
      await runNotebook(file, to, {
        out: values.json ? process.stderr : process.stdout,
        settings: values.set,
        signal: interrupt.signal,
      });
    } catch (error) {
      if (!(error instanceof CellError || error instanceof KernelDied || error instanceof Interrupted))
        throw error;
      note(`${error.message}; the notebook so far is ${to}`);
      return error instanceof Interrupted ? EXIT.stopped : EXIT.failed;
    }
    if (values.json) printJson({ notebook: to });
    else print(`\nThe executed notebook is ${to}`);
    return EXIT.done;
  },
});
