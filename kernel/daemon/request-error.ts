/** A request that is refused, with a text for the person who made it. */
import type { ErrorCode } from '../protocol/daemon.ts';

export class RequestError extends Error {
  readonly code: ErrorCode;
  readonly problems: readonly string[];

  constructor(code: ErrorCode, message: string, problems: readonly string[] = []) {
    super(message);
    this.code = code;
    this.problems = problems;
  }
}
