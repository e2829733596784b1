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

/** Everything that fits the word before the cursor. */
export function complete({ service, file, source, offset, position, scope }: AskedCell): Completions {
  const cursor = position - offset;
  const info = service.getCompletionsAtPosition(file, position, {
    includeCompletionsForModuleExports: false,
    includeCompletionsWithInsertText: false,
  });
  // Within a string TypeScript says what is replaced: all of it, or the last part of a path.
  const replaced = info?.optionalReplacementSpan?.start ?? info?.entries[0]?.replacementSpan?.start;
  const start =
    replaced === undefined || replaced < offset
      ? cursor - (/[\p{ID_Continue}$]*$/u.exec(source.slice(0, cursor))?.[0].length ?? 0)
      : replaced - offset;
  const word = source.slice(start, cursor);
  const entries = (info?.entries ?? []).filter(
    // `warning` marks words that merely occur in JavaScript.
    ({ name, kind }) =>
      name.toLowerCase().startsWith(word.toLowerCase()) && kind !== ts.ScriptElementKind.warning,
  );
  const otherCase = ({ name }: ts.CompletionEntry): number => Number(!name.startsWith(word));
  entries.sort(
    (a, b) => otherCase(a) - otherCase(b) || compare(a.sortText, b.sortText) || compare(a.name, b.name),
  );
  const matches = entries.map(({ name, kind }) => {
    const own = kind === ts.ScriptElementKind.alias ? scope.get(name)?.kind : undefined;
    return { text: name, type: own ?? TYPES[kind] ?? kind };
  });
  return { start, matches };
}

/** By code units: the same order on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
