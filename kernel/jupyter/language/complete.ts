/** Completion: what may stand at the cursor. */
import ts from 'typescript';
import type { Completions } from './messages.ts';
import type { AskedCell } from './notebook-scope.ts';

/** TypeScript's kinds in the words of front ends. */
const TYPES: Readonly<Record<string, string>> = {
  'local function': 'function',
  'local var': 'let',
  'external module name': 'module',
  'enum member': 'property',
  getter: 'property',
  setter: 'property',
  'primitive type': 'type',
  'type parameter': 'type',
  script: 'file',
};

/** So many letters tell what to look for in modules that are not imported. */
const ENOUGH_TO_IMPORT = 2;

/** Everything that fits the word before the cursor; with `imports`, also what would have to be imported. */
export function complete(
  { service, file, source, offset, position, scope }: AskedCell,
  imports: boolean,
): Completions {
  const cursor = position - offset;
  const info = service.getCompletionsAtPosition(file, position, {
    includeCompletionsForModuleExports: imports,
    includeCompletionsWithInsertText: false,
  });
  // Within a string TypeScript says what is replaced: all of it, or the last part of a path.
  const replaced = info?.optionalReplacementSpan?.start ?? info?.entries[0]?.replacementSpan?.start;
  const start =
    replaced === undefined || replaced < offset
      ? cursor - (/[\p{ID_Continue}$]*$/u.exec(source.slice(0, cursor))?.[0].length ?? 0)
      : replaced - offset;
  const word = source.slice(start, cursor);
  const sources = new Set(info?.entries.map((entry) => entry.source));
  const entries = (info?.entries ?? []).filter(
    (entry) =>
      entry.name.toLowerCase().startsWith(word.toLowerCase()) &&
      // Marks words that merely occur in JavaScript.
      entry.kind !== ts.ScriptElementKind.warning &&
      (entry.source === undefined ||
        (word.length >= ENOUGH_TO_IMPORT && isImportable(entry, entry.source, sources))),
  );
  const otherCase = ({ name }: ts.CompletionEntry): number => Number(!name.startsWith(word));
  entries.sort(
    (a, b) => otherCase(a) - otherCase(b) || compare(a.sortText, b.sortText) || compare(a.name, b.name),
  );
  const matches = entries.map(({ name, kind, source: module }) => {
    const own = kind === ts.ScriptElementKind.alias ? scope.get(name)?.kind : undefined;
    const type = own ?? TYPES[kind] ?? kind;
    return module === undefined ? { text: name, type } : { text: name, type, module };
  });
  return { start, matches };
}

/** Whether a name can be imported as it is: of Node's modules by their prefixed name, and not of other cells. */
function isImportable(
  { data }: ts.CompletionEntry,
  module: string,
  modules: ReadonlySet<string | undefined>,
): boolean {
  if (data?.exportName === 'default' || data?.exportName === 'export=') return false;
  return !modules.has(`node:${module}`) && !module.includes('__gpt_lab_');
}

/** By code units: the same order on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
