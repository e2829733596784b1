/** Writes the output messages of one execution into its cell. */
import { randomUUID } from 'node:crypto';
import * as vscode from 'vscode';
import {
  OutputReducer,
  STREAM_MIMES,
  errorOutput,
  type Output,
  type OutputMessage,
  type OutputOperation,
  type StreamName,
} from './outputs.ts';

/** Text goes to the document this often at most, ms: every change of it costs a synchronous edit in the window. */
const FLUSH_INTERVAL = 100;
/** Key of an output's metadata; VS Code's serializer leaves it out of the file. */
const MARK = 'gptLabOutput';

/** How a cell's outputs are changed: within the execution that runs, or within a short one later. */
export type EditCell = (change: (execution: vscode.NotebookCellExecution) => Thenable<void>) => Promise<void>;

/** The outputs of one execution of a cell, before and after its end. */
export class CellOutput {
  readonly #reducer = new OutputReducer();
  readonly #edit: EditCell;
  readonly #update: (displayId: string, output: Output) => void;
  readonly #displays = new Map<string, vscode.NotebookCellOutput>();
  readonly #streams = new Map<StreamName, vscode.NotebookCellOutput>();
  /** Outputs in the place of such that the reader has cleared. */
  readonly #successors = new WeakMap<vscode.NotebookCellOutput, vscode.NotebookCellOutput>();
  #waiting: { name: StreamName; text: string }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #tail: Promise<void> = Promise.resolve();
  readonly #failed: (error: unknown) => void;

  /** `update` is told of new contents for a display that may be in any cell; `failed` of edits that VS Code refused. */
  constructor(
    edit: EditCell,
    update: (displayId: string, output: Output) => void,
    failed: (error: unknown) => void,
  ) {
    this.#edit = edit;
    this.#update = update;
    this.#failed = failed;
  }

  /** Takes a message of this execution. */
  take(message: OutputMessage): void {
    for (const operation of this.#reducer.take(message)) this.#apply(operation);
  }

  /** Shows an error of our own, e.g. why the kernel died. */
  fail(name: string, reason: string): void {
    this.#apply({ type: 'append', output: errorOutput({ ename: name, evalue: reason, traceback: [] }) });
  }

  /** Gives a display of this cell new contents; false when the cell has none with this id. */
  updateDisplay(displayId: string, output: Output): boolean {
    const display = this.#displays.get(displayId);
    if (!display) return false;
    this.#flush();
    this.#queue(async (execution) => {
      if (isShown(display, execution.cell)) await execution.replaceOutputItems(toItems(output), display);
    });
    return true;
  }

  /** Resolves when everything that was taken is in the document. */
  async settled(): Promise<void> {
    this.#flush();
    await this.#tail;
  }

  #apply(operation: OutputOperation): void {
    switch (operation.type) {
      case 'text':
        this.#waiting.push(operation);
        this.#timer ??= setTimeout(() => this.#flush(), FLUSH_INTERVAL);
        break;
      case 'append': {
        this.#flush();
        const output = toOutput(operation.output);
        this.#remember(operation.output, output);
        this.#queue((execution) => execution.appendOutput(output));
        break;
      }
      case 'update':
        this.#flush();
        this.#update(operation.displayId, operation.output);
        break;
      case 'clear':
        this.#waiting = [];
        this.#displays.clear();
        this.#streams.clear();
        this.#queue((execution) => execution.clearOutput());
        break;
    }
  }

  #remember(output: Output, shown: vscode.NotebookCellOutput): void {
    const displayId = output.metadata.transient?.display_id;
    if (displayId !== undefined) this.#displays.set(displayId, shown);
    for (const name of ['stdout', 'stderr'] as const) {
      if (output.items[0]?.mime === STREAM_MIMES[name]) this.#streams.set(name, shown);
    }
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const name of ['stdout', 'stderr'] as const) {
      const text = waiting.flatMap((each) => (each.name === name ? [each.text] : [])).join('');
      const stream = this.#streams.get(name);
      if (text === '' || !stream) continue;
      const item = vscode.NotebookCellOutputItem[name](text);
      this.#queue((execution) => this.#extend(execution, stream, item));
    }
  }

  /** Adds text to a stream's output; a reader who has cleared the cell's outputs gets a new one. */
  #extend(
    execution: vscode.NotebookCellExecution,
    stream: vscode.NotebookCellOutput,
    item: vscode.NotebookCellOutputItem,
  ): Thenable<void> {
    const output = this.#successors.get(stream) ?? stream;
    if (isShown(output, execution.cell)) return execution.appendOutputItems(item, output);
    const successor = marked([item], { outputType: 'stream' });
    this.#successors.set(stream, successor);
    return execution.appendOutput(successor);
  }

  #queue(change: (execution: vscode.NotebookCellExecution) => Thenable<void>): void {
    this.#tail = this.#tail.then(() => this.#edit(change)).catch(this.#failed);
  }
}

/** An output in VS Code's form. */
function toOutput(output: Output): vscode.NotebookCellOutput {
  return marked(toItems(output), output.metadata);
}

/** An output that can be found again in its cell: VS Code hands out other objects than it was given. */
function marked(
  items: vscode.NotebookCellOutputItem[],
  metadata: Output['metadata'],
): vscode.NotebookCellOutput {
  return new vscode.NotebookCellOutput(items, { ...metadata, [MARK]: randomUUID() });
}

function isShown(output: vscode.NotebookCellOutput, cell: vscode.NotebookCell): boolean {
  return cell.outputs.some(({ metadata }) => metadata?.[MARK] === output.metadata?.[MARK]);
}

/** The representations of an output in VS Code's form. */
export function toItems(output: Output): vscode.NotebookCellOutputItem[] {
  return output.items.map(({ mime, data }) => new vscode.NotebookCellOutputItem(data, mime));
}
