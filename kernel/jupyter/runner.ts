/**
 * The cell runner: user code on the main thread of a process of its own. State lives here from cell to cell; a crash
 * is the end of this process, not of the kernel.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { Session, type Runtime } from 'node:inspector';
import { createRequire, SourceMap, type SourceMapPayload } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';
import { distFile } from '../home.ts';
import type { CellError, RunnerCommand, RunnerReport } from './runner-messages.ts';

const HOST = Symbol.for('gpt-lab.host');
const DISPLAY = Symbol.for('Jupyter.display');
/** Writes within this time are one message, ms. */
const COALESCE = 16;
/** File descriptor of the supervisor's interrupt pipe. */
const PIPE = 4;

/** The request whose code runs now; asynchronous work keeps that of the cell that began it. */
const current = new AsyncLocalStorage<string>();
let latest = '';
const parent = (): string => current.getStore() ?? latest;

function report(message: RunnerReport): void {
  process.send?.(message);
}

// ---- output -----------------------------------------------------------------------------------------------------

let pending: { parent: string; name: 'stdout' | 'stderr'; text: string } | undefined;
let timer: NodeJS.Timeout | undefined;

function flush(): void {
  clearTimeout(timer);
  timer = undefined;
  if (pending) report({ type: 'stream', ...pending });
  pending = undefined;
}

function capture(name: 'stdout' | 'stderr'): void {
  const decoder = new TextDecoder();
  const write = (chunk: string | Uint8Array, encoding?: unknown, done?: unknown): boolean => {
    const text = typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    const to = parent();
    if (pending && (pending.name !== name || pending.parent !== to)) flush();
    if (pending) pending.text += text;
    else pending = { parent: to, name, text };
    timer ??= setTimeout(flush, COALESCE);
    const callback = typeof encoding === 'function' ? encoding : done;
    if (typeof callback === 'function') process.nextTick(callback);
    return true;
  };
  process[name].write = write;
}

interface DisplayOptions {
  displayId?: string;
  update?: boolean;
  metadata?: Record<string, unknown>;
}

function display(data: Record<string, unknown>, options: DisplayOptions = {}): void {
  flush();
  const { displayId, update = false, metadata = {} } = options;
  report({
    type: 'display',
    parent: parent(),
    data,
    metadata,
    update,
    ...(displayId === undefined ? {} : { displayId }),
  });
}

// ---- what cells find --------------------------------------------------------------------------------------------

const require = createRequire(join(process.cwd(), 'notebook.js'));

/** Where a cell's import leads: the lab module, a file beside the notebook, or a package. */
function locate(specifier: string): string {
  if (specifier === 'gpt-lab') return pathToFileURL(distFile('kernel', 'lab.js')).href;
  if (specifier.startsWith('.')) return pathToFileURL(resolve(specifier)).href;
  if (isAbsolute(specifier)) return pathToFileURL(specifier).href;
  return specifier;
}

async function importModule(specifier: string): Promise<unknown> {
  const where = locate(specifier);
  if (where !== specifier || /^(node|file|data|https?):/.test(specifier)) return import(where);
  try {
    const found = require.resolve(specifier);
    return (await import(isAbsolute(found) ? pathToFileURL(found).href : found)) as unknown;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Packages for ES modules alone have no entry for require: look them up as the import statement would.
    if (code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED' && code !== 'MODULE_NOT_FOUND') throw error;
    const from = pathToFileURL(join(process.cwd(), 'notebook.js')).href;
    const resolved = (import.meta as { resolve?: (name: string, from: string) => string }).resolve?.(
      specifier,
      from,
    );
    return import(resolved ?? specifier);
  }
}

let interruption = new AbortController();
/** Shared with the interrupt thread, which says what it means. */
const interruptState = new Int32Array(new SharedArrayBuffer(4));
Atomics.store(interruptState, 0, 1);
/** Resolves when the interrupt thread has broken the running code off. */
let brokenOff = Promise.withResolvers<undefined>();

const globals: Record<string, unknown> = {
  require,
  display: async (value: unknown) => display(await bundleOf(value)),
  __import: importModule,
};
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}
Object.defineProperty(globalThis, HOST, {
  value: {
    display,
    cwd: process.cwd(),
    ...(process.env['JPY_SESSION_NAME'] === undefined ? {} : { notebook: process.env['JPY_SESSION_NAME'] }),
    interruptSignal: () => interruption.signal,
  },
});

/** A value's representations: what it chooses for itself, and its text. */
async function bundleOf(value: unknown): Promise<Record<string, unknown>> {
  const chooses = (value as { [DISPLAY]?: () => unknown } | null | undefined)?.[DISPLAY];
  const plain = (): string => inspect(value, { depth: 4, maxArrayLength: 200, breakLength: 100 });
  if (typeof chooses !== 'function') return { 'text/plain': plain() };
  const bundle = (await chooses.call(value)) as Record<string, unknown>;
  return { 'text/plain': plain(), ...bundle };
}

// ---- evaluation -------------------------------------------------------------------------------------------------

const session = new Session();
session.connect();

type EvaluateReply = Runtime.EvaluateReturnType;

function evaluate(expression: string): Promise<EvaluateReply> {
  return new Promise((done, fail) => {
    const parameters = { expression, replMode: true, awaitPromise: true, userGesture: false };
    session.post(
      'Runtime.evaluate',
      parameters as Runtime.EvaluateParameterType,
      (error: Error | null, reply) => {
        if (error) fail(error);
        else done(reply);
      },
    );
  });
}

