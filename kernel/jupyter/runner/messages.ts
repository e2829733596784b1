/**
 * Messages between the kernel's supervisor and its cell runner. Commands come over the child's IPC channel; reports go
 * back as lines of JSON through a pipe of their own, written synchronously: a cell that spins has shown all that it
 * printed, and one that prints without end waits for its reader instead of filling the memory.
 */

/** File descriptors of the runner beyond standard output and the IPC channel. */
export const DESCRIPTORS = {
  /** Each line is the number of a cell to interrupt; the end means that the supervisor is gone. */
  interrupts: 4,
  reports: 5,
} as const;

/** A piece of TypeScript made ready to run. */
export interface Code {
  /** JavaScript in REPL mode. */
  readonly code: string;
  /** Source map of `code`, JSON; without one, `code` is the source, one line further down. */
  readonly map?: string;
  /** TypeScript, for quoting lines in errors. */
  readonly source: string;
}

/** A cell to run. */
export interface Execute extends Code {
  readonly type: 'execute';
  /** Id of the execute request: outputs carry it as their parent. */
  readonly request: string;
  /** Counts executions, so that an interrupt can name one. */
  readonly number: number;
  /** The cell's number as the user sees it. */
  readonly count: number;
  /** Expressions to evaluate when the cell has succeeded, by name. */
  readonly expressions: Readonly<Record<string, Code>>;
}

/** Supervisor to runner. */
export type RunnerCommand =
  | Execute
  /** What the user has typed, or why there is nobody to ask. */
  | { readonly type: 'input'; readonly id: number; readonly value?: string; readonly refusal?: string }
  /** Asks for the members that the value of an expression has. */
  | { readonly type: 'members'; readonly id: number; readonly expression: string };

/** An error as Jupyter shows it. */
export interface CellError {
  readonly ename: string;
  readonly evalue: string;
  readonly traceback: readonly string[];
}

const INTERRUPTION = 'The cell was interrupted; variables are kept';

/** The error of a cell that was interrupted. */
export const INTERRUPTED: CellError = {
  ename: 'Interrupted',
  evalue: INTERRUPTION,
  traceback: [`Interrupted: ${INTERRUPTION}`],
};

/** Representations by MIME type. */
export type MimeBundle = Record<string, unknown>;

/** What a user expression gave. */
export type ExpressionResult =
  | { readonly status: 'ok'; readonly data: MimeBundle; readonly metadata: Record<string, unknown> }
  | ({ readonly status: 'error' } & CellError);

/** How a cell ended. */
export interface Outcome {
  /** Representations of its value, if it had one. */
  readonly result?: MimeBundle;
  readonly error?: CellError;
  readonly expressions?: Readonly<Record<string, ExpressionResult>>;
}

/** Runner to supervisor. `request` is the execute request that caused it. */
export type RunnerReport =
  | { readonly type: 'stream'; readonly request: string; readonly name: StreamName; readonly text: string }
  | {
      readonly type: 'display';
      readonly request: string;
      readonly data: MimeBundle;
      readonly metadata: Record<string, unknown>;
      readonly displayId?: string;
      /** Replaces what was shown under `displayId` instead of adding to it. */
      readonly update: boolean;
    }
  | { readonly type: 'clear'; readonly request: string; readonly wait: boolean }
  | {
      readonly type: 'input';
      readonly request: string;
      readonly id: number;
      readonly question: string;
      readonly password: boolean;
    }
  | { readonly type: 'members'; readonly id: number; readonly names: readonly string[] }
  /** The cell of that number has ended. */
  | { readonly type: 'done'; readonly number: number; readonly outcome: Outcome };

export type StreamName = 'stdout' | 'stderr';

/** A report as it is written. */
export function encodeReport(report: RunnerReport): string {
  return `${JSON.stringify(report)}\n`;
}

/** Cuts what comes through the pipe into reports. */
export class ReportReader {
  #rest: Buffer[] = [];

  /** The reports that `chunk` completes. */
  take(chunk: Buffer): RunnerReport[] {
    const reports: RunnerReport[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      this.#rest.push(chunk.subarray(start, end));
      const [only] = this.#rest;
      const line = this.#rest.length === 1 && only ? only : Buffer.concat(this.#rest);
      reports.push(JSON.parse(line.toString()) as RunnerReport);
      this.#rest = [];
      start = end + 1;
    }
    if (start < chunk.length) this.#rest.push(chunk.subarray(start));
    return reports;
  }
}
