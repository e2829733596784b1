/** Our own Jupyter client: starts the kernel and speaks to it, for the extension and for the terminal. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { distFile } from '../home.ts';
import { toCodePoints, toUtf16 } from './code-points.ts';
import { compose, decode, encode, type ConnectionInfo, type JupyterMessage } from './wire.ts';

export type { JupyterMessage } from './wire.ts';

type Zeromq = typeof import('zeromq');
type DealerSocket = InstanceType<Zeromq['Dealer']>;

/** Longest wait for a new kernel to answer, ms. */
const START_DEADLINE = 30_000;
/** Time that a kernel has to end by itself, ms. */
const END_DEADLINE = 3_000;

/** The answer to an execute request. */
export interface ExecuteReply {
  readonly status: 'ok' | 'error';
  readonly execution_count: number;
  readonly ename?: string;
  readonly evalue?: string;
  readonly traceback?: string[];
}

/** Completions; the range is in UTF-16 units of the code. */
export interface CompleteReply {
  readonly matches: string[];
  readonly cursor_start: number;
  readonly cursor_end: number;
  readonly metadata: Record<string, unknown>;
}

/** What is known of the thing at the cursor. */
export interface InspectReply {
  readonly found: boolean;
  readonly data: Record<string, unknown>;
}

interface Pending {
  readonly onMessage: (message: JupyterMessage) => void;
  readonly settle: () => void;
  readonly fail: (error: Error) => void;
  reply?: JupyterMessage;
  idle: boolean;
}

/** How to start a kernel. */
export interface KernelOptions {
  /** Folder that relative paths in cells start from. */
  readonly cwd: string;
  readonly env?: Record<string, string>;
  /** Node to run it on; default this process's own. */
  readonly execPath?: string;
}

/** Starts a kernel and resolves when it answers. Throws an Error with its last words when it does not. */
export async function startKernel(options: KernelOptions): Promise<KernelClient> {
  const client = new KernelClient(options, await import('zeromq'));
  await client.open();
  return client;
}

/** Ports that were free a moment ago, all of them held at once so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

/** A running kernel. */
export class KernelClient {
  /** Resolves when the kernel's process has ended without being asked to. */
  readonly died: Promise<{ reason: string }>;
  readonly #options: KernelOptions;
  readonly #zeromq: Zeromq;
  readonly #listeners = new Set<(message: JupyterMessage) => void>();
  readonly #pending = new Map<string, Pending>();
  readonly #queues = new Map<DealerSocket, Promise<void>>();
  readonly #session = randomUUID();
  #die: (death: { reason: string }) => void = () => undefined;
  #child: ChildProcess | undefined;
  #shell: DealerSocket | undefined;
  #control: DealerSocket | undefined;
  #closeSockets: () => void = () => undefined;
  #key = '';

