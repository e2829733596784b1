/** All runs that this daemon knows: started, found, resumed and removed. */
import { randomBytes } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { resolveConfiguration } from '../protocol/configuration-schema.ts';
import type { ResolvedConfiguration } from '../protocol/configuration.ts';
import type { RunSummary } from '../protocol/events.ts';
import { RequestError } from './request-error.ts';
import { Run, type RunContext } from './run.ts';

/** The date, a word of the name, and chance: sorts by day, can be typed, and a prefix finds it. */
function newRunId(name: string, now: Date): string {
  const day = now.toISOString().slice(0, 10).replaceAll('-', '');
  const words = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 24);
  return [day, words, randomBytes(3).toString('hex')].filter((part) => part !== '').join('-');
}

/** Problems with a text file that can be seen before a rank starts. */
async function fileProblem(path: string): Promise<string | undefined> {
  const problem = (what: string): string => `data.text is ${JSON.stringify(path)}: ${what}`;
  try {
    const file = await open(path, 'r');
    try {
      const found = await file.stat();
      if (!found.isFile()) return problem('it is not a file; allowed is a UTF-8 text file');
      if (found.size === 0) return problem('the file is empty; allowed is a text of at least one sequence');
      await file.read(Buffer.alloc(1), 0, 1, 0);
    } finally {
      await file.close();
    }
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const texts: Partial<Record<string, string>> = {
      ENOENT: 'there is no such file',
      EACCES: 'the file may not be read',
    };
    return problem(`${texts[code ?? ''] ?? message}; allowed is a readable UTF-8 text file`);
  }
}

/** The runs of one daemon. */
export class RunRegistry {
  readonly #context: RunContext;
  readonly #directory: string;
  readonly #runs = new Map<string, Run>();

  /** Loads all stored runs; those that a daemon's death cut off are marked interrupted. */
  constructor(context: RunContext, directory: string) {
    this.#context = context;
    this.#directory = directory;
    for (const { summary, config } of context.store.runs()) {
      const run = new Run(context, summary, config as ResolvedConfiguration);
      this.#runs.set(summary.run, run);
      if (summary.state === 'running') run.markInterrupted();
    }
  }

  /** Oldest first. */
  list(): Run[] {
    return [...this.#runs.values()];
  }

  running(): Run[] {
    return this.list().filter((run) => run.isRunning);
  }

  /** Throws `not-found`. */
  find(id: string): Run {
    const run = this.#runs.get(id);
    if (run === undefined)
      throw new RequestError('not-found', `There is no run ${id}: \`gpt-lab runs\` lists them`);
    return run;
  }

  /** Validates, stores and starts a run. Throws `invalid-configuration` with every problem. */
  async start(request: { config: unknown; baseDirectory: string; source?: string }): Promise<Run> {
    const resolved = resolveConfiguration(request.config);
    if ('problems' in resolved) throw invalid(resolved.problems);
    const { config } = resolved;
    config.data.text = config.data.text.map((path) =>
      isAbsolute(path) ? path : resolve(request.baseDirectory, path),
    );
    const problems = (await Promise.all(config.data.text.map(fileProblem))).filter(
      (text) => text !== undefined,
    );
    if (problems.length > 0) throw invalid(problems);

    const now = new Date();
    const id = newRunId(config.name, now);
    const summary: RunSummary = {
      run: id,
      name: config.name,
      state: 'running',
      step: 0,
      steps: config.training.steps,
      loss: null,
      validationLoss: null,
      tokensPerSecond: null,
      secondsLeft: null,
      pids: [],
      error: null,
      createdAt: now.getTime(),
      endedAt: null,
      lastSequence: 0,
      directory: join(this.#directory, id),
      checkpoint: null,
      ...(request.source === undefined ? {} : { source: request.source }),
    };
    try {
      this.#context.store.insert({ summary, config });
    } catch (error) {
      throw new RequestError(
        'failed',
        `The run cannot be stored (${(error as Error).message}): free disk space first`,
      );
    }
    const run = new Run(this.#context, summary, config);
    this.#runs.set(id, run);
    run.start();
    return run;
  }

  /** Continues an ended run from its newest checkpoint, or from the start where it has none. */
  resume(id: string): Run {
    const run = this.find(id);
    const { state, checkpoint } = run.summary;
    if (run.isRunning) throw new RequestError('wrong-state', `Run ${id} is running: it needs no resuming`);
    if (state === 'finished') {
      throw new RequestError('wrong-state', `Run ${id} has finished all of its ${run.summary.steps} steps`);
    }
    run.start(checkpoint ?? undefined);
    return run;
  }

  /** Deletes an ended run with its checkpoints. */
  async remove(id: string): Promise<void> {
    const run = this.find(id);
    if (run.isRunning) throw new RequestError('wrong-state', `Run ${id} is running: stop it first`);
    this.#context.store.remove(id);
    this.#runs.delete(id);
    await rm(run.summary.directory, { recursive: true, force: true });
  }
}

function invalid(problems: string[]): RequestError {
  const message = `The configuration has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`;
  return new RequestError('invalid-configuration', message, problems);
}
