/** What the daemon refuses, on both sides of the wire: a text for the person who asked. */
import type { ErrorCode } from '../protocol/daemon.ts';

/** A refusal by the daemon, or the loss of it. */
export class DaemonError extends Error {
  override readonly name = 'DaemonError';
  readonly code: ErrorCode;
  /** One line per problem of an invalid configuration. */
  readonly problems: readonly string[];

  constructor(code: ErrorCode, message: string, problems: readonly string[] = []) {
    super(message);
    this.code = code;
    this.problems = problems;
  }
}
