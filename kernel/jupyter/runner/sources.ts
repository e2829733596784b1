/** Sources of the cells and modules that were made from TypeScript, by the name that stacks give them. */
import { SourceMap, type SourceMapPayload } from 'node:module';
import type { Place } from '../excerpt.ts';

interface Source {
  readonly where: string;
  readonly text: string;
  readonly map?: string | undefined;
  /** Made when an error first asks for it. */
  parsed?: SourceMap;
}

const sources = new Map<string, Source>();

/** Remembers a source under `name`, the URL in stacks; `where` is how users see it. */
export function rememberSource(name: string, source: Omit<Source, 'parsed'>): void {
  sources.set(name, { ...source });
}

/** The place in the TypeScript that a place in the JavaScript comes from. All lines and columns count from 1. */
export function originalPlace(name: string, line: number, column: number): Place | undefined {
  const source = sources.get(name);
  if (!source) return undefined;
  const { where, text, map } = source;
  const lines = text.split('\n');
  if (map === undefined) return { where, lines, line: line - 1, column };
  source.parsed ??= new SourceMap(JSON.parse(map) as SourceMapPayload);
  const entry = source.parsed.findEntry(line - 1, column - 1);
  if (!('originalLine' in entry)) return { where, lines, line, column: 1 };
  return { where, lines, line: entry.originalLine + 1, column: entry.originalColumn + 1 };
}
