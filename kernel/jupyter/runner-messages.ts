/** Messages between the kernel's supervisor and its cell runner, over the child's IPC channel. */

/** Supervisor to runner. */
export interface RunnerCommand {
  readonly type: 'execute';
  /** Id of the execute request: outputs carry it as their parent. */
  readonly parent: string;
  /** JavaScript in REPL mode. */
  readonly code: string;
  /** Source map of `code`, JSON. */
  readonly map: string;
  /** TypeScript, for quoting lines in errors. */
  readonly source: string;
  readonly count: number;
}

/** An error as Jupyter shows it. */
export interface CellError {
  readonly ename: string;
  readonly evalue: string;
  readonly traceback: readonly string[];
}

/** Runner to supervisor. `parent` is the request that caused it. */
export type RunnerReport =
  | { type: 'ready' }
  | { type: 'stream'; parent: string; name: 'stdout' | 'stderr'; text: string }
  | {
      type: 'display';
      parent: string;
      data: Record<string, unknown>;
      metadata: Record<string, unknown>;
      displayId?: string;
      update: boolean;
    }
  | { type: 'done'; parent: string; result?: Record<string, unknown>; error?: CellError };
