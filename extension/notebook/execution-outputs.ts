/** The outputs of a notebook's executions, and the way of a kernel's messages into them, also of those that come late. */
import * as vscode from 'vscode';
import type { JupyterMessage } from '../../kernel/jupyter/client.ts';
import type { CellExecutions } from './cell-executions.ts';
import { CellOutput, toItems } from './cell-output.ts';
import { OutputReducer, type Output } from './outputs.ts';

/** Messages that come after their cell has ended are sorted by the execution that they belong to; so many are remembered. */
const REMEMBERED_EXECUTIONS = 200;

/** Outputs by the request that made them. */
export class ExecutionOutputs {
  readonly #notebook: () => vscode.NotebookDocument;
  readonly #executions: CellExecutions;
  readonly #log: vscode.LogOutputChannel;
  /** By the id of the request, newest last. */
  readonly #outputs = new Map<string, CellOutput>();

  constructor(
    notebook: () => vscode.NotebookDocument,
    executions: CellExecutions,
    log: vscode.LogOutputChannel,
  ) {
    this.#notebook = notebook;
    this.#executions = executions;
    this.#log = log;
  }

  /** The outputs of a new execution of a cell. */
  begin(cell: vscode.NotebookCell): CellOutput {
    return new CellOutput(
      (change) => this.#executions.edit(cell, change),
      (displayId, update) => this.#update(displayId, update),
      (error) => this.#log.warn(`An output could not be written: ${String(error)}`),
    );
  }

  /** Takes a message that answers an execution whose outputs are known. */
  take(message: JupyterMessage, output: CellOutput): void {
    const parent = parentOf(message);
    if (parent !== undefined && !this.#outputs.has(parent)) {
      this.#outputs.set(parent, output);
      const [oldest] = this.#outputs.keys();
      if (this.#outputs.size > REMEMBERED_EXECUTIONS && oldest !== undefined) this.#outputs.delete(oldest);
    }
    output.take(message);
  }

  /** Takes what background work, or a cell that has ended, writes: it goes to the cell that made it. */
  takeLate(message: JupyterMessage): void {
    const parent = parentOf(message);
    const output = parent === undefined ? undefined : this.#outputs.get(parent);
    if (output) {
      output.take(message);
      return;
    }
    // A display is found by its own id, however long ago its cell ran.
    const updates = new OutputReducer().take(message).filter(({ type }) => type === 'update');
    for (const update of updates) if (update.type === 'update') this.#update(update.displayId, update.output);
    if (updates.length === 0)
      this.#log.debug(`Dropped a ${message.header.msg_type} message that belongs to no cell`);
  }

  /** Forgets all executions: the kernel that made them is gone. */
  clear(): void {
    this.#outputs.clear();
  }

  /** New contents for a display: in outputs that are known, or in such that were in the notebook before. */
  #update(displayId: string, update: Output): void {
    let found = false;
    for (const output of this.#outputs.values()) found = output.updateDisplay(displayId, update) || found;
    if (found) return;
    for (const cell of this.#notebook().getCells()) {
      for (const output of cell.outputs) {
        const transient = (output.metadata as Partial<Output['metadata']> | undefined)?.transient;
        if (transient?.display_id !== displayId) continue;
        this.#executions
          .edit(cell, (execution) => execution.replaceOutputItems(toItems(update), output))
          .catch((error: unknown) => this.#log.warn(`A display could not be updated: ${String(error)}`));
      }
    }
  }
}

function parentOf(message: JupyterMessage): string | undefined {
  const id = message.parent_header['msg_id'];
  return typeof id === 'string' ? id : undefined;
}
