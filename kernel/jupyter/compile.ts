/**
 * Cells on their way to the runner. The compiler is loaded when the kernel has answered its client: that takes longer than
 * all the rest of the start.
 */
import { cellName, excerpt } from './excerpt.ts';
import type { CellError, Code } from './runner/messages.ts';

/** Code to run, or why there is none. */
export type Compiled = { readonly code: Code } | { readonly error: CellError };

let loading: Promise<typeof import('./transform.ts')> | undefined;

/** Loads the compiler ahead of the first cell. */
export function loadCompiler(): Promise<typeof import('./transform.ts')> {
  loading ??= import('./transform.ts');
  return loading;
}

/** Compiles a cell, or an expression, of the cell with that number. */
export async function compile(source: string, count: number): Promise<Compiled> {
  const { transformCell, CellSyntaxError } = await loadCompiler();
  try {
    return { code: { ...transformCell(source), source } };
  } catch (error) {
    if (!(error instanceof CellSyntaxError)) throw error;
    const { message, line, column } = error;
    const where = excerpt({ where: cellName(count), lines: source.split('\n'), line, column });
    const traceback = [where, '', `SyntaxError: ${message}`];
    return { error: { ename: 'SyntaxError', evalue: message, traceback } };
  }
}
