/** All runs that this daemon knows: started, found, resumed and removed. */
import { randomBytes } from 'node:crypto';
import { open, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { resolveConfiguration } from '../protocol/configuration-schema.ts';
import type { ResolvedConfiguration } from '../protocol/configuration.ts';
import type { RunSummary } from '../protocol/events.ts';
import { DaemonError } from './daemon-error.ts';
import { Run, type RunContext } from './run.ts';

/** The date, a word of the name, and chance: sorts by day, can be typed, and a prefix finds it. */
function newRunId(name: string, now: Date): string {
  const day = now.toISOString().slice(0, 10).replaceAll('-', '');
  const words = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 24)
    .replace(/^-+|-+$/g, '');
  return [day, words, randomBytes(3).toString('hex')].filter((part) => part !== '').join('-');
}

/** Problems with a text file that can be seen before a rank starts. */
async function fileProblem(path: string): Promise<string | undefined> {
  const problem = (what: string): string => `data.text is ${JSON.stringify(path)}: ${what}`;
  try {
    // Before it is opened: that would wait for the other end of a named pipe.
    const found = await stat(path);
    if (!found.isFile()) return problem('it is not a file; allowed is a UTF-8 text file');
    if (found.size === 0) return problem('the file is empty; allowed is a text of at least one sequence');
    const file = await open(path, 'r');
    try {
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

/** Ranks that fit into the memory that they share on one machine. */
const MAXIMUM_WORLD = 32;

/** Problems of a layout on this machine, beside those that it has on any. */
function worldProblems({ parallel: { data, pipeline, tensor } }: ResolvedConfiguration): string[] {
  const world = data * pipeline * tensor;
  if (world <= MAXIMUM_WORLD) return [];
  return [
    `parallel has ${world} ranks: allowed are at most ${MAXIMUM_WORLD} on one machine, and world = data x pipeline x tensor = ${data} x ${pipeline} x ${tensor}`,
  ];
}

/** The runs of one daemon. */
export class RunRegistry {
  readonly #context: RunContext;
  readonly #directory: string;
  readonly #runs = new Map<string, Run>();
  #closed = false;

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
      throw new DaemonError('not-found', `There is no run ${id}: \`gpt-lab runs\` lists them`);
    return run;
  }

  /** Validates, stores and starts a run. Throws `invalid-configuration` with every problem. */
  async start(request: { config: unknown; baseDirectory: string; source?: string }): Promise<Run> {
    const resolved = resolveConfiguration(request.config);
    const text = textFiles(request.config).map((path) => resolve(request.baseDirectory, path));
    const problems = 'problems' in resolved ? [...resolved.problems] : [];
    problems.push(...(await Promise.all(text.map(fileProblem))).filter((problem) => problem !== undefined));
    if ('config' in resolved) problems.push(...worldProblems(resolved.config));
    if (!('config' in resolved) || problems.length > 0) throw invalid(problems);
    const { config } = resolved;
    config.data.text = text;

    this.#refuseWhenClosed();
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
      throw new DaemonError(
        'failed',
        `The run cannot be stored (${(error as Error).message}): free disk space first`,
      );
    }
    const run = new Run(this.#context, summary, config);
    try {
      run.start();
    } catch (error) {
      this.#context.store.remove(id);
      throw new DaemonError('failed', `The run cannot be started: ${(error as Error).message}`);
    }
    this.#runs.set(id, run);
    return run;
  }

  /** Continues an ended run from its newest checkpoint, or from the start where it has none. */
  resume(id: string): Run {
    this.#refuseWhenClosed();
    const run = this.find(id);
    const { state, checkpoint } = run.summary;
    if (run.isRunning) throw new DaemonError('wrong-state', `Run ${id} is running: it needs no resuming`);
    if (state === 'finished') {
      throw new DaemonError('wrong-state', `Run ${id} has finished all of its ${run.summary.steps} steps`);
    }
    run.start(checkpoint ?? undefined);
    return run;
  }

  /**
   * Starts no run any more and stops those that go on, each with a checkpoint; those that take longer than `deadline`,
   * ms, are ended without.
   */
  async close(deadline = Infinity): Promise<void> {
    this.#closed = true;
    const timer =
      deadline < Infinity
        ? setTimeout(() => {
            for (const run of this.running()) void run.stop({ force: true });
          }, deadline)
        : undefined;
    await Promise.all(this.running().map((run) => run.stop()));
    clearTimeout(timer);
  }

  #refuseWhenClosed(): void {
    if (this.#closed)
      throw new DaemonError('wrong-state', 'The training daemon is ending: try again in a moment');
  }

  /** Deletes an ended run with its checkpoints. */
  async remove(id: string): Promise<void> {
    const run = this.find(id);
    if (run.isRunning) throw new DaemonError('wrong-state', `Run ${id} is running: stop it first`);
    this.#runs.delete(id);
    try {
      // The files first: on a full disk they make the room that the store needs to forget the run.
      await rm(run.summary.directory, { recursive: true, force: true });
      this.#context.store.remove(id);
      run.forget();
    } catch (error) {
      this.#runs.set(id, run);
      throw new DaemonError('failed', `Run ${id} cannot be removed: ${(error as Error).message}`);
    }
  }
}

/** The text files that a configuration names, valid or not. */
function textFiles(config: unknown): string[] {
  const text: unknown = (config as { data?: { text?: unknown } } | null)?.data?.text;
  const paths: unknown[] = Array.isArray(text) ? text : [];
  return paths.filter((path): path is string => typeof path === 'string' && path !== '');
}

function invalid(problems: readonly string[]): DaemonError {
  const message = `The configuration has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`;
  return new DaemonError('invalid-configuration', message, problems);
}
