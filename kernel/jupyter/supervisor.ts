/**
 * The Jupyter kernel: `kernel.js CONNECTION_FILE`. This process owns the sockets and answers at once; user code runs in
 * a child (`runner.ts`), which may spin, crash or be replaced without the kernel going away.
 */
import { readFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import * as zeromq from 'zeromq';
import { packageVersion } from '../home.ts';
import { CellRunner } from './cell-runner.ts';
import { completeness } from './completeness.ts';
import { CellSyntaxError, transformCell } from './transform.ts';
import type { CellError } from './runner-messages.ts';
import { compose, connectionInfo, decode, encode, JUPYTER_PROTOCOL, type ReceivedMessage } from './wire.ts';

type Content = Record<string, unknown>;
type Parent = Readonly<Record<string, unknown>>;

function log(message: string): void {
  process.stderr.write(`[gpt-lab kernel] ${message}\n`);
}

const file = process.argv[2];
if (file === undefined) {
  log('usage: kernel.js CONNECTION_FILE (front ends start it: `gpt-lab kernel install`)');
  process.exit(2);
}
const connection = connectionInfo.parse(JSON.parse(readFileSync(file, 'utf8')));
const { key, ip } = connection;
const session = randomUUID();
const options = { linger: 500 };
const shell = new zeromq.Router(options);
const control = new zeromq.Router(options);
const stdin = new zeromq.Router(options);
const iopub = new zeromq.XPublisher({ ...options, sendHighWaterMark: 100_000 });
const heartbeat = new zeromq.Reply(options);

// ---- sending: one at a time per socket, in order ----------------------------------------------------------------

const queues = new Map<zeromq.Writable, Promise<void>>();

function send(socket: zeromq.Router | zeromq.XPublisher, frames: (string | Buffer)[]): Promise<void> {
  const next = (queues.get(socket) ?? Promise.resolve())
    .then(() => socket.send(frames))
    .catch((error: unknown) => log(`A message could not be sent: ${String(error)}`));
  queues.set(socket, next);
  return next;
}

function publish(type: string, content: Content, parent: Parent, metadata: Content = {}): void {
  const message = compose(session, type, content, parent, metadata);
  void send(iopub, [`kernel.${session}.${type}`, ...encode(key, message)]);
}

function reply(socket: zeromq.Router, to: ReceivedMessage, content: Content): void {
  const type = to.header.msg_type.replace(/_request$/, '_reply');
  void send(socket, [...to.identities, ...encode(key, compose(session, type, content, to.header))]);
}

// ---- execution --------------------------------------------------------------------------------------------------

let count = 0;
const history: { line: number; code: string }[] = [];
/** Headers of the requests that outputs may still name as their parent, newest last. */
const parents = new Map<string, Parent>();
const REMEMBERED = 1000;

const runner = new CellRunner({
  stream: (request, name, text) => publish('stream', { name, text }, parentOf(request)),
  display: (request, { data, metadata, displayId, update }) => {
    const transient = displayId === undefined ? {} : { display_id: displayId };
    publish(
      update ? 'update_display_data' : 'display_data',
      { data, metadata, transient },
      parentOf(request),
    );
  },
  log,
});

function parentOf(request: string): Parent {
  return parents.get(request) ?? {};
}

function failed(error: CellError, parent: Parent, silent: boolean): Content {
  const { ename, evalue, traceback } = error;
  if (!silent) publish('error', { ename, evalue, traceback }, parent);
  return { status: 'error', execution_count: count, ename, evalue, traceback };
}

/** Shell requests so far; those up to `abortUntil` were queued behind a cell that failed, and are not run. */
let arrivals = 0;
let abortUntil = 0;

async function execute(message: ReceivedMessage): Promise<Content> {
  const {
    code,
    silent = false,
    store_history: stores = !silent,
    stop_on_error: stops = true,
  } = message.content as {
    code: string;
    silent?: boolean;
    store_history?: boolean;
    stop_on_error?: boolean;
  };
  const parent = message.header;
  if (!silent && stores) {
    count++;
    history.push({ line: count, code });
  }
  if (!silent) publish('execute_input', { code, execution_count: count }, parent);
  if (code.trim() === '') return { status: 'ok', execution_count: count, payload: [], user_expressions: {} };
  parents.set(parent.msg_id, parent);
  const [oldest] = parents.keys();
  if (parents.size > REMEMBERED && oldest !== undefined) parents.delete(oldest);
  let error: CellError | undefined;
  try {
    const { code: javascript, map } = transformCell(code);
    const outcome = await runner.execute({
      parent: parent.msg_id,
      code: javascript,
      map,
      source: code,
      count,
    });
    error = outcome.error;
    if (outcome.result && !silent) {
      publish('execute_result', { execution_count: count, data: outcome.result, metadata: {} }, parent);
    }
  } catch (thrown) {
    if (!(thrown instanceof CellSyntaxError)) throw thrown;
    error = syntaxError(thrown, code);
  }
  if (!error) return { status: 'ok', execution_count: count, payload: [], user_expressions: {} };
  if (stops) abortUntil = arrivals;
  return failed(error, parent, silent);
}

function syntaxError({ message, line, column }: CellSyntaxError, code: string): CellError {
  const quoted = `In[${count}], line ${line}, column ${column}\n  ${code.split('\n')[line - 1] ?? ''}\n  ${' '.repeat(column - 1)}^`;
  return { ename: 'SyntaxError', evalue: message, traceback: [quoted, '', `SyntaxError: ${message}`] };
}

// ---- requests ---------------------------------------------------------------------------------------------------

const kernelInfo: Content = {
  status: 'ok',
  protocol_version: JUPYTER_PROTOCOL,
  implementation: 'gpt-lab',
  implementation_version: packageVersion(),
  banner: `GPT Lab ${packageVersion()}: TypeScript on Node ${process.version}`,
  help_links: [],
  supported_features: [],
  language_info: {
    name: 'typescript',
    version: '6.0',
    mimetype: 'text/typescript',
    file_extension: '.ts',
    codemirror_mode: { name: 'javascript', typescript: true },
    pygments_lexer: 'typescript',
  },
};

async function answer(message: ReceivedMessage): Promise<Content | undefined> {
  const { content } = message;
  switch (message.header.msg_type) {
    case 'kernel_info_request':
      return kernelInfo;
    case 'execute_request':
      return execute(message);
    case 'is_complete_request':
      return { ...completeness(String(content['code'])) };
    // Until the kernel has a language service it knows of nothing, and says so rather than leaving clients waiting.
    case 'complete_request': {
      const cursor = Number(content['cursor_pos'] ?? 0);
      return { status: 'ok', matches: [], cursor_start: cursor, cursor_end: cursor, metadata: {} };
    }
    case 'inspect_request':
      return { status: 'ok', found: false, data: {}, metadata: {} };
    case 'history_request':
      return {
        status: 'ok',
        history: history.slice(-Number(content['n'] ?? 1000)).map(({ line, code }) => [0, line, code]),
      };
    case 'comm_info_request':
      return { status: 'ok', comms: {} };
    case 'interrupt_request':
      runner.interrupt();
      return { status: 'ok' };
    case 'shutdown_request':
      return { status: 'ok', restart: content['restart'] === true };
    default:
      log(`Ignored a ${message.header.msg_type}`);
      return undefined;
  }
}

async function handle(socket: zeromq.Router, message: ReceivedMessage, arrival: number): Promise<void> {
  const { header } = message;
  publish('status', { execution_state: 'busy' }, header);
  try {
    const aborted = header.msg_type === 'execute_request' && arrival <= abortUntil;
    const content = aborted
      ? {
          status: 'error',
          ename: 'Aborted',
          evalue: 'An earlier cell failed',
          traceback: [],
          execution_count: count,
        }
      : await answer(message);
    if (content) reply(socket, message, content);
  } catch (error) {
    log(`${header.msg_type} failed: ${String((error as Error).stack ?? error)}`);
    const text = error instanceof Error ? error.message : String(error);
    reply(socket, message, { status: 'error', ename: 'KernelError', evalue: text, traceback: [text] });
  }
  publish('status', { execution_state: 'idle' }, header);
  if (header.msg_type === 'shutdown_request') await shutdown();
}

function read(frames: Buffer[]): ReceivedMessage | undefined {
  try {
    return decode(key, frames);
  } catch (error) {
    log(`Dropped ${(error as Error).message}`);
    return undefined;
  }
}

/** Shell requests are answered one after the other; control requests at once. */
async function serve(socket: zeromq.Router, ordered: boolean): Promise<void> {
  let last: Promise<void> = Promise.resolve();
  for await (const frames of socket) {
    const message = read(frames);
    if (!message) continue;
    const arrival = ++arrivals;
    if (ordered) last = last.then(() => handle(socket, message, arrival));
    else void handle(socket, message, arrival);
  }
}

async function welcome(): Promise<void> {
  for await (const [subscription] of iopub) {
    if (subscription?.[0] !== 1) continue;
    publish('iopub_welcome', { subscription: subscription.subarray(1).toString() }, {});
  }
}

async function echo(): Promise<void> {
  for await (const frames of heartbeat) await heartbeat.send(frames);
}

async function shutdown(): Promise<void> {
  runner.end();
  await Promise.all(queues.values());
  for (const socket of [shell, control, stdin, iopub, heartbeat]) socket.close();
  process.exit(0);
}

await shell.bind(`tcp://${ip}:${connection.shell_port}`);
await control.bind(`tcp://${ip}:${connection.control_port}`);
await stdin.bind(`tcp://${ip}:${connection.stdin_port}`);
await iopub.bind(`tcp://${ip}:${connection.iopub_port}`);
await heartbeat.bind(`tcp://${ip}:${connection.hb_port}`);
void serve(shell, true);
void serve(control, false);
void welcome();
void echo();
publish('status', { execution_state: 'starting' }, {});
runner.start();

// The front end may be killed without a word: its child notices by its own parent changing.
const parentPid = process.ppid;
setInterval(() => {
  if (process.ppid !== parentPid) void shutdown();
}, 500).unref();
process.on('SIGINT', () => runner.interrupt());
process.on('SIGTERM', () => void shutdown());
