/** The cells of a notebook as the language service sees them: those that were run, and those that stand before a cell. */
import type ts from 'typescript';
import { cellModule, extendScope, moduleText, type CellModule, type Scope } from './cell-modules.ts';
import type { CellPosition } from './messages.ts';
import type { Project } from './project.ts';

/** A cell that is asked about, in its module. */
export interface AskedCell {
  readonly service: ts.LanguageService;
  readonly file: string;
  readonly source: string;
  /** Where the cell begins in the file. */
  readonly offset: number;
  /** The cursor in the file. */
  readonly position: number;
  readonly scope: Scope;
}

/** All cells of one kernel. */
export class NotebookScope {
  readonly #project: Project;
  readonly #modules = new Map<string, CellModule>();
  #executed: Scope = new Map();
  #count = 0;

  constructor(project: Project) {
    this.#project = project;
  }

  /** A cell has been run: its names are there from now on. */
  addExecuted(source: string): void {
    const module = cellModule(this.#project.path(`executed_${++this.#count}`), source);
    this.#project.write(module.path, moduleText(module, this.#executed, false).text);
    this.#executed = extendScope(this.#executed, module);
    this.#project.diskMayHaveChanged();
  }

  /** Variables are lost, and with them the names. */
  forget(): void {
    this.#executed = new Map();
  }

  /** Makes a cell ready for a question about one place in it. */
  ask({ code, cursor, earlier }: CellPosition): AskedCell {
    // What stands in the notebook counts for more than what was run: it is what the reader sees.
    let scope = this.#executed;
    for (const [index, source] of earlier.entries()) scope = this.#writeCell(index, source, scope).scope;
    const module = this.#module('current', code);
    const { text, offset } = moduleText(module, scope, true);
    const file = this.#project.write(module.path, text);
    const service = this.#project.lookAt([file]);
    return { service, file, source: code, offset, position: offset + cursor, scope };
  }

  /** Makes all cells of a notebook ready, each behind those before it. */
  askAll(cells: readonly string[]): Pick<AskedCell, 'service' | 'file' | 'source' | 'offset'>[] {
    let scope = this.#executed;
    const written = cells.map((source, index) => {
      const cell = this.#writeCell(index, source, scope);
      scope = cell.scope;
      return { ...cell, source };
    });
    const service = this.#project.lookAt(written.map(({ file }) => file));
    return written.map((cell) => ({ ...cell, service }));
  }

  /** Writes the cell at a place of the notebook; gives the scope behind it. */
  #writeCell(index: number, source: string, scope: Scope): { file: string; offset: number; scope: Scope } {
    const module = this.#module(`cell_${index + 1}`, source);
    const { text, offset } = moduleText(module, scope, false);
    const file = this.#project.write(module.path, text);
    return { file, offset, scope: extendScope(scope, module) };
  }

  /** A cell's names, read once for each version of it. */
  #module(name: string, source: string): CellModule {
    const known = this.#modules.get(name);
    if (known?.source === source) return known;
    const module = cellModule(this.#project.path(name), source);
    this.#modules.set(name, module);
    return module;
  }
}
