/** The kernel's five sockets: requests come in over `shell` and `control`, outputs go out over `iopub`. */
import { randomUUID } from 'node:crypto';
import * as zeromq from 'zeromq';
import { SendQueue } from './send-queue.ts';
import { compose, decode, encode, type ConnectionInfo, type Header, type ReceivedMessage } from './wire.ts';

/** Time that messages have to leave when the kernel ends, ms. */
const LINGER = 500;

export type Content = Record<string, unknown>;

/** A message and the channel that it came over. */
export interface Request extends ReceivedMessage {
  readonly channel: 'shell' | 'control';
}

/** What is done with what comes in. */
export interface Listeners {
  request(request: Request): void;
  /** The user's answer to a question. */
  inputReply(message: ReceivedMessage): void;
  log(message: string): void;
}

/** The sockets of a running kernel. */
export class KernelSockets {
  /** Names this kernel: clients notice by it that a kernel has been restarted. */
  readonly session = randomUUID();
  readonly #key: string;
  readonly #connection: ConnectionInfo;
  readonly #listeners: Listeners;
  readonly #shell = new zeromq.Router({ linger: LINGER });
  readonly #control = new zeromq.Router({ linger: LINGER });
  readonly #stdin = new zeromq.Router({ linger: LINGER });
  readonly #iopub = new zeromq.XPublisher({ linger: LINGER, sendHighWaterMark: 100_000 });
  readonly #heartbeat = new zeromq.Reply({ linger: 0 });
  readonly #queues: Readonly<Record<'shell' | 'control' | 'stdin' | 'iopub', SendQueue>>;

  constructor(connection: ConnectionInfo, listeners: Listeners) {
    this.#connection = connection;
    this.#key = connection.key;
    this.#listeners = listeners;
    // Every client that subscribes is welcomed, not only the first.
    this.#iopub.verbosity = 'allSubs';
    const queue = (socket: zeromq.Writable): SendQueue =>
      new SendQueue(socket, (error) => listeners.log(`A message could not be sent: ${String(error)}`));
    this.#queues = {
      shell: queue(this.#shell),
      control: queue(this.#control),
      stdin: queue(this.#stdin),
      iopub: queue(this.#iopub),
    };
  }

  /** Binds the sockets and begins to listen. Throws when a port is taken. */
  async open(): Promise<void> {
    const { transport, ip, shell_port, control_port, stdin_port, iopub_port, hb_port } = this.#connection;
    const address = (port: number): string =>
      transport === 'tcp' ? `tcp://${ip}:${port}` : `ipc://${ip}-${port}`;
    await this.#shell.bind(address(shell_port));
    await this.#control.bind(address(control_port));
    await this.#stdin.bind(address(stdin_port));
    await this.#iopub.bind(address(iopub_port));
    await this.#heartbeat.bind(address(hb_port));
    this.#listen(this.#shell, (message) => this.#listeners.request({ ...message, channel: 'shell' }));
    this.#listen(this.#control, (message) => this.#listeners.request({ ...message, channel: 'control' }));
    this.#listen(this.#stdin, (message) => {
      if (message.header.msg_type === 'input_reply') this.#listeners.inputReply(message);
    });
    void this.#welcome();
    void this.#echo();
  }

  /** Sends an output to every client; `parent` is the header of the request that it belongs to. */
  publish(type: string, content: Content, parent: Header | undefined): void {
    const message = compose(this.session, type, content, parent);
    this.#queues.iopub.send([`kernel.${this.session}.${type}`, ...encode(this.#key, message)]);
  }

  /** Answers a request where it came from. */
  reply(request: Request, content: Content): void {
    const type = request.header.msg_type.replace(/_request$/, '_reply');
    const message = compose(this.session, type, content, request.header);
    this.#queues[request.channel].send([...request.identities, ...encode(this.#key, message)]);
  }

  /** Asks the client of a request for a line of text; gives the id of the message. */
  askForInput(request: Request, question: { prompt: string; password: boolean }): string {
    const message = compose(this.session, 'input_request', { ...question }, request.header);
    this.#queues.stdin.send([...request.identities, ...encode(this.#key, message)]);
    return message.header.msg_id;
  }

  /** Undefined while clients are sent all that there is; else resolves when they have been. */
  congestion(): Promise<void> | undefined {
    return this.#queues.iopub.congestion();
  }

  /** Closes the sockets after everything has been sent. */
  async close(): Promise<void> {
    await Promise.all(Object.values(this.#queues).map((queue) => queue.drained()));
    const sockets = [this.#shell, this.#control, this.#stdin, this.#iopub, this.#heartbeat];
    for (const socket of sockets) socket.close();
  }

  #listen(socket: zeromq.Router, take: (message: ReceivedMessage) => void): void {
    const receive = async (): Promise<void> => {
      for await (const frames of socket) {
        const message = this.#read(frames);
        if (message) take(message);
      }
    };
    void receive();
  }

  #read(frames: Buffer[]): ReceivedMessage | undefined {
    try {
      return decode(this.#key, frames);
    } catch (error) {
      this.#listeners.log(`Dropped ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  /** A client that has just subscribed learns that outputs reach it from now on. */
  async #welcome(): Promise<void> {
    for await (const [subscription] of this.#iopub) {
      if (subscription?.[0] !== 1) continue;
      this.publish('iopub_welcome', { subscription: subscription.subarray(1).toString() }, undefined);
    }
  }

  async #echo(): Promise<void> {
    for await (const frames of this.#heartbeat) await this.#heartbeat.send(frames);
  }
}
