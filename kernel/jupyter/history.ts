/** What was run in this session, for `jupyter console` and other front ends that search it. */
import { z } from 'zod';

/** Of this session alone: it is number 1, and clients also call the current one 0. */
const SESSION = 1;

interface Entry {
  readonly line: number;
  readonly code: string;
  output?: string;
}

/** A `history_request`. */
export const historyRequest = z.object({
  output: z.boolean().default(false),
  hist_access_type: z.enum(['tail', 'range', 'search']).default('tail'),
  session: z.int().default(0),
  start: z.int().default(0),
  stop: z.int().nullish(),
  n: z.int().nonnegative().nullish(),
  pattern: z.string().default('*'),
  unique: z.boolean().default(false),
});
export type HistoryRequest = z.infer<typeof historyRequest>;

/** `[session, line, code]`, or `[session, line, [code, output]]`. */
export type HistoryItem = [number, number, string | [string, string | null]];

/** The cells of this session in the order of their execution. */
export class History {
  readonly #entries: Entry[] = [];

  /** Adds a cell; its result comes later, if it has one. */
  add(line: number, code: string): void {
    this.#entries.push({ line, code });
  }

  /** The text of the newest cell's result. */
  addOutput(output: string): void {
    const newest = this.#entries.at(-1);
    if (newest) newest.output = output;
  }

  /** The entries that a request asks for, oldest first. */
  find(request: HistoryRequest): HistoryItem[] {
    return this.#select(request).map(({ line, code, output }) => [
      SESSION,
      line,
      request.output ? [code, output ?? null] : code,
    ]);
  }

  #select({ hist_access_type, session, start, stop, n, pattern, unique }: HistoryRequest): Entry[] {
    switch (hist_access_type) {
      case 'tail':
        return newest(this.#entries, n);
      case 'range':
        if (session !== 0 && session !== SESSION) return [];
        return this.#entries.filter(({ line }) => line >= start && line < (stop ?? Infinity));
      case 'search': {
        const wanted = globPattern(pattern);
        const found = this.#entries.filter(({ code }) => wanted.test(code));
        return newest(unique ? withoutRepeats(found) : found, n);
      }
    }
  }
}

function newest(entries: readonly Entry[], n: number | null | undefined): Entry[] {
  return entries.slice(Math.max(0, entries.length - (n ?? Infinity)));
}

/** Of equal cells only the newest. */
function withoutRepeats(entries: readonly Entry[]): Entry[] {
  const last = new Map(entries.map((entry) => [entry.code, entry]));
  return entries.filter((entry) => last.get(entry.code) === entry);
}

/** Jupyter searches with `*` and `?`, as file names. */
function globPattern(glob: string): RegExp {
  const source = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's');
}
