/** Sources of the cells and modules that were made from TypeScript, by the name that stacks give them. */
import { SourceMap, type SourceMapPayload } from 'node:module';
import type { Place } from '../excerpt.ts';

interface Source {
  readonly where: string;
  readonly text: string;
  readonly map: string;
  /** Made when an error first asks for it. */
  parsed?: SourceMap;
}

const sources = new Map<string, Source>();

/** Remembers a source under `name`, the URL in stacks; `where` is how users see it. */
export function rememberSource(name: string, source: { where: string; text: string; map: string }): void {
  sources.set(name, { ...source });
}

/** The place in the TypeScript that a place in the JavaScript comes from. All lines and columns count from 1. */
export function originalPlace(name: string, line: number, column: number): Place | undefined {
  const source = sources.get(name);
  if (!source) return undefined;
  source.parsed ??= new SourceMap(JSON.parse(source.map) as SourceMapPayload);
  const entry = source.parsed.findEntry(line - 1, column - 1);
  const found = 'originalLine' in entry;
  return {
    where: source.where,
    lines: source.text.split('\n'),
    line: found ? entry.originalLine + 1 : line,
    column: found ? entry.originalColumn + 1 : 1,
  };
}
