/** Our own Jupyter client: starts the kernel and speaks to it, for the extension and for the terminal. */
import { randomUUID } from 'node:crypto';
import { KernelChannels, type ChannelName } from './client-channels.ts';
import type {
  CompleteReply,
  ExecuteOptions,
  ExecuteReply,
  InputQuestion,
  InspectReply,
} from './client-messages.ts';
import { KernelProcess, newConnection, withConnectionFile, type KernelOptions } from './client-process.ts';
import { toCodePoints, toUtf16 } from './code-points.ts';
import type { Diagnostic, SignatureHelp } from './language/messages.ts';
import { compose, type JupyterMessage } from './wire.ts';

export type { JupyterMessage } from './wire.ts';

/** Longest wait for a new kernel to answer, ms. */
const START_DEADLINE = 30_000;
/** Time that a kernel has to end by itself, ms. */
const END_DEADLINE = 3_000;
/** Time after which a new kernel is asked again, ms. */
const RETRY = 250;

type Content = Record<string, unknown>;

interface Pending {
  readonly onMessage: (message: JupyterMessage) => void;
  readonly onInput: ExecuteOptions['onInput'];
  /** Aborts when the request is over. */
  readonly over: AbortController;
  readonly settle: () => void;
  readonly fail: (error: Error) => void;
  reply?: JupyterMessage;
  idle: boolean;
}

interface Request {
  readonly channel: ChannelName;
  readonly content: Content;
  readonly metadata?: Content;
  readonly onMessage?: (message: JupyterMessage) => void;
  readonly onInput?: ExecuteOptions['onInput'];
}

/** Starts a kernel and resolves when it answers. Throws an Error with its last words when it does not. */
export async function startKernel(options: KernelOptions): Promise<KernelClient> {
  const client = new KernelClient(options, await import('zeromq'));
  await client.open();
  return client;
}

/** A running kernel. */
export class KernelClient {
  /** Resolves when the kernel's process has ended without being asked to. */
  readonly died: Promise<{ reason: string }>;
  readonly #options: KernelOptions;
  readonly #zeromq: typeof import('zeromq');
  readonly #listeners = new Set<(message: JupyterMessage) => void>();
  readonly #pending = new Map<string, Pending>();
  readonly #session = randomUUID();
  #die: (death: { reason: string }) => void = () => undefined;
  #process: KernelProcess | undefined;
  /** Called when the kernel knows of our subscription. */
  #welcomed: () => void = () => undefined;
  #channels: KernelChannels | undefined;

