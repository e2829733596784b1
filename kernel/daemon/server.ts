/** The daemon's sockets: ROUTER for requests, PUB for events, both CURVE; only the key of the connection file gets in. */
import * as zeromq from 'zeromq';
import { methods, request, type Method, type Response } from '../protocol/daemon.ts';
import { DaemonError } from './daemon-error.ts';
import type { Handlers } from './requests.ts';
import { z85Decode } from './z85.ts';

/** Largest request, bytes; a peer that sends more is disconnected. */
const MAXIMUM_MESSAGE = 16 * 2 ** 20;

/** Least time between two log lines about refused connections, ms. */
const REFUSAL_INTERVAL = 10_000;

/** The keys of one daemon, Z85. */
export interface Keys {
  readonly server: { publicKey: string; secretKey: string };
  readonly client: { publicKey: string; secretKey: string };
}

/** Fresh keys for a daemon and its clients. */
export function newKeys(): Keys {
  return { server: zeromq.curveKeyPair(), client: zeromq.curveKeyPair() };
}

/** The open sockets. */
export class Server {
  readonly #router: zeromq.Router;
  readonly #publisher: zeromq.Publisher;
  readonly #authenticator = new zeromq.Reply({ linger: 0 });
  readonly #log: (message: string) => void;
  readonly #requests = new Map<string, AbortController>();
  #answering: Promise<void> = Promise.resolve();
  #publishing: Promise<void> = Promise.resolve();
  #refusals = 0;
  #refusalLoggedAt = 0;
  /** Time of the last request or answer, ms since the epoch. */
  lastRequestAt = Date.now();

