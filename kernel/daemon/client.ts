/** The daemon's client: requests, and events that neither repeat nor skip. Used by the editor, cells and the CLI. */
import { homeDirectory } from '../home.ts';
import {
  methods,
  PROTOCOL_VERSION,
  response,
  RUNS_TOPIC,
  runsMessage,
  runTopic,
  type ConnectionFile,
  type Method,
  type Params,
  type Response,
  type Result,
  type RunsMessage,
} from '../protocol/daemon.ts';
import { runEvent, type RunEvent } from '../protocol/events.ts';
import { readConnectionFile } from './connection.ts';
import { DaemonError } from './daemon-error.ts';
import { startDaemon } from './start.ts';

type Zeromq = typeof import('zeromq');
type DealerSocket = InstanceType<Zeromq['Dealer']>;
type SubscriberSocket = InstanceType<Zeromq['Subscriber']>;

interface Pending {
  readonly method: Method;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress?: ((progress: unknown) => void) | undefined;
}

/** Events of a followed run that wait for their reader, at most; beyond it they are read from the store again. */
const LIVE_LIMIT = 10_000;
/** How often a daemon that goes away while it is being connected to is looked for anew. */
const CONNECT_ATTEMPTS = 3;

/** Time without news of a followed run after which the store is asked, in case a published event was missed, ms. */
const CATCH_UP_INTERVAL = 1000;

/**
 * Connects to the daemon of `home` (default `GPT_LAB_HOME` or the platform's data folder), starting it when none
 * runs unless `start` is false. Throws a DaemonError when it cannot be reached or speaks another protocol.
 */
export async function connectDaemon(options: { home?: string; start?: boolean } = {}): Promise<DaemonClient> {
  const home = options.home ?? homeDirectory();
  for (let attempt = 1; ; attempt++) {
    let file = readConnectionFile(home);
    if (file === undefined) {
      if (options.start === false) throw new DaemonError('not-found', `No training daemon runs for ${home}`);
      file = await startDaemon(home);
    }
    const client = new DaemonClient(await import('zeromq'), file);
    try {
      await client.request('hello', { protocol: PROTOCOL_VERSION }, { signal: AbortSignal.timeout(10_000) });
      return client;
    } catch (error) {
      client.close();
      if (error instanceof DaemonError && error.code !== 'failed') throw error;
      // It may have ended between the reading of its file and the first request.
      const gone = readConnectionFile(home)?.pid !== file.pid;
      if (gone && attempt < CONNECT_ATTEMPTS) continue;
      throw new DaemonError(
        'failed',
        `The training daemon (process ${file.pid}) does not answer at ${file.requests}: end it with \`kill ${file.pid}\` and try again`,
      );
    }
  }
}

/** One connection to the daemon. */
export class DaemonClient {
  /** Resolves when the daemon has gone away or `close` was called. */
  readonly closed: Promise<void>;
  readonly #dealer: DealerSocket;
  readonly #subscriber: SubscriberSocket;
  readonly #pending = new Map<number, Pending>();
  readonly #topics = new Map<string, Set<(message: unknown) => void>>();
  /** What wakes the calls of `follow` that wait. */
  readonly #followers = new Set<() => void>();
  #nextId = 1;
  #isClosed = false;
  #sending: Promise<void> = Promise.resolve();
  #resolveClosed: () => void = () => undefined;

  /** For `connectDaemon`. */
  constructor(zeromq: Zeromq, file: ConnectionFile) {
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    const options = {
      curveServerKey: file.serverPublicKey,
      curvePublicKey: file.clientPublicKey,
      curveSecretKey: file.clientSecretKey,
      linger: 0,
    };
    this.#dealer = new zeromq.Dealer({ ...options, heartbeatInterval: 5_000, heartbeatTimeout: 30_000 });
    this.#subscriber = new zeromq.Subscriber({ ...options, receiveHighWaterMark: 100_000 });
    this.#dealer.events.on('disconnect', () => this.close());
    this.#dealer.connect(file.requests);
    this.#subscriber.connect(file.events);
    this.#receive().catch(() => this.close());
    this.#listen().catch(() => this.close());
  }

