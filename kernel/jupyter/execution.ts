/** Execute requests: one after the other, each with its outputs, its count and its place in the history. */
import { z } from 'zod';
import { CellOutput } from './cell-output.ts';
import { CellRunner, type CellActivity } from './cell-runner.ts';
import { compile } from './compile.ts';
import type { History } from './history.ts';
import { InputRequests } from './input-requests.ts';
import { INTERRUPTED, type Code, type ExpressionResult, type Outcome } from './runner/messages.ts';
import type { Content, KernelSockets, Request } from './sockets.ts';
import type { Header } from './wire.ts';

const executeRequest = z.object({
  code: z.string(),
  silent: z.boolean().default(false),
  store_history: z.boolean().default(true),
  user_expressions: z.record(z.string(), z.string()).default({}),
  stop_on_error: z.boolean().default(true),
});
type ExecuteRequest = z.infer<typeof executeRequest>;

/** So many requests are remembered: outputs may come long after a cell has ended. */
const REMEMBERED = 1000;

/** What the rest of the kernel wants to know. */
export interface ExecutionListeners {
  /** A cell that can be parsed is about to run. */
  executing(code: string): void;
  /** Variables are lost. */
  forgotten(): void;
  log(message: string): void;
}

/** The cells of one kernel. */
export class Execution {
  readonly #sockets: KernelSockets;
  readonly #history: History;
  readonly #listeners: ExecutionListeners;
  readonly #runner: CellRunner;
  readonly #output: CellOutput;
  readonly #input: InputRequests;
  readonly #remembered = new Map<string, { header: Header; silent: boolean }>();
  #count = 0;
  #running: Request | undefined;
  /** One that was interrupted before its code had come to the runner. */
  #stopped: Request | undefined;
  /** Requests so far; those up to `abortUntil` were queued behind a cell that failed, and are not run. */
  #arrivals = 0;
  #abortUntil = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(sockets: KernelSockets, history: History, listeners: ExecutionListeners) {
    this.#sockets = sockets;
    this.#history = history;
    this.#listeners = listeners;
    this.#output = new CellOutput((request, name, text) => this.#publish(request, 'stream', { name, text }));
    this.#runner = new CellRunner({
      take: (activity) => this.#take(activity),
      congestion: () => sockets.congestion(),
      died: () => listeners.forgotten(),
      log: (message) => listeners.log(message),
    });
    this.#input = new InputRequests({
      ask: (request, question) => sockets.askForInput(request, question),
      answer: (answer) => this.#runner.answer(answer),
    });
  }

  /** The request whose cell runs now. */
  get running(): Request | undefined {
    return this.#running;
  }

  /** Starts the process of the cells, so that the first one need not wait for it. */
  start(): void {
    this.#runner.start();
  }

  /** Stops the running cell; variables are kept, what is queued behind it is not run. */
  interrupt(): void {
    if (!this.#runner.interrupt()) this.#stopped = this.#running;
  }

  /** Members of a value as it is now. */
  members(expression: string): Promise<readonly string[]> {
    return this.#runner.members(expression);
  }

  /** Ends the process of the cells. */
  end(): void {
    this.#runner.end();
  }

  /** The answer to a question of the running cell. */
  takeInput(message: Parameters<InputRequests['take']>[0]): void {
    this.#input.take(message);
  }

  /** Calls `turn` when it is the request's turn, with a function that runs it. */
  queue(request: Request, turn: (execute: () => Promise<Content>) => Promise<void>): void {
    const arrival = ++this.#arrivals;
    this.#last = this.#last.then(() =>
      turn(() => (arrival <= this.#abortUntil ? Promise.resolve(this.#aborted()) : this.#execute(request))),
    );
  }

  async #execute(request: Request): Promise<Content> {
    const content = executeRequest.parse(request.content);
    const { code, silent, store_history: stores, stop_on_error: stops } = content;
    if (stores && !silent) this.#history.add(++this.#count, code);
    this.#remember(request, silent);
    const id = request.header.msg_id;
    this.#publish(id, 'execute_input', { code, execution_count: this.#count });
    this.#running = request;
    const { error, expressions = {} } = await this.#run(request, content).finally(() => {
      this.#running = undefined;
      this.#output.flush();
      this.#output.end(id);
      this.#input.end(request);
    });
    if (!error)
      return {
        status: 'ok',
        execution_count: this.#count,
        payload: [],
        user_expressions: expressions,
      };
    if (stops) this.#abortUntil = this.#arrivals;
    const { ename, evalue, traceback } = error;
    this.#publish(id, 'error', { ename, evalue, traceback });
    return { status: 'error', execution_count: this.#count, ename, evalue, traceback };
  }

  async #run(request: Request, content: ExecuteRequest): Promise<Outcome> {
    const { code, user_expressions, store_history } = content;
    if (code.trim() === '') return {};
    const compiled = await compile(code, this.#count);
    if ('error' in compiled) return compiled;
    const expressions: Record<string, Code> = {};
    const mistaken: Record<string, ExpressionResult> = {};
    for (const [name, source] of Object.entries(user_expressions)) {
      const expression = await compile(source, this.#count);
      if ('code' in expression) expressions[name] = expression.code;
      else mistaken[name] = { status: 'error', ...expression.error };
    }
    if (this.#stopped === request) return { error: INTERRUPTED };
    this.#listeners.executing(code);
    const id = request.header.msg_id;
    const cell = { request: id, count: this.#count, expressions, ...compiled.code };
    const { result: data, error, expressions: evaluated } = await this.#runner.execute(cell);
    this.#output.flush();
    if (data) {
      const text = data['text/plain'];
      if (store_history && typeof text === 'string') this.#history.addOutput(text);
      this.#publish(id, 'execute_result', { execution_count: this.#count, data, metadata: {} });
    }
    return error ? { error } : { expressions: { ...evaluated, ...mistaken } };
  }

  #take(activity: CellActivity): void {
    const { request } = activity;
    if (activity.type === 'stream') {
      this.#output.write(request, activity.name, activity.text);
      return;
    }
    // Nothing may overtake what was printed before.
    this.#output.flush();
    switch (activity.type) {
      case 'display': {
        const { data, metadata, displayId, update } = activity;
        const transient = displayId === undefined ? {} : { display_id: displayId };
        this.#publish(request, update ? 'update_display_data' : 'display_data', {
          data,
          metadata,
          transient,
        });
        break;
      }
      case 'clear':
        this.#publish(request, 'clear_output', { wait: activity.wait });
        break;
      case 'input': {
        const { id, question: prompt, password } = activity;
        const running = this.#running?.header.msg_id === request ? this.#running : undefined;
        this.#input.ask(running, { id, prompt, password });
      }
    }
  }

  /** Publishes an output of a cell; a silent one has none. */
  #publish(id: string, type: string, content: Content): void {
    const request = this.#remembered.get(id);
    if (!request?.silent) this.#sockets.publish(type, content, request?.header);
  }

  #remember({ header }: Request, silent: boolean): void {
    this.#remembered.set(header.msg_id, { header, silent });
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size <= REMEMBERED || oldest === undefined) return;
    this.#remembered.delete(oldest);
    this.#output.forget(oldest);
  }

  #aborted(): Content {
    const evalue = 'An earlier cell failed, so this one was not run';
    return { status: 'error', execution_count: this.#count, ename: 'Aborted', evalue, traceback: [] };
  }
}