  /** For `startKernel`. */
  constructor(options: KernelOptions, zeromq: Zeromq) {
    this.#options = options;
    this.#zeromq = zeromq;
    this.died = new Promise((resolve) => (this.#die = resolve));
  }

  /** For `startKernel` and `restart`: a new process and new sockets. */
  async open(): Promise<void> {
    const [shell = 0, iopub = 0, stdin = 0, control = 0, hb = 0] = await freePorts(5);
    this.#key = randomBytes(32).toString('hex');
    const connection: ConnectionInfo = {
      transport: 'tcp',
      ip: '127.0.0.1',
      shell_port: shell,
      iopub_port: iopub,
      stdin_port: stdin,
      control_port: control,
      hb_port: hb,
      key: this.#key,
      signature_scheme: 'hmac-sha256',
    };
    const folder = await mkdtemp(join(tmpdir(), 'gpt-lab-kernel-'));
    try {
      const file = join(folder, 'connection.json');
      await writeFile(file, JSON.stringify(connection), { mode: 0o600 });
      const words = this.#spawn(file);
      this.#connect(connection);
      await this.#answers(words);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Runs code; `onMessage` gets its outputs. Resolves after the reply and after all output. */
  async execute(
    code: string,
    options: { cellId?: string; onMessage: (message: JupyterMessage) => void },
  ): Promise<ExecuteReply> {
    const content = {
      code,
      silent: false,
      store_history: true,
      user_expressions: {},
      allow_stdin: false,
      stop_on_error: true,
    };
    const metadata = options.cellId === undefined ? {} : { cellId: options.cellId };
    const reply = await this.#request(this.#shell, 'execute_request', content, options.onMessage, metadata);
    return reply as unknown as ExecuteReply;
  }

  /** Completions at `cursor`, counted in UTF-16 units. */
  async complete(code: string, cursor: number): Promise<CompleteReply> {
    const content = await this.#request(this.#shell, 'complete_request', {
      code,
      cursor_pos: toCodePoints(code, cursor),
    });
    const { matches, cursor_start, cursor_end, metadata } = content as unknown as CompleteReply;
    return {
      matches,
      cursor_start: toUtf16(code, cursor_start),
      cursor_end: toUtf16(code, cursor_end),
      metadata,
    };
  }

  /** Type and documentation of what is at `cursor`, counted in UTF-16 units. */
  async inspect(code: string, cursor: number): Promise<InspectReply> {
    const content = { code, cursor_pos: toCodePoints(code, cursor), detail_level: 0 };
    return (await this.#request(this.#shell, 'inspect_request', content)) as unknown as InspectReply;
  }

  /** Stops the running cell; its variables are kept. */
  async interrupt(): Promise<void> {
    await this.#request(this.#control, 'interrupt_request', {});
  }

  /** A fresh kernel; variables are gone, requests that wait reject. */
  async restart(): Promise<void> {
    await this.shutdown();
    await this.open();
  }

  /** Ends the kernel; resolves when its process is gone. */
  async shutdown(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      const ask = this.#request(this.#control, 'shutdown_request', { restart: false });
      ask.catch(() => undefined);
      const timer = setTimeout(() => child.kill('SIGKILL'), END_DEADLINE);
      await ended;
      clearTimeout(timer);
    }
    this.#close('The kernel was shut down');
  }

  /** Calls `listener` with outputs that belong to no request that waits; returns what ends that. */
  onMessage(listener: (message: JupyterMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #spawn(file: string): () => string {
    const child = spawn(this.#options.execPath ?? process.execPath, [distFile('kernel', 'kernel.js'), file], {
      cwd: this.#options.cwd,
      env: {
        ...process.env,
        ...this.#options.env,
        ELECTRON_RUN_AS_NODE: '1',
        // As Jupyter's clients say that the kernel is to end with them.
        JPY_PARENT_PID: String(process.pid),
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    let words = '';
    child.stderr.on('data', (data: Buffer) => {
      words = (words + data.toString()).slice(-4096);
    });
    const gone = (how: string): void => {
      if (this.#child !== child) return;
      this.#child = undefined;
      const reason = `${how}${words === '' ? '' : `\n${words.trim()}`}`;
      this.#close(`The kernel has died: ${reason}`);
      this.#die({ reason });
    };
    child.on('error', (error) => gone(`It could not be started: ${error.message}`));
    child.on('exit', (code, signal) =>
      gone(signal === null ? `exit code ${String(code)}` : `signal ${signal}`),
    );
    return () => words;
  }

  #connect({ shell_port, control_port, iopub_port }: ConnectionInfo): void {
    const { Dealer, Subscriber } = this.#zeromq;
    const shell = new Dealer({ linger: 0 });
    const control = new Dealer({ linger: 0 });
    const iopub = new Subscriber({ linger: 0, receiveHighWaterMark: 100_000 });
    iopub.subscribe();
    iopub.connect(`tcp://127.0.0.1:${iopub_port}`);
    shell.connect(`tcp://127.0.0.1:${shell_port}`);
    control.connect(`tcp://127.0.0.1:${control_port}`);
    this.#shell = shell;
    this.#control = control;
    this.#closeSockets = () => {
      for (const socket of [shell, control, iopub]) socket.close();
    };
    const key = this.#key;
    const listen = async (
      socket: AsyncIterable<Buffer[]>,
      take: (message: JupyterMessage) => void,
    ): Promise<void> => {
      for await (const frames of socket) take(decode(key, frames));
    };
    const broken = (error: unknown): void =>
      this.#close(`The connection to the kernel broke: ${String(error)}`);
    const reply = (message: JupyterMessage): void => this.#takeReply(message);
    listen(shell, reply).catch(broken);
    listen(control, reply).catch(broken);
    listen(iopub, (message) => this.#takeOutput(message)).catch(broken);
  }

  /** Asks until an answer and an output have come: subscriptions take a moment. */
  async #answers(words: () => string): Promise<void> {
    const asked = async (): Promise<true> => {
      await this.#request(this.#control, 'kernel_info_request', {});
      return true;
    };
    const deadline = Date.now() + START_DEADLINE;
    while (this.#child) {
      let timer: NodeJS.Timeout | undefined;
      const waited = new Promise<false>((resolve) => (timer = setTimeout(resolve, 250, false)));
      const answered = await Promise.race([asked(), waited]).finally(() => clearTimeout(timer));
      if (answered) return;
      if (Date.now() > deadline) {
        await this.shutdown();
        throw new Error(`The kernel did not answer within ${START_DEADLINE / 1000} s\n${words()}`);
      }
    }
    throw new Error(`The kernel ended at its start\n${words()}`);
  }

  #request(
    socket: DealerSocket | undefined,
    type: string,
    content: Record<string, unknown>,
    onMessage: (message: JupyterMessage) => void = () => undefined,
    metadata: Record<string, unknown> = {},
  ): Promise<Record<string, unknown>> {
    if (!socket) return Promise.reject(new Error('The kernel is not running: restart it'));
    const message = compose(this.#session, type, content, {}, metadata);
    return new Promise((resolve, fail) => {
      const pending: Pending = {
        onMessage,
        fail,
        idle: false,
        settle: () => {
          if (!pending.reply || !pending.idle) return;
          this.#pending.delete(message.header.msg_id);
          resolve(pending.reply.content);
        },
      };
      this.#pending.set(message.header.msg_id, pending);
      const sent = (this.#queues.get(socket) ?? Promise.resolve()).then(() =>
        socket.send(encode(this.#key, message)),
      );
      this.#queues.set(socket, sent.catch(fail));
    });
  }

  #takeReply(message: JupyterMessage): void {
    const pending = this.#pending.get(String(message.parent_header['msg_id']));
    if (!pending) return;
    pending.reply = message;
    pending.settle();
  }

  #takeOutput(message: JupyterMessage): void {
    const pending = this.#pending.get(String(message.parent_header['msg_id']));
    const { msg_type: type } = message.header;
    if (type === 'status') {
      if (!pending || message.content['execution_state'] !== 'idle') return;
      pending.idle = true;
      pending.settle();
      return;
    }
    if (type === 'iopub_welcome') return;
    if (pending) pending.onMessage(message);
    else for (const listener of [...this.#listeners]) listener(message);
  }

  #close(reason: string): void {
    this.#closeSockets();
    this.#closeSockets = () => undefined;
    this.#shell = this.#control = undefined;
    this.#queues.clear();
    for (const { fail } of this.#pending.values()) fail(new Error(reason));
    this.#pending.clear();
  }
}
