/** A sampled text and what it cost. */
import { inspect } from 'node:util';
import { DISPLAY } from './host.ts';
import type { MimeBundle } from './host.ts';

/** What `run.generate()` gives. The text itself has appeared while it came; as a result only its speed is shown. */
export class Generation {
  readonly prompt: string;
  /** The continuation, without the prompt. */
  readonly text: string;
  /** Tokens generated. */
  readonly tokens: number;
  /** Wall time of the sampling, s. */
  readonly seconds: number;

  /** @internal */
  constructor(prompt: string, result: { text: string; tokens: number; seconds: number }) {
    this.prompt = prompt;
    this.text = result.text;
    this.tokens = result.tokens;
    this.seconds = result.seconds;
  }

  /** Prompt and continuation. */
  toString(): string {
    return this.prompt + this.text;
  }

  [DISPLAY](): MimeBundle {
    return { 'text/plain': this.#cost() };
  }

  /** @internal */
  [inspect.custom](): string {
    return `${inspect(this.toString())} (${this.#cost()})`;
  }

  #cost(): string {
    const rate = this.seconds > 0 ? ` (${Math.round(this.tokens / this.seconds)} tokens/s)` : '';
    return `${this.tokens} tokens in ${this.seconds.toFixed(1)} s${rate}`;
  }
}
