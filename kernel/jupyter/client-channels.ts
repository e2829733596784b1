/** A client's ends of a kernel's sockets. */
import { SendQueue } from './send-queue.ts';
import { decode, encode, type ConnectionInfo, type JupyterMessage } from './wire.ts';

type Zeromq = typeof import('zeromq');

/** What is done with what comes in. */
export interface ChannelListeners {
  /** An answer, from shell or control. */
  reply(message: JupyterMessage): void;
  /** An output or a status. */
  output(message: JupyterMessage): void;
  /** A question to the user. */
  question(message: JupyterMessage): void;
  broken(error: unknown): void;
}

export type ChannelName = 'shell' | 'control' | 'stdin';

/** How long to wait between attempts to connect, ms: the kernel is about to open its sockets. */
const RECONNECT = 10;

/** Connections to one kernel. */
export class KernelChannels {
  readonly #key: string;
  readonly #queues: Record<ChannelName, SendQueue>;
  readonly #close: () => void;

  constructor(zeromq: Zeromq, connection: ConnectionInfo, session: string, listeners: ChannelListeners) {
    this.#key = connection.key;
    const { ip, shell_port, control_port, stdin_port, iopub_port } = connection;
    const options = { linger: 0, reconnectInterval: RECONNECT };
    // Questions come to the identity that has asked for the cell.
    const dealer = { ...options, routingId: session };
    const sockets = {
      shell: new zeromq.Dealer(dealer),
      control: new zeromq.Dealer(dealer),
      stdin: new zeromq.Dealer(dealer),
    };
    const iopub = new zeromq.Subscriber({ ...options, receiveHighWaterMark: 100_000 });
    iopub.subscribe();
    iopub.connect(`tcp://${ip}:${iopub_port}`);
    sockets.shell.connect(`tcp://${ip}:${shell_port}`);
    sockets.control.connect(`tcp://${ip}:${control_port}`);
    sockets.stdin.connect(`tcp://${ip}:${stdin_port}`);
    const queue = (name: ChannelName): SendQueue =>
      new SendQueue(sockets[name], (error) => listeners.broken(error));
    this.#queues = { shell: queue('shell'), control: queue('control'), stdin: queue('stdin') };
    this.#close = () => {
      for (const socket of [...Object.values(sockets), iopub]) socket.close();
    };
    const listen = async (
      socket: AsyncIterable<Buffer[]>,
      take: (message: JupyterMessage) => void,
    ): Promise<void> => {
      for await (const frames of socket) take(decode(this.#key, frames));
    };
    const broken = (error: unknown): void => listeners.broken(error);
    listen(sockets.shell, (message) => listeners.reply(message)).catch(broken);
    listen(sockets.control, (message) => listeners.reply(message)).catch(broken);
    listen(sockets.stdin, (message) => listeners.question(message)).catch(broken);
    listen(iopub, (message) => listeners.output(message)).catch(broken);
  }

  send(channel: ChannelName, message: JupyterMessage): void {
    this.#queues[channel].send(encode(this.#key, message));
  }

  close(): void {
    this.#close();
  }
}