  constructor(keys: Keys, log: (message: string) => void) {
    this.#log = log;
    const options = {
      curveServer: true,
      curveSecretKey: keys.server.secretKey,
      zapDomain: 'gpt-lab',
      linger: 500,
    };
    this.#router = new zeromq.Router({
      ...options,
      maxMessageSize: MAXIMUM_MESSAGE,
      sendHighWaterMark: 10_000,
      // Tells when a peer has gone; one that reads too slowly loses answers and holds up nobody.
      mandatory: true,
      sendTimeout: 0,
    });
    this.#publisher = new zeromq.Publisher({ ...options, sendHighWaterMark: 100_000 });
    void this.#authenticate(z85Decode(keys.client.publicKey));
  }

  /** Binds loopback ports that the system chooses. */
  async bind(): Promise<void> {
    await this.#authenticator.bind('inproc://zeromq.zap.01');
    await this.#router.bind('tcp://127.0.0.1:0');
    await this.#publisher.bind('tcp://127.0.0.1:0');
  }

  /** Requests that wait for their answer. */
  get answering(): number {
    return this.#requests.size;
  }

  get endpoints(): { requests: string; events: string } {
    return { requests: this.#router.lastEndpoint ?? '', events: this.#publisher.lastEndpoint ?? '' };
  }

  /** ZAP (ZeroMQ RFC 27): lets the holder of the client key in, and nobody else. */
  async #authenticate(allowed: Buffer): Promise<void> {
    for await (const [version, id, , address, , mechanism, credentials] of this.#authenticator) {
      const known = String(mechanism) === 'CURVE' && credentials?.equals(allowed) === true;
      if (!known) this.#logRefusal(String(address));
      const verdict = known ? ['200', 'OK', 'user'] : ['400', 'The key is not that of daemon.json', ''];
      await this.#authenticator.send([version ?? '1.0', id ?? '', ...verdict, '']);
    }
  }

  /** A client that keeps trying with a wrong key must not fill the log. */
  #logRefusal(address: string): void {
    this.#refusals++;
    if (Date.now() - this.#refusalLoggedAt < REFUSAL_INTERVAL) return;
    const count = `${this.#refusals} connection${this.#refusals === 1 ? '' : 's'}`;
    this.#log(`Refused ${count}, the last from ${address}: it has not the key of daemon.json`);
    this.#refusalLoggedAt = Date.now();
    this.#refusals = 0;
  }

  /** Answers requests until the sockets are closed. */
  async serve(handlers: Handlers): Promise<void> {
    for await (const frames of this.#router) {
      this.lastRequestAt = Date.now();
      const [peer, body] = frames;
      if (peer === undefined || body === undefined || frames.length !== 2) {
        this.#log(`Dropped a message of ${frames.length} frames: a request has 2`);
        continue;
      }
      void this.#answer(peer, body, handlers);
    }
  }

  async #answer(peer: Buffer, body: Buffer, handlers: Handlers): Promise<void> {
    let value: unknown;
    try {
      value = JSON.parse(body.toString());
    } catch {
      this.#log(`Dropped a request that is not JSON (${body.length} bytes)`);
      return;
    }
    const parsed = request.safeParse(value);
    if (!parsed.success) {
      const numbered = request.pick({ id: true }).safeParse(value);
      if (!numbered.success) {
        this.#log('Dropped a request without a number to answer it by');
        return;
      }
      const message = 'A request has an id, a method (a text) and params';
      this.#reply(peer, { id: numbered.data.id, error: { code: 'invalid-request', message } });
      return;
    }
    const { id, method } = parsed.data;
    const key = `${peer.toString('hex')} ${id}`;
    const controller = new AbortController();
    try {
      if (!Object.hasOwn(methods, method)) {
        const known = Object.keys(methods).join(', ');
        throw new DaemonError(
          'unknown-method',
          `There is no method ${JSON.stringify(method)}: allowed are ${known}`,
        );
      }
      const params = methods[method as Method].params.safeParse(parsed.data.params);
      if (!params.success) {
        const problems = params.error.issues.map(
          ({ path, message }) => `${path.join('.') || 'params'}: ${message}`,
        );
        throw new DaemonError('invalid-parameters', `${method}: ${problems.join('; ')}`, problems);
      }
      if (method === 'cancel') {
        const { request: cancelled } = params.data as { request: number };
        this.#requests.get(`${peer.toString('hex')} ${cancelled}`)?.abort();
        this.#reply(peer, { id, result: {} });
        return;
      }
      this.#requests.set(key, controller);
      const handler = handlers[method as keyof Handlers] as (
        params: unknown,
        context: { progress(value: unknown): void; signal: AbortSignal },
      ) => unknown;
      const progress = (partial: unknown): void => this.#reply(peer, { id, progress: partial });
      this.#reply(peer, { id, result: await handler(params.data, { progress, signal: controller.signal }) });
    } catch (error) {
      const refused = error instanceof DaemonError;
      if (!refused) this.#log(`${method} failed: ${(error as Error).stack ?? String(error)}`);
      const code = refused ? error.code : 'failed';
      const problems = refused && error.problems.length > 0 ? { problems: [...error.problems] } : {};
      this.#reply(peer, { id, error: { code, message: (error as Error).message, ...problems } });
    } finally {
      this.#requests.delete(key);
      this.lastRequestAt = Date.now();
    }
  }

  /** One send at a time per socket; what a peer that has gone still waits for is given up. */
  #reply(peer: Buffer, message: Response): void {
    this.#answering = this.#answering
      .then(() => this.#router.send([peer, JSON.stringify(message)]))
      .catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === 'EHOSTUNREACH') this.#abandon(peer);
        else this.#log(`An answer could not be sent: ${String(error)}`);
      });
  }

  #abandon(peer: Buffer): void {
    const prefix = `${peer.toString('hex')} `;
    for (const [key, controller] of this.#requests) if (key.startsWith(prefix)) controller.abort();
  }

  /** Publishes messages under a topic, in order. */
  publish(topic: string, messages: readonly unknown[]): void {
    this.#publishing = this.#publishing
      .then(async () => {
        for (const message of messages) await this.#publisher.send([topic, JSON.stringify(message)]);
      })
      .catch((error: unknown) => this.#log(`An event could not be published: ${String(error)}`));
  }

  /** Closes the sockets after what is queued has been sent. */
  async close(): Promise<void> {
    await Promise.all([this.#answering, this.#publishing]);
    this.#router.close();
    this.#publisher.close();
    this.#authenticator.close();
  }
}
