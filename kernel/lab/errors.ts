/** Errors that say everything. */

/** The daemon refused: why, with one line per problem. */
export class LabError extends Error {
  override readonly name: string = 'LabError';
  /** What kind of refusal, e.g. `invalid-configuration`, `not-found`. */
  readonly code: string;
  /** Each names a key, its value and what is allowed. */
  readonly problems: readonly string[];

  constructor(cause: {
    readonly message: string;
    readonly code: string;
    readonly problems: readonly string[];
  }) {
    const missing = cause.problems.filter((problem) => !cause.message.includes(problem));
    super([cause.message, ...missing.map((problem) => `  - ${problem}`)].join('\n'), { cause });
    this.code = cause.code;
    this.problems = cause.problems;
  }
}

/** A run that is waited for has failed or was interrupted; the message is the run's own error. */
export class RunEnded extends Error {
  override readonly name = 'RunEnded';
}
