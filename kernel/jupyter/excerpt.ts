/** Where something went wrong, as the front ends know it: VS Code makes links of these lines. */

/** Lines shown before the one that failed. */
const CONTEXT = 2;

/** `line` and `column` count from 1. `where` names the cell or the file: `Cell In[3]`, `File /work/helper.ts`. */
export interface Place {
  readonly where: string;
  readonly lines: readonly string[];
  readonly line: number;
  readonly column: number;
}

/** The name of a cell, by its number. */
export function cellName(count: number): string {
  return `Cell In[${count}]`;
}

/** A place on one line. */
export function placeText({ where, line }: Pick<Place, 'where' | 'line'>): string {
  return where.startsWith('Cell') ? `${where}, line ${line}` : `${where}:${line}`;
}

/** A place with its line, two before it, and a mark under the column. */
export function excerpt({ where, lines, line, column }: Place): string {
  const shown = [placeText({ where, line })];
  for (let number = Math.max(1, line - CONTEXT); number <= Math.min(line, lines.length); number++) {
    const arrow = number === line ? '-'.repeat(Math.max(0, 5 - String(number).length)) + '>' : '';
    shown.push(`${arrow.padStart(6 - String(number).length)} ${number} ${lines[number - 1] ?? ''}`);
  }
  const quoted = lines[line - 1];
  if (quoted !== undefined)
    shown.push(`${' '.repeat(8)}${quoted.slice(0, column - 1).replace(/[^\t]/g, ' ')}^`);
  return shown.join('\n');
}
