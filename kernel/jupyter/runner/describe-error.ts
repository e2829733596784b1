/** Errors as people read them: the cell's or the module's own lines, without the kernel's frames. */
import { inspect } from 'node:util';
import { excerpt, placeText, type Place } from '../excerpt.ts';
import { Thrown } from './evaluate.ts';
import type { CellError } from './messages.ts';
import { originalPlace } from './sources.ts';

/** Frames of Node's internals and of this process's own code. */
const NOISE = /node:internal|dist\/kernel\/(runner|chunks\/)/;
/** What calls a cell: the frames from here on are the kernel's. */
const CALLER = /node:inspector/;

/** `    at name (place:1:2)` or `    at place:1:2`. */
const FRAME = /^\s+at (?:(.*?) \()?(?:async )?(.+?):(\d+):(\d+)\)?$/;

/** Longest chain of causes that is followed. */
const MAX_CAUSES = 5;

/** Describes anything that was thrown. */
export function describeError(thrown: unknown): CellError {
  const [value, at] = thrown instanceof Thrown ? [thrown.value, thrown.place] : [thrown, undefined];
  if (!(value instanceof Error)) {
    const text = inspect(value);
    const place = at && originalPlace(at.name, at.line + 1, at.column + 1);
    return {
      ename: 'Error',
      evalue: text,
      traceback: [...(place ? [excerpt(place), ''] : []), `Uncaught ${text}`],
    };
  }
  const { frames, place = at && originalPlace(at.name, at.line + 1, at.column + 1) } = readStack(value);
  const name = nameOf(value);
  const traceback = [...(place ? [excerpt(place), ''] : []), `${name}: ${value.message}`, ...frames];
  return { ename: name, evalue: value.message, traceback: [...traceback, ...reasons(value)] };
}

/** A class that extends Error without naming itself is called by its own name all the same. */
function nameOf(error: Error): string {
  return error.name === 'Error' ? error.constructor.name || 'Error' : error.name;
}

/** The frames worth reading, and the innermost place in the user's own code. */
function readStack(error: Error): { frames: string[]; place: Place | undefined } {
  const frames: string[] = [];
  let innermost: Place | undefined;
  for (const line of (error.stack ?? '').split('\n')) {
    if (CALLER.test(line)) break;
    const [, name, url = '', row, column] = FRAME.exec(line) ?? [];
    const place = originalPlace(url, Number(row), Number(column));
    if (place) {
      innermost ??= place;
      const caller = name?.replace(/^async /, '');
      const anonymous = caller === undefined || caller === '' || caller === '<anonymous>';
      frames.push(`    at ${anonymous ? '' : `${caller}, `}${placeText(place)}`);
    } else if (/^\s+at /.test(line) && !NOISE.test(line)) {
      frames.push(line);
    }
  }
  return { frames, place: innermost };
}

/** What lies behind an error: its causes, and the errors that it sums up. */
function reasons(error: Error): string[] {
  const lines: string[] = [];
  if (error instanceof AggregateError)
    for (const each of error.errors as unknown[]) lines.push(`  - ${titleOf(each)}`);
  let cause = error.cause;
  for (let depth = 0; cause !== undefined && depth < MAX_CAUSES; depth++) {
    // An error of another kind with the same text tells nothing new.
    const isRepetition = cause instanceof Error && cause.message === error.message;
    if (!isRepetition) lines.push('', `Caused by ${titleOf(cause)}`);
    if (!(cause instanceof Error)) break;
    if (!isRepetition) lines.push(...readStack(cause).frames);
    cause = cause.cause;
  }
  return lines;
}

function titleOf(value: unknown): string {
  return value instanceof Error ? `${nameOf(value)}: ${value.message}` : inspect(value);
}
