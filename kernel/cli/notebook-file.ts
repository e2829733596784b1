/** Notebook files (nbformat 4.5): reading them, and outputs as Jupyter messages make them. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { UsageError } from './arguments.ts';

/** An output as nbformat stores it. */
export type NotebookOutput =
  | { output_type: 'stream'; name: string; text: string }
  | { output_type: 'display_data'; data: Record<string, unknown>; metadata: Record<string, unknown> }
  | {
      output_type: 'execute_result';
      execution_count: number | null;
      data: Record<string, unknown>;
      metadata: Record<string, unknown>;
    }
  | { output_type: 'error'; ename: string; evalue: string; traceback: string[] };

/** A cell; keys that we do not know are kept. */
export interface NotebookCell {
  cell_type: 'code' | 'markdown' | 'raw';
  id: string;
  source: string | string[];
  metadata: Record<string, unknown>;
  outputs?: NotebookOutput[];
  execution_count?: number | null;
}

/** A notebook; keys that we do not know are kept. */
export interface Notebook {
  nbformat: 4;
  nbformat_minor: number;
  metadata: Record<string, unknown>;
  cells: NotebookCell[];
}

/** Reads a notebook, giving every cell an id as nbformat 4.5 wants. Throws UsageError. */
export function readNotebook(path: string): Notebook {
  let notebook: Partial<Notebook>;
  try {
    notebook = (JSON.parse(readFileSync(path, 'utf8')) ?? {}) as Partial<Notebook>;
  } catch (error) {
    throw new UsageError([`${path} is no notebook: ${(error as Error).message}`]);
  }
  if (notebook.nbformat !== 4 || !Array.isArray(notebook.cells))
    throw new UsageError([
      `${path} has nbformat ${String(notebook.nbformat)}: a notebook of format 4 is needed`,
    ]);
  return {
    ...notebook,
    nbformat: 4,
    nbformat_minor: Math.max(5, notebook.nbformat_minor ?? 0),
    metadata: notebook.metadata ?? {},
    cells: notebook.cells.map((cell) => ({ ...cell, id: cell.id || randomUUID().slice(0, 8) })),
  };
}

/** The notebook as a file's content, formatted as Jupyter does. */
export function formatNotebook(notebook: Notebook): string {
  return `${JSON.stringify(notebook, null, 1)}\n`;
}

/** A cell's code as one string. */
export function sourceOf(cell: NotebookCell): string {
  return typeof cell.source === 'string' ? cell.source : cell.source.join('');
}

/** The part of a Jupyter message that outputs depend on. */
export interface OutputMessage {
  readonly header: { readonly msg_type: string };
  readonly content: unknown;
}

interface Bundle {
  readonly data?: Record<string, unknown>;
  readonly metadata?: Record<string, unknown>;
  readonly transient?: { readonly display_id?: string };
}

/** Collects the outputs of a notebook's cells; displays can be updated from later cells. */
export class OutputCollector {
  readonly #displays = new Map<
    string,
    { data: Record<string, unknown>; metadata: Record<string, unknown> }[]
  >();
  readonly #waitingClear = new WeakSet<NotebookOutput[]>();

  /** Applies an iopub message to `outputs`, those of the cell whose execution it belongs to. */
  take(message: OutputMessage, outputs: NotebookOutput[]): void {
    const type = message.header.msg_type;
    if (type === 'update_display_data') {
      const { data = {}, metadata = {}, transient } = message.content as Bundle;
      for (const output of this.#displays.get(transient?.display_id ?? '') ?? [])
        Object.assign(output, { data, metadata });
    } else if (type === 'clear_output') {
      if ((message.content as { wait?: boolean }).wait) this.#waitingClear.add(outputs);
      else outputs.length = 0;
    } else {
      const output = toOutput(type, message.content);
      if (!output) return;
      if (this.#waitingClear.delete(outputs)) outputs.length = 0;
      this.#append(output, outputs, (message.content as Bundle).transient?.display_id);
    }
  }

  #append(output: NotebookOutput, outputs: NotebookOutput[], displayId: string | undefined): void {
    const last = outputs.at(-1);
    if (output.output_type === 'stream' && last?.output_type === 'stream' && last.name === output.name) {
      last.text += output.text;
      return;
    }
    outputs.push(output);
    if (displayId !== undefined && 'data' in output)
      this.#displays.set(displayId, [...(this.#displays.get(displayId) ?? []), output]);
  }
}

function toOutput(type: string, content: unknown): NotebookOutput | undefined {
  const { data = {}, metadata = {} } = content as Bundle;
  switch (type) {
    case 'stream': {
      const { name, text } = content as { name: string; text: string };
      return { output_type: 'stream', name, text };
    }
    case 'display_data':
      return { output_type: 'display_data', data, metadata };
    case 'execute_result': {
      const { execution_count } = content as { execution_count: number };
      return { output_type: 'execute_result', execution_count, data, metadata };
    }
    case 'error': {
      const { ename, evalue, traceback } = content as { ename: string; evalue: string; traceback: string[] };
      return { output_type: 'error', ename, evalue, traceback };
    }
    default:
      return undefined; // status, execute_input and others are no outputs
  }
}