  /** For `startKernel`. */
  constructor(options: KernelOptions, zeromq: typeof import('zeromq')) {
    this.#options = options;
    this.#zeromq = zeromq;
    this.died = new Promise((resolve) => (this.#die = resolve));
  }

  /** For `startKernel` and `restart`: a new process and new sockets. */
  async open(): Promise<void> {
    const connection = await newConnection();
    await withConnectionFile(connection, async (file) => {
      const kernel = new KernelProcess(file, this.#options);
      this.#process = kernel;
      void kernel.ended.then((reason) => {
        if (this.#process !== kernel) return;
        this.#process = undefined;
        this.#close(`The kernel has died: ${reason}`);
        this.#die({ reason });
      });
      this.#channels = new KernelChannels(this.#zeromq, connection, this.#session, {
        reply: (message) => this.#takeReply(message),
        output: (message) => this.#takeOutput(message),
        question: (message) => void this.#takeQuestion(message),
        broken: (error) => this.#close(`The connection to the kernel broke: ${String(error)}`),
      });
      await this.#answers(kernel);
    });
  }

  /** Runs code. Resolves after the reply and after all output. */
  async execute(code: string, options: ExecuteOptions): Promise<ExecuteReply> {
    const { cellId, silent = false, userExpressions = {}, stopOnError = true, onMessage, onInput } = options;
    const content = {
      code,
      silent,
      store_history: !silent,
      user_expressions: userExpressions,
      allow_stdin: onInput !== undefined,
      stop_on_error: stopOnError,
    };
    const metadata = cellId === undefined ? {} : { cellId };
    const request: Request = { channel: 'shell', content, metadata, onMessage, onInput };
    return (await this.#request('execute_request', request)) as unknown as ExecuteReply;
  }

  /**
   * Completions at `cursor`, counted in UTF-16 units. `earlier`: the notebook's cells before, run or not. The metadata names
   * the module of those that would have to be imported.
   */
  async complete(code: string, cursor: number, earlier: readonly string[] = []): Promise<CompleteReply> {
    const content = await this.#ask('complete_request', position(code, cursor, earlier));
    const { matches, cursor_start, cursor_end, metadata } = content as unknown as CompleteReply;
    return {
      matches,
      cursor_start: toUtf16(code, cursor_start),
      cursor_end: toUtf16(code, cursor_end),
      metadata,
    };
  }

  /** Type and documentation of what is at `cursor`; as `complete`. */
  async inspect(code: string, cursor: number, earlier: readonly string[] = []): Promise<InspectReply> {
    const content = await this.#ask('inspect_request', position(code, cursor, earlier));
    return content as unknown as InspectReply;
  }

  /** The call that `cursor` is in, with its parameters; as `complete`. */
  async signatures(
    code: string,
    cursor: number,
    earlier: readonly string[] = [],
  ): Promise<SignatureHelp | null> {
    const { help } = await this.#ask('signatures_request', position(code, cursor, earlier));
    return help as SignatureHelp | null;
  }

  /** What TypeScript finds wrong in each of a notebook's cells. */
  async diagnose(cells: readonly string[]): Promise<readonly (readonly Diagnostic[])[]> {
    const content = await this.#ask('diagnostics_request', { channel: 'shell', content: { cells } });
    return content['cells'] as Diagnostic[][];
  }

  /** Stops the running cell; its variables are kept. */
  async interrupt(): Promise<void> {
    await this.#request('interrupt_request', { channel: 'control', content: {} });
  }

  /** Sends any request and resolves to the content of its reply. */
  async request(channel: 'shell' | 'control', type: string, content: Content): Promise<Content> {
    return this.#request(type, { channel, content });
  }

  /** A fresh kernel; variables are gone, requests that wait reject. */
  async restart(): Promise<void> {
    await this.shutdown();
    await this.open();
  }

  /** Ends the kernel; resolves when its process is gone. */
  async shutdown(): Promise<void> {
    const kernel = this.#process;
    this.#process = undefined;
    if (kernel) {
      const ask = this.#request('shutdown_request', { channel: 'control', content: { restart: false } });
      ask.catch(() => undefined); // it may be gone before it has answered
      const timer = setTimeout(() => kernel.kill(), END_DEADLINE);
      await kernel.ended;
      clearTimeout(timer);
    }
    this.#close('The kernel was shut down');
  }

  /** Calls `listener` with outputs that belong to no request that waits; returns what ends that. */
  onMessage(listener: (message: JupyterMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Asks until an answer and its idle have come: outputs reach us only once the kernel knows of our subscription. */
  async #answers(kernel: KernelProcess): Promise<void> {
    let retry: NodeJS.Timeout | undefined;
    let deadline: NodeJS.Timeout | undefined;
    const answered = new Promise<void>((resolve, reject) => {
      const ask = (): void => {
        const asked = this.#request('kernel_info_request', { channel: 'control', content: {} });
        asked.then(
          () => resolve(),
          () => undefined, // the kernel's end is told below
        );
      };
      const fail = (how: string): void => reject(new Error(`The kernel ${how}\n${kernel.lastWords}`));
      void kernel.ended.then(() => fail('ended at its start'));
      retry = setInterval(ask, RETRY);
      deadline = setTimeout(() => fail(`did not answer within ${START_DEADLINE / 1000} s`), START_DEADLINE);
      this.#welcomed = ask;
      ask();
    });
    try {
      await answered;
    } catch (error) {
      await this.shutdown();
      throw error;
    } finally {
      clearInterval(retry);
      clearTimeout(deadline);
      this.#welcomed = () => undefined;
    }
  }

  /** As `#request`; what the kernel could not answer rejects. */
  async #ask(type: string, request: Request): Promise<Content> {
    const content = await this.#request(type, request);
    if (content['status'] !== 'error') return content;
    throw new Error(`The kernel could not answer: ${String(content['evalue'])}`);
  }

  #request(type: string, { channel, content, metadata, onMessage, onInput }: Request): Promise<Content> {
    const channels = this.#channels;
    if (!channels) return Promise.reject(new Error('The kernel is not running: restart it'));
    const message = compose(this.#session, type, content, {}, metadata);
    const id = message.header.msg_id;
    const over = new AbortController();
    return new Promise<Content>((resolve, fail) => {
      const pending: Pending = {
        onMessage: onMessage ?? (() => undefined),
        onInput,
        over,
        fail,
        idle: false,
        settle: () => {
          if (!pending.reply || !pending.idle) return;
          this.#pending.delete(id);
          resolve(pending.reply.content);
        },
      };
      this.#pending.set(id, pending);
      channels.send(channel, message);
    }).finally(() => over.abort());
  }

  #takeReply(message: JupyterMessage): void {
    const pending = this.#pendingOf(message);
    if (!pending) return;
    pending.reply = message;
    pending.settle();
  }

  #takeOutput(message: JupyterMessage): void {
    const pending = this.#pendingOf(message);
    const { msg_type: type } = message.header;
    if (type === 'status') {
      if (!pending || message.content['execution_state'] !== 'idle') return;
      pending.idle = true;
      pending.settle();
      return;
    }
    if (type === 'iopub_welcome') {
      this.#welcomed();
      return;
    }
    if (pending) pending.onMessage(message);
    else for (const listener of [...this.#listeners]) listener(message);
  }

  async #takeQuestion(message: JupyterMessage): Promise<void> {
    const pending = this.#pendingOf(message);
    if (!pending?.onInput || message.header.msg_type !== 'input_request') return;
    const { signal } = pending.over;
    let value: string | undefined;
    try {
      value = await pending.onInput(message.content as unknown as InputQuestion, signal);
    } catch (error) {
      pending.fail(error instanceof Error ? error : new Error(String(error)));
    }
    if (value !== undefined)
      this.#channels?.send('stdin', compose(this.#session, 'input_reply', { value }, message.header));
    else if (!signal.aborted) await this.interrupt();
  }

  #pendingOf({ parent_header }: JupyterMessage): Pending | undefined {
    return this.#pending.get(String(parent_header['msg_id']));
  }

  #close(reason: string): void {
    this.#channels?.close();
    this.#channels = undefined;
    for (const { fail } of this.#pending.values()) fail(new Error(reason));
    this.#pending.clear();
  }
}

function position(code: string, cursor: number, earlier: readonly string[]): Request {
  return {
    channel: 'shell',
    content: { code, cursor_pos: toCodePoints(code, cursor), detail_level: 0 },
    metadata: { 'gpt-lab': { earlierCells: earlier, imports: true } },
  };
}
