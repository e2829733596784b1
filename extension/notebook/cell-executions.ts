/** VS Code lets a notebook's outputs change only within an execution of their cell: the executions that there are. */
import * as vscode from 'vscode';

/** Executions of our controller: those of running cells, and short ones for changes that come later. */
export class CellExecutions {
  readonly #controller: vscode.NotebookController;
  readonly #active = new Map<
    vscode.NotebookCell,
    { execution: vscode.NotebookCellExecution; started: boolean }
  >();
  readonly #edits = new Map<vscode.NotebookCell, Promise<void>>();
  /** How cells ran last: VS Code's own summary does not survive a short execution. */
  readonly #last = new WeakMap<vscode.NotebookCell, vscode.NotebookCellExecutionSummary>();
  readonly #started = new WeakMap<vscode.NotebookCell, number>();

  constructor(controller: vscode.NotebookController) {
    this.#controller = controller;
  }

  /** Queues a cell: it shows as pending until `start`. @throws when VS Code thinks that it is executing already */
  create(cell: vscode.NotebookCell): vscode.NotebookCellExecution {
    const execution = this.#controller.createNotebookCellExecution(cell);
    this.#active.set(cell, { execution, started: false });
    return execution;
  }

  /** Resolves when no short execution of these cells goes on: VS Code allows one at a time. */
  async idle(cells: readonly vscode.NotebookCell[]): Promise<void> {
    // All at once and once more: while one is waited for, another may begin.
    while (cells.some((cell) => this.#edits.has(cell)))
      await Promise.all(cells.flatMap((cell) => this.#edits.get(cell) ?? []));
  }

  /** Begins an execution with a clock and without the outputs of the last one. */
  start(execution: vscode.NotebookCellExecution): void {
    this.#active.set(execution.cell, { execution, started: true });
    const startTime = Date.now();
    this.#started.set(execution.cell, startTime);
    execution.start(startTime);
    void execution.clearOutput();
  }

  /** Ends an execution; `success` undefined means that the cell did not run. */
  end(execution: vscode.NotebookCellExecution, success: boolean | undefined): void {
    const { cell, executionOrder } = execution;
    this.#active.delete(cell);
    if (success === undefined) {
      execution.end(undefined);
      return;
    }
    const endTime = Date.now();
    const timing = { startTime: this.#started.get(cell) ?? endTime, endTime };
    this.#last.set(cell, { ...(executionOrder === undefined ? {} : { executionOrder }), success, timing });
    execution.end(success, endTime);
  }

  /**
   * Changes outputs of a cell: within its execution when it is running, else within a short one that leaves order,
   * duration and success as they were. A cell that is about to run is left alone: it clears its outputs anyway.
   */
  async edit(
    cell: vscode.NotebookCell,
    change: (execution: vscode.NotebookCellExecution) => Thenable<void>,
  ): Promise<void> {
    const active = this.#active.get(cell);
    if (active) {
      if (active.started) await change(active.execution);
      return;
    }
    const before = this.#edits.get(cell) ?? Promise.resolve();
    const edit = before.then(() => this.#shortly(cell, change));
    // A failure belongs to the caller that made it, not to the next one in line.
    const settled = edit.catch(() => undefined);
    this.#edits.set(cell, settled);
    await edit.finally(() => {
      if (this.#edits.get(cell) === settled) this.#edits.delete(cell);
    });
  }

  async #shortly(
    cell: vscode.NotebookCell,
    change: (execution: vscode.NotebookCellExecution) => Thenable<void>,
  ): Promise<void> {
    if (cell.index < 0 || this.#active.has(cell)) return;
    const last = this.#last.get(cell) ?? cell.executionSummary ?? {};
    this.#last.set(cell, last);
    const { executionOrder, success, timing } = last;
    const execution = this.#controller.createNotebookCellExecution(cell);
    execution.executionOrder = executionOrder;
    execution.start(timing?.startTime);
    try {
      await change(execution);
    } finally {
      execution.end(success, timing?.endTime);
    }
  }
}
