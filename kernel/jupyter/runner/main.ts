/**
 * The cell runner: user code on the main thread of a process of its own. State lives here from cell to cell; a crash
 * is the end of this process, not of the kernel.
 */
import { inspect } from 'node:util';
import { DISPLAY, type Host } from '../../lab/host.ts';
import { display } from '../../lab/display.ts';
import { cellName } from '../excerpt.ts';
import { currentRequest, onBehalfOf } from './current-request.ts';
import { describeError } from './describe-error.ts';
import { evaluate } from './evaluate.ts';
import { confirm, prompt, takeAnswer } from './input.ts';
import { Interrupts } from './interrupts.ts';
import { liveMembers } from './live-members.ts';
import {
  INTERRUPTED,
  type Code,
  type Execute,
  type ExpressionResult,
  type MimeBundle,
  type Outcome,
  type RunnerCommand,
} from './messages.ts';
import { importFromCell, importMeta, installModuleHooks, requireFromCell } from './modules.ts';
import { report } from './report.ts';
import { rememberSource } from './sources.ts';
import { captureStream } from './streams.ts';

const interrupts = new Interrupts((number) =>
  report({ type: 'done', number, outcome: { error: INTERRUPTED } }),
);

const host: Host = {
  display: (data, { displayId, update = false, metadata = {} } = {}) =>
    report({
      type: 'display',
      request: currentRequest(),
      data,
      metadata,
      update,
      ...(displayId === undefined ? {} : { displayId }),
    }),
  clear: ({ wait = false } = {}) => report({ type: 'clear', request: currentRequest(), wait }),
  cwd: process.cwd(),
  ...(process.env['JPY_SESSION_NAME'] === undefined ? {} : { notebook: process.env['JPY_SESSION_NAME'] }),
  interruptSignal: () => interrupts.signal,
};

/** What cells find without an import; language/cell-globals.ts declares it to the language service. */
const globals: Record<string | symbol, unknown> = {
  [Symbol.for('gpt-lab.host')]: host,
  display,
  prompt,
  confirm,
  require: requireFromCell,
  __import: importFromCell,
  __importMeta: importMeta,
};

/** A value's representations: its text, and what it chooses for itself. */
async function bundleOf(value: unknown): Promise<MimeBundle> {
  const options = { depth: 4, maxArrayLength: 200, maxStringLength: 100_000, breakLength: 100 };
  const plain = { 'text/plain': inspect(value, options) };
  const chooses = (value as { [DISPLAY]?: () => unknown } | null | undefined)?.[DISPLAY];
  if (typeof chooses !== 'function') return plain;
  return { ...plain, ...((await chooses.call(value)) as MimeBundle) };
}

let scripts = 0;

/** Runs a script under a name of its own, by which errors find its source. */
function run({ code, map, source }: Code, where: string): Promise<unknown> {
  const name = `cell-${++scripts}.ts`;
  rememberSource(name, { where, text: source, map });
  return evaluate(code, name);
}

async function execute(command: Execute): Promise<void> {
  const { request, number } = command;
  if (!interrupts.begin(number)) return;
  const outcome = await onBehalfOf(request, () => outcomeOf(command));
  const interrupt = interrupts.end(number);
  if (interrupt === 'ended') return;
  // Code that was broken off ends with whatever the engine makes of it; a process that it waited for, with an error.
  const broken = interrupt === 'asked' && outcome.error;
  report({ type: 'done', number, outcome: broken ? { error: INTERRUPTED } : outcome });
}

async function outcomeOf(command: Execute): Promise<Outcome> {
  try {
    const value = await run(command, cellName(command.count));
    const result = value === undefined ? {} : { result: await bundleOf(value) };
    const expressions: Record<string, ExpressionResult> = {};
    for (const [name, code] of Object.entries(command.expressions))
      expressions[name] = await evaluateExpression(code);
    return { ...result, expressions };
  } catch (error) {
    return { error: describeError(error) };
  }
}

async function evaluateExpression(code: Code): Promise<ExpressionResult> {
  try {
    return { status: 'ok', data: await bundleOf(await run(code, 'Expression')), metadata: {} };
  } catch (error) {
    return { status: 'error', ...describeError(error) };
  }
}

function obey(command: RunnerCommand): void {
  switch (command.type) {
    case 'execute':
      void execute(command);
      break;
    case 'input':
      takeAnswer(command);
      break;
    case 'members':
      report({ type: 'members', id: command.id, names: liveMembers(command.expression) });
  }
}

captureStream('stdout');
captureStream('stderr');
installModuleHooks();
for (const name of Reflect.ownKeys(globals))
  Object.defineProperty(globalThis, name, { value: globals[name], writable: true, configurable: true });

process.on('disconnect', () => process.exit(0));
// Meant for the processes that a cell waits for: they are in our group.
process.on('SIGINT', () => undefined);
for (const kind of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(kind, (error: unknown) => {
    process.stderr.write(`Uncaught in a callback or promise\n${describeError(error).traceback.join('\n')}\n`);
  });
}
process.on('message', (command: RunnerCommand) => obey(command));