/** The value behind the inspector's description of it. */
function valueOf(remote: Runtime.RemoteObject): unknown {
  if (remote.objectId === undefined) {
    return remote.unserializableValue === undefined
      ? remote.value
      : globalThis.eval(remote.unserializableValue);
  }
  let value: unknown;
  const holder = Symbol.for('gpt-lab.value');
  const parameters = {
    objectId: remote.objectId,
    functionDeclaration: `function () { globalThis[Symbol.for('gpt-lab.value')] = this; }`,
    silent: true,
  };
  session.post('Runtime.callFunctionOn', parameters, () => {
    const place = globalThis as Record<symbol, unknown>;
    value = place[holder];
    place[holder] = undefined;
  });
  session.post('Runtime.releaseObject', { objectId: remote.objectId });
  return value;
}

/** Source maps and texts of the cells run so far, by the name in stacks. */
const cells = new Map<string, { map: SourceMap; source: readonly string[] }>();

/** A stack with the cells' own lines, without the kernel's frames; and the line that failed, quoted. */
function describe(error: unknown): CellError {
  if (!(error instanceof Error)) {
    const text = inspect(error);
    return { ename: 'Error', evalue: text, traceback: [`Uncaught ${text}`] };
  }
  const frames: string[] = [];
  let quoted: string | undefined;
  for (const line of (error.stack ?? '').split('\n')) {
    if (!/^\s+at /.test(line)) continue;
    const place = /cell-(\d+)\.ts:(\d+):(\d+)/.exec(line);
    const cell = place && cells.get(`cell-${place[1] ?? ''}.ts`);
    if (place && cell) {
      const entry = cell.map.findEntry(Number(place[2]) - 1, Number(place[3]) - 1);
      const at = 'originalLine' in entry ? entry : { originalLine: Number(place[2]) - 1, originalColumn: 0 };
      const where = `In[${place[1] ?? ''}], line ${at.originalLine + 1}, column ${at.originalColumn + 1}`;
      const name = /at (?:async )?(\S+) \(/.exec(line)?.[1];
      frames.push(`    at ${name === undefined || name === '<anonymous>' ? where : `${name} (${where})`}`);
      quoted ??= `${where}\n  ${cell.source[at.originalLine] ?? ''}\n  ${' '.repeat(at.originalColumn)}^`;
    } else if (!/node:inspector|node:internal|dist\/kernel\/(runner|chunks)/.test(line)) {
      frames.push(line);
    }
  }
  const title = `${error.name}: ${error.message}`;
  const cause = error.cause instanceof Error ? [`Caused by ${error.cause.name}: ${error.cause.message}`] : [];
  return {
    ename: error.name,
    evalue: error.message,
    traceback: [...(quoted === undefined ? [] : [quoted, '']), title, ...frames, ...cause],
  };
}

class Interrupted extends Error {
  override readonly name = 'Interrupted';
}
const interrupted = (): Interrupted => new Interrupted('The cell was interrupted; variables are kept');

async function execute({ parent: request, code, map, source, count }: RunnerCommand): Promise<void> {
  latest = request;
  const name = `cell-${count}.ts`;
  cells.set(name, { map: new SourceMap(JSON.parse(map) as SourceMapPayload), source: source.split('\n') });
  interruption = new AbortController();
  const { signal } = interruption;
  const broken = new Promise<never>((_, fail) => {
    signal.addEventListener('abort', () => fail(interrupted()));
  });
  broken.catch(() => undefined);
  const done: { result?: Record<string, unknown>; error?: CellError } = {};
  try {
    const reply = await Promise.race([
      current.run(request, () => evaluate(`${code}\n//# sourceURL=${name}`)),
      broken,
    ]);
    if (reply.exceptionDetails) {
      const { exception } = reply.exceptionDetails;
      throw exception === undefined ? interrupted() : valueOf(exception);
    }
    const value = valueOf(reply.result);
    if (value !== undefined) done.result = await current.run(request, () => bundleOf(value));
  } catch (error) {
    done.error = describe(error);
  }
  if (Atomics.load(interruptState, 0) === 2) {
    // Code that was broken off ends with whatever the engine makes of it; nothing of it may reach the next cell.
    await brokenOff.promise;
    brokenOff = Promise.withResolvers();
    Atomics.store(interruptState, 0, 1);
    done.error = describe(interrupted());
  }
  flush();
  report({ type: 'done', parent: request, ...done });
}

// ---- life -------------------------------------------------------------------------------------------------------

capture('stdout');
capture('stderr');
const worker = new Worker(distFile('kernel', 'interrupt-worker.js'), {
  workerData: { descriptor: PIPE, shared: interruptState.buffer },
  stdout: false,
  stderr: false,
});
worker.unref();
worker.on('message', (message) => {
  if (message === 'terminated') brokenOff.resolve(undefined);
  else if (Atomics.compareExchange(interruptState, 0, 0, 1) !== 0) return;
  interruption.abort();
});
process.on('disconnect', () => process.exit(0));
process.on('SIGINT', () => interruption.abort());
for (const kind of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(kind, (error: unknown) => {
    process.stderr.write(`Uncaught (in a callback or promise)\n${describe(error).traceback.join('\n')}\n`);
  });
}
process.on('exit', flush);
process.on('message', (command: RunnerCommand) => void execute(command));
report({ type: 'ready' });