  /** Sends a request and resolves to its result. Rejects with a DaemonError, or with the signal's reason. */
  request<M extends Method>(
    method: M,
    params: Params<M>,
    options: { onProgress?: (progress: unknown) => void; signal?: AbortSignal } = {},
  ): Promise<Result<M>> {
    const { onProgress, signal } = options;
    return new Promise((resolve, reject) => {
      if (this.#isClosed) {
        reject(lost());
        return;
      }
      if (signal?.aborted) {
        reject(signal.reason as Error);
        return;
      }
      const id = this.#nextId++;
      const cancel = (): void => {
        if (!this.#pending.delete(id)) return;
        this.#send({ id: this.#nextId++, method: 'cancel', params: { request: id } });
        reject(signal?.reason as Error);
      };
      signal?.addEventListener('abort', cancel, { once: true });
      this.#pending.set(id, {
        method,
        resolve: (value) => {
          signal?.removeEventListener('abort', cancel);
          resolve(value as Result<M>);
        },
        reject: (error) => {
          signal?.removeEventListener('abort', cancel);
          reject(error);
        },
        onProgress,
      });
      this.#send({ id, method, params });
    });
  }

  /**
   * Batches of a run's events from number `from` (default 1): stored ones first, then live, no gap, no duplicate;
   * returns after the `end` event of the run's last start, or when a run has ended whose end could not be stored.
   * Throws a DaemonError when the daemon goes away.
   */
  async *follow(
    run: string,
    options: { from?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<RunEvent[], void, undefined> {
    const { signal } = options;
    let next = options.from ?? 1;
    let live: RunEvent[] = [];
    /** Whether the store may hold events that have not come live. */
    let behind = true;
    let wake: () => void = () => undefined;
    const stopListening = this.#subscribe(runTopic(run), (message) => {
      const parsed = runEvent.safeParse(message);
      if (parsed.success) live.push(parsed.data);
      if (live.length > LIVE_LIMIT) live = [];
      wake();
    });
    const wakeUp = (): void => wake();
    signal?.addEventListener('abort', wakeUp);
    this.#followers.add(wakeUp);
    try {
      while (!signal?.aborted) {
        if (this.#isClosed) throw lost();
        live = live.filter((event) => event.sequence >= next);
        let batch: RunEvent[] = [];
        if (live[0]?.sequence === next && live.at(-1)?.sequence === next + live.length - 1) {
          batch = live;
          live = [];
        } else if (behind || live.length > 0) {
          batch = (await this.request('run.events', { run, from: next })).events;
          behind = batch.length > 0;
          if (!behind && (await this.#hasEnded(run, next))) return;
        }
        const last = batch.at(-1);
        if (last !== undefined) {
          next = last.sequence + 1;
          yield batch;
          if (last.event === 'end' && (await this.#hasEnded(run, next))) return;
        } else if (live.length === 0) {
          let timer: NodeJS.Timeout | undefined;
          await new Promise<void>((resolve) => {
            wake = resolve;
            timer = setTimeout(() => {
              behind = true;
              resolve();
            }, CATCH_UP_INTERVAL);
          });
          clearTimeout(timer);
        }
      }
    } finally {
      stopListening();
      signal?.removeEventListener('abort', wakeUp);
      this.#followers.delete(wakeUp);
    }
  }

  /** Whether a run has ended and has no event from number `next` on. */
  async #hasEnded(run: string, next: number): Promise<boolean> {
    const { state, lastSequence } = await this.request('run.show', { run });
    return state !== 'running' && lastSequence < next;
  }

  /** Calls `listener` whenever a run's summary changes or a run is removed; returns what ends that. */
  onRuns(listener: (message: RunsMessage) => void): () => void {
    return this.#subscribe(RUNS_TOPIC, (message) => {
      const parsed = runsMessage.safeParse(message);
      if (parsed.success) listener(parsed.data);
    });
  }

  /** Ends the connection; pending requests reject. The daemon and its runs go on. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#dealer.close();
    this.#subscriber.close();
    for (const { reject } of this.#pending.values()) reject(lost());
    this.#pending.clear();
    for (const wake of this.#followers) wake();
    this.#resolveClosed();
  }

  #subscribe(topic: string, listener: (message: unknown) => void): () => void {
    const listeners = this.#topics.get(topic) ?? new Set();
    if (listeners.size === 0 && !this.#isClosed) this.#subscriber.subscribe(topic);
    this.#topics.set(topic, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#isClosed) return;
      this.#topics.delete(topic);
      this.#subscriber.unsubscribe(topic);
    };
  }

  /** One send at a time: a socket refuses a second while the first waits. */
  #send(message: unknown): void {
    this.#sending = this.#sending
      .then(() => (this.#isClosed ? undefined : this.#dealer.send(JSON.stringify(message))))
      .catch(() => this.close());
  }

  async #receive(): Promise<void> {
    for await (const [frame] of this.#dealer) {
      const parsed = response.safeParse(JSON.parse(String(frame)));
      if (parsed.success) this.#settle(parsed.data);
    }
    this.close();
  }

  #settle(message: Response): void {
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    if ('progress' in message) return pending.onProgress?.(message.progress);
    this.#pending.delete(message.id);
    if ('error' in message) {
      const { code, message: text, problems } = message.error;
      pending.reject(new DaemonError(code, text, problems));
      return;
    }
    const result = methods[pending.method].result.safeParse(message.result);
    if (result.success) pending.resolve(result.data);
    else
      pending.reject(
        new DaemonError('protocol-mismatch', `An answer to ${pending.method} was not understood`),
      );
  }

  async #listen(): Promise<void> {
    for await (const [topic, body] of this.#subscriber) {
      const listeners = this.#topics.get(String(topic));
      if (listeners === undefined) continue;
      const message: unknown = JSON.parse(String(body));
      for (const listener of [...listeners]) listener(message);
    }
  }
}

function lost(): DaemonError {
  return new DaemonError(
    'failed',
    'The connection to the training daemon was lost: `gpt-lab daemon status` tells whether it runs, daemon.log why it ended',
  );
}
