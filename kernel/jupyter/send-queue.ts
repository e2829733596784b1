/** Sends on one socket, in order: ZeroMQ refuses a send while another one waits. */
import type * as zeromq from 'zeromq';

type Frames = readonly (string | Buffer)[];

/** Messages waiting beyond this number are congestion. */
const CONGESTED = 1000;

/** The messages that wait for one socket. */
export class SendQueue {
  readonly #socket: zeromq.Writable;
  readonly #failed: (error: unknown) => void;
  #waiting: Frames[] = [];
  #sending: Promise<void> | undefined;

  /** `failed` is told of messages that could not be sent. */
  constructor(socket: zeromq.Writable, failed: (error: unknown) => void) {
    this.#socket = socket;
    this.#failed = failed;
  }

  send(frames: Frames): void {
    this.#waiting.push(frames);
    this.#sending ??= this.#drain();
  }

  /** Undefined while few messages wait; else resolves when none does. */
  congestion(): Promise<void> | undefined {
    return this.#waiting.length > CONGESTED ? this.#sending : undefined;
  }

  /** Resolves when everything has been handed to ZeroMQ. */
  async drained(): Promise<void> {
    await this.#sending;
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      for (const frames of batch) {
        try {
          await this.#socket.send(frames as (string | Buffer)[]);
        } catch (error) {
          this.#failed(error);
        }
      }
    }
    this.#sending = undefined;
  }
}
