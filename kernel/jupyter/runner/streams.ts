/** What cells print goes to the supervisor as reports, at once. What child processes print, it reads from our pipes. */
import { currentRequest } from './current-request.ts';
import type { StreamName } from './messages.ts';
import { report } from './report.ts';

/** Replaces `process.stdout.write` or `process.stderr.write`. */
export function captureStream(name: StreamName): void {
  const decoder = new TextDecoder();
  const write = (chunk: string | Uint8Array, encoding?: unknown, done?: unknown): boolean => {
    const text = typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    if (text !== '') report({ type: 'stream', request: currentRequest(), name, text });
    const callback = typeof encoding === 'function' ? encoding : done;
    if (typeof callback === 'function') process.nextTick(callback);
    return true;
  };
  process[name].write = write;
}
