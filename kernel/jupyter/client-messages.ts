/** What a client says and hears: cells with their options, and answers. */
import type { JupyterMessage } from './wire.ts';

/** The answer to an execute request. */
export interface ExecuteReply {
  readonly status: 'ok' | 'error';
  readonly execution_count: number;
  readonly ename?: string;
  readonly evalue?: string;
  readonly traceback?: string[];
  readonly user_expressions?: Record<string, unknown>;
}

/** A question of a cell to the user. */
export interface InputQuestion {
  readonly prompt: string;
  /** Whether the answer is to be hidden while it is typed. */
  readonly password: boolean;
}

/** What to do while a cell runs. */
export interface ExecuteOptions {
  readonly cellId?: string;
  /** Runs without output, count or history. */
  readonly silent?: boolean;
  /** Values to report when the cell has succeeded, by name. */
  readonly userExpressions?: Record<string, string>;
  /** Whether cells that are queued behind it are not run when it fails; default true. */
  readonly stopOnError?: boolean;
  /** Gets the cell's outputs. */
  readonly onMessage: (message: JupyterMessage) => void;
  /**
   * Asks the user; without it cells cannot ask. `signal` aborts when the answer is not needed any more. Undefined, when the
   * user does not want to answer, interrupts the cell.
   */
  readonly onInput?: (question: InputQuestion, signal: AbortSignal) => Promise<string | undefined>;
}

/** Completions; the range is in UTF-16 units of the code. */
export interface CompleteReply {
  readonly matches: string[];
  readonly cursor_start: number;
  readonly cursor_end: number;
  readonly metadata: Record<string, unknown>;
}

/** What is known of the thing at the cursor. */
export interface InspectReply {
  readonly found: boolean;
  readonly data: Record<string, unknown>;
}
