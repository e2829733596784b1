/**
 * Cells as modules of one program: each begins with what it sees of the cells before it and ends by exporting what it
 * declares. A name that a later cell declares again hides the earlier one, types included; variables come as
 * declarations, since what is imported could not be assigned to.
 */
import { readNames, type CellNames, type DeclaredName } from './declared-names.ts';

/** A cell's module, written or about to be. */
export interface CellModule {
  /** Its path without an ending, as others import it. */
  readonly path: string;
  readonly source: string;
  readonly names: CellNames;
}

/** Where a name that a cell sees comes from. */
export interface VisibleName extends DeclaredName {
  readonly module: CellModule;
}

/** What a cell sees of other cells, by name. */
export type Scope = ReadonlyMap<string, VisibleName>;

/** A module's text, and where the cell begins in it. */
export interface ModuleText {
  readonly text: string;
  readonly offset: number;
}

/** Reads a cell that is to be the module `path`. */
export function cellModule(path: string, source: string): CellModule {
  return { path, source, names: readNames(source) };
}

/** The scope after a cell. */
export function extendScope(scope: Scope, module: CellModule): Scope {
  const extended = new Map(scope);
  for (const [name, declared] of module.names.declared) extended.set(name, { ...declared, module });
  return extended;
}

/**
 * The text of a module within a scope. With `everything` false it declares only what the cell uses, so that it stays the
 * same, and need not be checked again, when other cells change.
 */
export function moduleText({ source, names }: CellModule, scope: Scope, everything: boolean): ModuleText {
  const seen = [...scope].filter(
    ([name]) => !names.declared.has(name) && (everything || names.used.has(name)),
  );
  const prologue = seen.map(([name, { module, kind }]) => {
    const from = JSON.stringify(module.path);
    if (kind === 'const' || kind === 'let') return `declare ${kind} ${name}: typeof import(${from}).${name};`;
    return `import { ${name} } from ${from};`;
  });
  const exported = [...names.declared].flatMap(([name, { exported: already }]) => (already ? [] : [name]));
  const before = `${prologue.join('')}\n`;
  return { text: `${before}${source}\nexport { ${exported.join(', ')} };\n`, offset: before.length };
}
