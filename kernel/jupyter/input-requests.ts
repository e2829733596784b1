/** Questions of cells to the user: one at a time, as front ends can show only one. */
import type { Request } from './sockets.ts';
import type { ReceivedMessage } from './wire.ts';

/** A question of the cell that `request` has started. */
export interface Question {
  readonly id: number;
  readonly prompt: string;
  readonly password: boolean;
}

/** How questions and answers travel. */
export interface InputTransport {
  /** Gives the id of the message, which answers name as their parent. */
  ask(request: Request, question: Omit<Question, 'id'>): string;
  answer(answer: { id: number; value?: string; refusal?: string }): void;
}

/** The questions of one kernel. */
export class InputRequests {
  readonly #transport: InputTransport;
  #waiting: { request: Request; question: Question }[] = [];
  /** Message that asked the first of them. */
  #asked = '';

  constructor(transport: InputTransport) {
    this.#transport = transport;
  }

  /** Asks, when the questions before have their answer. `request` is undefined when its cell has ended. */
  ask(request: Request | undefined, question: Question): void {
    const { id } = question;
    if (!request) {
      const refusal = 'prompt() can ask only while its cell runs: await it';
      this.#transport.answer({ id, refusal });
    } else if (request.content['allow_stdin'] !== true) {
      const refusal = `prompt() cannot ask "${question.prompt}": this front end takes no input (allow_stdin is false)`;
      this.#transport.answer({ id, refusal });
    } else {
      this.#waiting.push({ request, question });
      if (this.#waiting.length === 1) this.#askFirst();
    }
  }

  /** Takes an `input_reply`. One that nobody waits for belongs to a cell that was interrupted. */
  take({ parent_header, content }: ReceivedMessage): void {
    // Jupyter's own Python client does not say what it answers.
    const { msg_id: asked = this.#asked } = parent_header;
    const first = asked === this.#asked ? this.#waiting.shift() : undefined;
    if (!first) return;
    const { value } = content;
    this.#transport.answer({ id: first.question.id, value: typeof value === 'string' ? value : '' });
    this.#askFirst();
  }

  /** A cell has ended: its questions need no answer any more. */
  end(request: Request): void {
    this.#waiting = this.#waiting.filter((each) => each.request !== request);
  }

  #askFirst(): void {
    const [first] = this.#waiting;
    if (!first) return;
    const { prompt, password } = first.question;
    this.#asked = this.#transport.ask(first.request, { prompt, password });
  }
}
