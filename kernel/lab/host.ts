/** Where a cell's output goes: what the cell runner provides, or the terminal when a script imports 'gpt-lab'. */

/** Representations of one thing by MIME type, the richest of which a front end shows. */
export type MimeBundle = Record<string, unknown>;

/** How a bundle is shown. */
export interface DisplayOptions {
  /** Names the output, so that it can be replaced later. */
  displayId?: string;
  /** Replaces the outputs that were shown under `displayId` instead of adding one. */
  update?: boolean;
  /** Metadata by MIME type, as in the Jupyter protocol. */
  metadata?: Record<string, unknown>;
}

/** What the cell runner provides. */
export interface Host {
  display(data: MimeBundle, options?: DisplayOptions): void;
  /** Removes the cell's outputs: now, or (`wait`) when the next one comes. */
  clear(options?: { wait?: boolean }): void;
  /** Absolute folder that relative paths start from: the notebook's. */
  cwd: string;
  /** The notebook's path, where it is known. */
  notebook?: string;
  /** Aborts when the user interrupts the cell that runs now. */
  interruptSignal(): AbortSignal;
}

const HOST = Symbol.for('gpt-lab.host');

/** Objects with this method choose how they are shown as a cell's result. */
export const DISPLAY: unique symbol = Symbol.for('Jupyter.display');

/** The cell runner, or a plain terminal. Asked for each time, since the runner may set it after this module loads. */
export function host(): Host {
  return (globalThis as { [HOST]?: Host })[HOST] ?? terminal;
}

const terminal: Host = {
  display(data, options) {
    if (options?.update) return;
    const text = data['text/plain'] ?? data['text/markdown'] ?? data['text/html'];
    if (text !== undefined)
      process.stdout.write(`${typeof text === 'string' ? text : JSON.stringify(text)}\n`);
  },
  // What a terminal shows is not taken back.
  clear: () => undefined,
  get cwd() {
    return process.cwd();
  },
  interruptSignal: () => new AbortController().signal,
};
